"""Simulated `rp2`: the functions that firmware uses. Checked against ports/rp2/modrp2.c."""

import simulated_io

if not simulated_io.RP2:
    raise ImportError("no module named 'rp2'")


def bootsel_button():
    return 0


def country(code=None):
    import network

    return network.country(code)
