"""The hardware watchdog, fed on progress only: a hung program is reset, and so is a hung radio."""

from time import ticks_diff

from micropython import const

_TIMEOUT = const(8000)  # ms; the RP2040 counts to 8388


class Watchdog:
    """`start(ms)` is the board's; `link_timeout`: ms without a link until it is not fed, 0 for ever."""

    def __init__(self, start, link_timeout, now):
        self._dog = start(_TIMEOUT)
        self._link_timeout = link_timeout
        self._linked = now

    def loop_done(self, now, linked):
        """A round of the loop has come to its end."""
        if linked:
            self._linked = now
        if not self._link_timeout or ticks_diff(now, self._linked) < self._link_timeout:
            self.feed()

    def feed(self):
        """For a pause that is meant."""
        self._dog.feed()
