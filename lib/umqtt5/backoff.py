"""How long to stay away from a broker that is not there: exponential, with full jitter."""

from random import getrandbits

from micropython import const

_FIRST = const(1000)  # ms
_LONGEST = const(60000)
_STABLE = const(30000)


class Backoff:
    """Each pause is drawn from nothing up to a bound, which doubles from 1 s to 60 s."""

    def __init__(self):
        self.reset()

    def reset(self):
        """The next try is at once, the pauses begin anew."""
        self.pause = 0  # ms
        self._tries = 0

    def lost(self, lived):
        """A try has failed, or a link that lived for so many ms: choose the next pause.

        Only a link that was stable makes the pauses begin anew: a broker that accepts and
        drops would else be hammered.
        """
        if lived > _STABLE:
            self._tries = 0
        self.pause = getrandbits(16) * min(_LONGEST, _FIRST << self._tries) >> 16
        if self._tries < 6:
            self._tries += 1
