"""NTP client (SNTP, RFC 4330): sets the clock of the board to UTC.

The client does not block, except during the DNS lookup. If a server does not respond, the client queries the
next server in the list.
"""

import socket
import struct
from random import getrandbits
from time import ticks_diff

from micropython import const

from .node.timestamps import unix_time

_PORT = const(123)
_TIMEOUT = const(3000)  # ms to wait for a response
_RETRY = const(60000)  # ms after which the list of servers is tried again
_DAY = const(86400000)  # ms after which the clock is set again
_1900 = const(2208988800)  # seconds from 1900, the epoch of NTP, to 1970
_ERA = const(0x100000000)
_MIN_TIME = const(1767225600)  # 2026-01-01; a response with an earlier time is ignored


class NtpClient:
    """A client that queries `servers`, a list of host names, and calls `set_clock(seconds since 1970)`."""

    def __init__(self, servers, set_clock):
        self._servers = servers
        self._set_clock = set_clock
        self._next = 0
        self._socket = None
        self._asked = None  # ticks of the last request
        self._since = None  # ticks when the clock was last set, None if never
        self.is_set = unix_time() > 0  # a clock set earlier may have survived a reset or deep sleep

    def run(self, now):
        """Send a request or read the response; returns True if the clock has just been set.

        Call it only while the network is up.
        """
        if self._socket:
            return self._receive(now)
        if self._since is not None:
            due = ticks_diff(now, self._since) >= _DAY
        else:
            due = self._asked is None or self._next or ticks_diff(now, self._asked) >= _RETRY
        if due and self._servers:
            self._request(now)
        return False

    def _request(self, now):
        server = self._servers[self._next]
        self._next = (self._next + 1) % len(self._servers)
        self._asked = now
        try:
            address = socket.getaddrinfo(server, _PORT)[0][-1]
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.connect(address)
            # the server returns this random timestamp: it proves that a response belongs to the request
            self._timestamp = struct.pack("!II", getrandbits(30), getrandbits(30))
            self._socket.send(b"\x23" + bytes(39) + self._timestamp)
        except OSError:
            self._close()

    def _receive(self, now):
        try:
            response = self._socket.recv(48)
        except OSError:
            if ticks_diff(now, self._asked) >= _TIMEOUT:
                self._close()
            return False
        seconds = self._parse(response)
        if seconds is None:
            return False
        self._close()
        self._next = 0
        self._since = now
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
        return seconds if seconds >= _MIN_TIME else None

    def _close(self):
        if self._socket:
            self._socket.close()
        self._socket = None
