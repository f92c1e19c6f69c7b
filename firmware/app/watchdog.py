"""Hardware watchdog: resets the board if the program hangs or the device is offline for too long.

The main loop feeds the watchdog once per iteration.
"""

from time import ticks_diff

from micropython import const

_TIMEOUT = const(8000)  # ms; the maximum of the RP2040 is 8388 ms


class Watchdog:
    """The watchdog of the board; `start(ms)` is the board's function that starts and returns its timer.

    After `timeout` ms without a connection `run` no longer feeds the watchdog, which then resets the board.
    If `timeout` is 0, `run` always feeds the watchdog.
    """

    def __init__(self, start, timeout, now):
        self._timer = start(_TIMEOUT)
        self._offline_timeout = timeout
        self._online_at = now

    def run(self, now, connected):
        """Feed the watchdog after an iteration of the main loop, unless offline for too long."""
        if connected:
            self._online_at = now
        if not self._offline_timeout or ticks_diff(now, self._online_at) < self._offline_timeout:
            self.feed()

    def feed(self):
        """Feed the watchdog unconditionally; used during intended pauses such as sleep."""
        self._timer.feed()
