"""NTP client: sets the clock of the board to UTC, and again every day.

The client does not block. If a server does not respond, the client queries the next server in the list. The
code of a query is loaded when it is needed: see `ntp_query`.
"""

from micropython import const

from .node.modules import release_modules

_RETRY = const(60000)  # ms after which the list of servers is tried again
_DAY = const(86400000)  # ms after which the clock is set again
_TICKS_MASK = const(0x3FFFFFFF)


class NtpClient:
    """A client that queries `servers`, a list of host names, and calls `set_clock(seconds since 1970)`.

    `keep_resolver` is True if another part of the program looks up names, too. Otherwise the code of the
    resolver is unloaded when all servers were tried.
    """

    _query = None  # `NtpQuery`
    _next = 0  # index of the next server
    _last = None  # ticks of the last `run`
    _left = 0  # ms until the next query
    is_set = False  # whether a server has set the clock since the start

    def __init__(self, servers, set_clock, keep_resolver=False):
        self._servers = servers
        self._set_clock = set_clock
        self._keep_resolver = keep_resolver

    def run(self, now):
        """Continue or begin a query if one is due; returns True if the clock has just been set.

        Call it only while the network is up. `now` is `time.ticks_ms()`.
        """
        # the remaining time is counted down, because the difference of distant ticks is ambiguous
        if self._left and self._last is not None:
            self._left = max(0, self._left - ((now - self._last) & _TICKS_MASK))
        self._last = now
        if self._left or not self._servers:
            return False
        try:
            if self._query:
                seconds = self._query.step(now)
                if seconds:
                    self._query.close()
                    self._set_clock(seconds)
                    self._end_round(_DAY)
                    self.is_set = True
                    return True
            else:
                from .ntp_query import NtpQuery

                self._query = NtpQuery(self._servers[self._next], now)
        except Exception:  # no response, no address, not a valid name, no memory for the code
            self._query = None
            self._next += 1
            if self._next >= len(self._servers):
                self._end_round(_RETRY)
        return False

    def _end_round(self, pause):
        self._query = None
        self._next = 0
        self._left = pause
        release_modules("app.ntp_query")
        if not self._keep_resolver:
            release_modules("umqtt5.optional.system_names", "umqtt5.dns", "umqtt5.optional.dns_message")
