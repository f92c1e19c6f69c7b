"""Every wait has a deadline, and the link is pinged when it has been silent (3.1.2.10)."""

from errno import ETIMEDOUT

from micropython import const

SENT, HEARD = 0, 1  # when bytes last went out and came in
WRITE, CONNECT, ANSWER, PING = 0, 1, 2, 3  # what can be waited for

_MASK = const(0x3FFFFFFF)
_WORDS = (
    "the broker takes no more bytes",
    "no CONNACK",
    "no PUBACK or SUBACK",
    "no PINGRESP",
)


class Timers:
    """Ticks in ms that may wrap at any multiple of 2**30; `timeout` bounds each wait."""

    def __init__(self, timeout):
        self.timeout = timeout
        self.pinging = False
        self._keep_alive = 0  # ms between a sign of life and the ping
        self._last = [0, 0]
        self._since = [-1, -1, -1, -1]
        self._now = self.left = 0

    def reset(self, now, seconds):
        """A new connection with this Keep Alive."""
        self.pinging = False
        self.mark(SENT, now)
        self.mark(HEARD, now)
        for wait in range(4):
            self.progress(wait)
        self.keep_alive(seconds)

    def keep_alive(self, seconds):
        """The Keep Alive in force. An eighth of it is left for the ping to travel."""
        self._keep_alive = seconds * 875

    def mark(self, which, now):
        self._last[which] = now & _MASK

    def progress(self, wait):
        """What was waited for has moved: its time starts anew."""
        self._since[wait] = -1

    def start(self, now):
        """A round of `wait` and `silent` begins; `left` is then the ms until the next is due."""
        self._now = now & _MASK
        self.left = _MASK

    def wait(self, wait, waiting):
        """Bound a wait, which starts when it is first seen to be `waiting`.

        Raises OSError(ETIMEDOUT, what was waited for) where it has run out.
        """
        if not waiting:
            self._since[wait] = -1
            return
        if self._since[wait] < 0:
            self._since[wait] = self._now
        left = self.timeout
        if wait == PING and self._keep_alive:
            left = min(left, self._keep_alive * 5 >> 3)
        left -= (self._now - self._since[wait]) & _MASK
        if left <= 0:
            raise OSError(ETIMEDOUT, _WORDS[wait])
        self.left = min(self.left, left)

    def silent(self):
        """True where a ping is due, because nothing was sent or nothing was heard for long."""
        if not self._keep_alive:
            return False
        quiet = (self._now - self._last[SENT]) & _MASK
        if not self.pinging:
            quiet = max(quiet, (self._now - self._last[HEARD]) & _MASK)
        self.left = max(0, min(self.left, self._keep_alive - quiet))
        return quiet >= self._keep_alive
