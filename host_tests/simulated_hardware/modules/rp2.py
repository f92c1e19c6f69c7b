"""Simulated `rp2`: the functions that firmware uses."""


def bootsel_button():
    return 0


def country(code=None):
    import network

    return network.country(code)
