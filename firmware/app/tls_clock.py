"""The clock with TLS: the certificate of the broker can be checked only if the clock is about right.

The clock is accepted at once if it is not earlier than a time that has certainly passed: see `clock_floor`.
Otherwise the device waits for a time server, for a limited time. If none answers, the clock is set to that
time, and the device tries to connect.
"""

from micropython import const

from .node.modules import release_modules
from .node.timestamps import unix_time

_DAY = const(86400)  # s between two times that are stored on flash
_CHECK = const(3600000)  # ms between two checks whether the time must be stored
_TICKS_MASK = const(0x3FFFFFFF)


class TlsClock:
    """The decision when a TLS connection can begin.

    `paths` are the certificates of the device, `set_clock(seconds since 1970)` sets the clock, `bound` is the
    maximum time in ms to wait for a time server, 0 if there is none.
    """

    def __init__(self, name, paths, set_clock, bound):
        self._name = name
        self._set_clock = set_clock
        self._bound = bound
        self._since = None  # ticks since when the device waits for a time server
        self._checked = None  # ticks when it was last checked whether the time must be stored
        try:
            from .clock_floor import read_floor

            self._floor, self._stored = read_floor(paths)
        except Exception as error:  # not enough memory: bookkeeping does not prevent the start
            print("%s: the earliest possible time is unknown: %s" % (name, error))
            self._floor = self._stored = 0
        release_modules("app.clock_floor")
        now = unix_time()
        self._is_ready = now > 0 and now >= self._floor

    def is_ready(self, now, is_set):
        """Return True if a connection can begin. Call it only while the network is up.

        `now` is `time.ticks_ms()`, `is_set` is True if a time server has set the clock.
        """
        if self._is_ready or is_set:
            self._is_ready = True
            return True
        if self._since is None:
            self._since = now
            if self._bound:
                print(
                    "%s: waiting up to %d s for a time server, to check the broker's certificate"
                    % (self._name, self._bound // 1000)
                )
        if (now - self._since) & _TICKS_MASK < self._bound:
            return False
        self._is_ready = True
        self._set_to_floor()
        return True

    def _set_to_floor(self):
        from time import gmtime

        if not self._floor:
            return
        try:
            self._set_clock(self._floor)
        except Exception as error:
            print("%s: the clock cannot be set: %s" % (self._name, error))
            return
        print(
            "%s: no time server has answered; the clock is set to %d-%02d-%02d, the last known time"
            % ((self._name,) + tuple(gmtime()[:3]))
        )

    def save(self, now):
        """Store the time on flash, at most once a day.

        Call it only while the device is connected: then the certificate of the broker is valid at this time.
        """
        if self._checked is not None and (now - self._checked) & _TICKS_MASK < _CHECK:
            return
        self._checked = now
        seconds = unix_time()
        if not seconds or abs(seconds - self._stored) < _DAY:
            return
        self._stored = seconds  # also if flash fails: no second try before the next day
        try:
            from .clock_floor import store

            store(seconds)
        except Exception as error:
            print("%s: the time cannot be stored: %s" % (self._name, error))
        release_modules("app.clock_floor")
