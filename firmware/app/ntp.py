"""NTP client (SNTP, RFC 4330): sets the clock of the board to UTC.

The client does not block: `umqtt5.dns` looks the names up. If a server does not respond, the client queries
the next server in the list.
"""

import socket
import struct
from random import getrandbits

from micropython import const

from .node.modules import release_modules
from .node.timestamps import BUILD_TIME

_PORT = const(123)
_LOOKUP_TIMEOUT = const(5000)  # ms to look up the name of a server
_TIMEOUT = const(3000)  # ms to wait for a response
_RETRY = const(60000)  # ms after which the list of servers is tried again
_DAY = const(86400000)  # ms after which the clock is set again
_1900 = const(2208988800)  # seconds from 1900, the epoch of NTP, to 1970
_ERA = const(0x100000000)
_TICKS_MASK = const(0x3FFFFFFF)


class NtpClient:
    """A client that queries `servers`, a list of host names, and calls `set_clock(seconds since 1970)`.

    `keep_resolver` is True if another part of the program looks up names, too. Otherwise the code of the
    resolver is unloaded when all servers were tried.
    """

    def __init__(self, servers, set_clock, keep_resolver=False):
        self._servers = servers
        self._set_clock = set_clock
        self._keep_resolver = keep_resolver
        self._next = 0
        self._lookup = None  # `dns.Lookup` of the server, None if its address is known
        self._socket = None
        self._last = None  # ticks of the last `run`
        self._left = 0  # ms until the next request, or until a response must have arrived
        self.is_set = False  # whether a server has set the clock since the start

    def run(self, now):
        """Send a request or read the response; returns True if the clock has just been set.

        Call it only while the network is up. `now` is `time.ticks_ms()`.
        """
        # the remaining time is counted down, because the difference of distant ticks is ambiguous
        if self._last is not None:
            self._left = max(0, self._left - ((now - self._last) & _TICKS_MASK))
        self._last = now
        try:
            if self._lookup:
                self._look_up(now)
            elif self._socket:
                return self._receive()
            elif not self._left and self._servers:
                self._begin(now)
        except Exception:  # no address, not a valid name, no memory for the resolver: the device runs without
            self._skip_server()
        return False

    def _begin(self, now):
        """Query the next server, or begin to look up its name."""
        server = self._servers[self._next]
        if server.replace(".", "").isdigit():
            self._request(server)
            return
        from umqtt5.dns import Lookup

        self._lookup = Lookup(server, _LOOKUP_TIMEOUT)
        self._look_up(now)

    def _look_up(self, now):
        lookup = self._lookup
        self._lookup = None  # `step` closes it if it raises an exception
        lookup.step(now)
        if lookup.address:
            self._request(lookup.address)
        else:
            self._lookup = lookup

    def _request(self, host):
        self._left = _TIMEOUT
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(socket.getaddrinfo(host, _PORT)[0][-1])  # does not block, because it has no name
        # the server returns this random timestamp: it proves that a response belongs to the request
        self._timestamp = struct.pack("!II", getrandbits(30), getrandbits(30))
        self._socket.send(b"\x23" + bytes(39) + self._timestamp)

    def _receive(self):
        try:
            response = self._socket.recv(48)
        except OSError:
            if not self._left:
                self._skip_server()
            return False
        seconds = self._parse(response)
        if seconds is None:
            if not self._left:  # a server that sends invalid responses without end
                self._skip_server()
            return False
        self._close()
        self._end_round(_DAY)
        self._set_clock(seconds)
        self.is_set = True
        return True

    def _parse(self, response):
        """Return the time in seconds since 1970, None if it is invalid or does not belong to the request."""
        # mode 4: server; stratum 1 to 15: synchronized; leap indicator 3: clock not synchronized
        if len(response) < 48 or response[0] & 7 != 4 or not 0 < response[1] < 16 or response[0] >> 6 == 3:
            return None
        if response[24:32] != self._timestamp:
            return None
        seconds = struct.unpack("!I", response[40:44])[0]
        if seconds < 0x80000000:  # era 1, which begins in 2036
            seconds += _ERA
        seconds -= _1900
        return seconds if seconds >= BUILD_TIME else None

    def _skip_server(self):
        """Query the next server at once. After the last one, pause."""
        self._close()
        self._next += 1
        self._left = 0
        if self._next >= len(self._servers):
            self._end_round(_RETRY)

    def _end_round(self, pause):
        self._next = 0
        self._left = pause
        if not self._keep_resolver:
            release_modules("umqtt5.optional.system_names", "umqtt5.dns", "umqtt5.optional.dns_message")

    def _close(self):
        if self._socket:
            self._socket.close()
        self._socket = None
