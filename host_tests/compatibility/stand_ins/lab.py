"""Connects a program with the test that runs it. `settings.py` has the address of the broker.

A program calls `reached(name)` where in reality something happens outside: another client publishes, or the
broker restarts. The call returns when the test has done this.
"""

import os
import sys
import time

if sys.implementation.name == "cpython":  # functions of MicroPython that the programs call

    def _sleep_ms(ms):
        time.sleep(ms / 1000)

    time.sleep_ms = _sleep_ms
    time.ticks_ms = lambda: time.monotonic_ns() // 1_000_000
    time.ticks_diff = lambda a, b: a - b


def reached(name, sent=0):
    """Report an event, and return when the test has reacted to it.

    The test first waits until the broker has passed on `sent` messages.
    """
    with open(name + ".reached", "w") as file:
        file.write("%d\n" % sent)
    while True:
        try:
            os.stat(name + ".done")
            break
        except OSError:
            time.sleep(0.005)
    os.remove(name + ".done")
