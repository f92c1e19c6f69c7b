"""A query of one time server (SNTP, RFC 4330). Loaded while the clock is being set, then unloaded."""

import socket
import struct
from random import getrandbits

from micropython import const

from .node.timestamps import BUILD_TIME

_PORT = const(123)
_LOOKUP_TIMEOUT = const(5000)  # ms to look up the name of a server
_TIMEOUT = const(3000)  # ms to wait for a response
_1900 = const(2208988800)  # seconds from 1900, the epoch of NTP, to 1970
_ERA = const(0x100000000)
_TICKS_MASK = const(0x3FFFFFFF)


class NtpQuery:
    """A query of a server, whose name is looked up first if it is not an address. It does not block.

    Raises OSError or ValueError if the name can't be looked up or is not valid.
    """

    _lookup = None  # `dns.Lookup` of the server, None if its address is known

    def __init__(self, server, now):
        if server.replace(".", "").isdigit():
            self._request(server, now)
            return
        from umqtt5.dns import Lookup

        self._lookup = Lookup(server, _LOOKUP_TIMEOUT)
        self.step(now)

    def step(self, now):
        """Continue the query; returns the time in seconds since 1970 when it is known, otherwise None.

        Raises OSError if the server does not answer. Then the query has ended.
        """
        if self._lookup:
            self._lookup.step(now)
            if self._lookup.address:
                address, self._lookup = self._lookup.address, None
                self._request(address, now)
            return None
        try:
            seconds = self._parse(self._socket.recv(48))
        except OSError:
            seconds = None
        if seconds is None and (now - self._since) & _TICKS_MASK >= _TIMEOUT:
            self.close()
            raise OSError("no response")
        return seconds

    def _request(self, host, now):
        self._since = now
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(socket.getaddrinfo(host, _PORT)[0][-1])  # an address: does not block
            # the server returns this random timestamp: it proves that a response belongs to the request
            self._timestamp = struct.pack("!II", getrandbits(30), getrandbits(30))
            self._socket.send(b"\x23" + bytes(39) + self._timestamp)
        except OSError:
            self.close()
            raise

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

    def close(self):
        """End the query."""
        self._socket.close()
