"""Hardware watchdog: resets the board if the program hangs or the device is offline for too long.

The main loop feeds the watchdog once per iteration.
"""

from time import ticks_add, ticks_diff

from micropython import const

_TIMEOUT = const(8000)  # ms; the maximum of the RP2040 is 8388 ms


class Watchdog:
    """The watchdog of the board; `start(ms)` is the board's function that starts and returns its timer.

    If `timeout` is 0, `run` always feeds the watchdog.
    """

    def __init__(self, start, timeout, now):
        self._timer = start(_TIMEOUT)
        self._offline_timeout = timeout
        self._online_at = now

    def run(self, now, connected):
        """Feed the watchdog after an iteration of the main loop.

        Returns False, and does not feed it, after `timeout` ms without a connection: the board must be reset.
        """
        if connected:
            self._online_at = now
        if self._offline_timeout and ticks_diff(now, self._online_at) >= self._offline_timeout:
            return False
        self.feed()
        return True

    def exclude(self, ms):
        """Exclude a sleep of `ms`, less than a week, from the time without a connection."""
        self._online_at = ticks_add(self._online_at, ms)

    def feed(self):
        """Feed the watchdog unconditionally; used during intended pauses such as sleep."""
        self._timer.feed()
