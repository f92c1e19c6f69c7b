"""Debouncing of an input from the times of its edges, which an interrupt handler records.

A level counts if it has lasted for the debounce time. This is decided from the time between two edges, not
from the times at which the program reads the pin. So no level is missed while the program is blocked, for
example by a TLS handshake.
"""

from time import ticks_diff, ticks_ms

from micropython import const

POLL = const(50)  # ms between two calls of `update`
# A soft interrupt runs after the program was blocked. If `update` was not called for this time, the time of
# the edge is not known.
_BLOCKED = const(100)  # ms
_MAX_ROUNDS = const(
    4
)  # maximum number of rounds of `update`, because a floating pin may have edges all the time
COUNT_MASK = const(
    0x3FFFFFFF
)  # counts are small ints, also on a 32-bit port: a hard interrupt cannot allocate


class EdgeFilter:
    """The debounced level of a `machine.Pin`: 1 or 0. `changes` is the number of its changes, modulo 2**30.

    `on_edge(pin, handler, edge)` is the board's function. `invert` is 1 if the level is 1 while the pin is
    low, otherwise 0. `debounce` is in ms.
    """

    _is_hard = True  # False if the board has only soft interrupts

    def __init__(self, pin, on_edge, invert, debounce):
        self._pin = pin
        self._invert = invert
        self._debounce = debounce
        self.changes = 0
        self.level = self._last = pin.value() ^ invert  # debounced level, level after the last edge
        self._since = self._updated_at = ticks_ms()  # times of the last edge and of the last `update`
        # The handler may interrupt `update` at any place. Then it only sets `_is_missed`.
        self._is_updating = self._is_missed = False
        if on_edge(pin, self._on_interrupt, "both") is False:
            self._is_hard = False

    def _on_interrupt(self, pin):
        # must not allocate memory
        if self._is_updating:
            self._is_missed = True
        else:
            self._add_edge(ticks_ms(), pin.value() ^ self._invert)

    def _add_edge(self, now, level):
        """Record an edge after which the pin has this level."""
        last, since = self._last, self._since
        self._last, self._since = level, now
        if not self._is_hard and ticks_diff(now, self._updated_at) >= max(_BLOCKED, self._debounce):
            # the program was blocked, so the edge may be older. A level counts if it may have lasted
            self._since, self._updated_at = self._updated_at, now
            if level == last == self.level:
                self.changes = (self.changes + 2) & COUNT_MASK  # a pulse
        if last != self.level and ticks_diff(now, since) >= self._debounce:
            self.level = last
            self.changes = (self.changes + 1) & COUNT_MASK

    def update(self):
        """Read the pin; returns the time in ms until the next call.

        It has to be called at least once a week, because ticks wrap around.
        """
        for _ in range(_MAX_ROUNDS):
            self._is_updating = True
            is_missed, self._is_missed = self._is_missed, False
            now = ticks_ms()
            level = self._pin.value() ^ self._invert
            # on a board without interrupts each edge is found here
            if is_missed or self._is_missed or level != self._last:
                self._add_edge(now, level)
            wait = POLL
            if level != self.level:
                wait = min(POLL, self._debounce - ticks_diff(now, self._since))
                if wait <= 0:
                    self._add_edge(now, level)
                    wait = POLL
            self._updated_at = now
            self._is_updating = False
            if not self._is_missed:
                return wait
        return 1

    @property
    def is_settled(self):
        """True if the present level of the pin is the debounced level."""
        return self._last == self.level
