"""Hardware watchdog: resets the board if the program hangs, or if it is offline for too long.

It is fed once per round of the main loop.
"""

from time import ticks_diff

from micropython import const

_TIMEOUT = const(8000)  # ms; the watchdog of the RP2040 cannot be longer than 8388 ms


class Watchdog:
    """The watchdog timer of the board, which `start(ms)` starts and returns.

    After `timeout` ms without a connection it is fed no more and resets the board; 0 means never.
    """

    def __init__(self, start, timeout, now):
        self._timer = start(_TIMEOUT)
        self._offline_timeout = timeout
        self._online_at = now

    def run(self, now, connected):
        """Feed the watchdog after a round of the main loop, unless the connection is lost for too long."""
        if connected:
            self._online_at = now
        if not self._offline_timeout or ticks_diff(now, self._online_at) < self._offline_timeout:
            self.feed()

    def feed(self):
        """Feed the watchdog in any case; for intended pauses such as sleep."""
        self._timer.feed()
