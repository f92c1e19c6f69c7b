"""The time, from the network, without ever blocking but to resolve a name (RFC 4330).

Where no server answers, the next of the list is asked. The time is in UTC.
"""

import socket
import struct
from random import getrandbits
from time import ticks_diff

from micropython import const

from .node.timestamps import unix_time

_PORT = const(123)
_PATIENCE = const(3000)  # ms for an answer
_AGAIN = const(60000)  # ms until the list is asked anew
_DAY = const(86400000)  # ms until a clock that is right is set again
_1900 = const(2208988800)  # s from 1900 to 1970
_ERA = const(0x100000000)
_BEFORE = const(1767225600)  # 2026: no answer of now is from before


class NtpClient:
    """`set_clock(seconds)` sets the board's clock, seconds since 1970; `servers` are host names."""

    def __init__(self, servers, set_clock):
        self._servers = servers
        self._set_clock = set_clock
        self._next = 0
        self._socket = None
        self._asked = None  # ticks
        self._since = None  # ticks at which it was set
        self.is_set = unix_time() > 0  # a clock may run on through a reset and a deep sleep

    def run(self, now):
        """Ask, listen, set. Call it where the network is up; returns True where it has just been set."""
        if self._socket:
            return self._listen(now)
        if self._since is not None:
            due = ticks_diff(now, self._since) >= _DAY
        else:
            due = self._asked is None or self._next or ticks_diff(now, self._asked) >= _AGAIN
        if due and self._servers:
            self._ask(now)
        return False

    def _ask(self, now):
        server = self._servers[self._next]
        self._next = (self._next + 1) % len(self._servers)
        self._asked = now
        try:
            address = socket.getaddrinfo(server, _PORT)[0][-1]
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.connect(address)
            # what comes back has this in it: an answer to somebody else's question is none
            self._mark = struct.pack("!II", getrandbits(30), getrandbits(30))
            self._socket.send(b"\x23" + bytes(39) + self._mark)
        except OSError:
            self._close()

    def _listen(self, now):
        try:
            answer = self._socket.recv(48)
        except OSError:
            if ticks_diff(now, self._asked) >= _PATIENCE:
                self._close()
            return False
        seconds = self._read(answer)
        if seconds is None:
            return False
        self._close()
        self._next = 0
        self._since = now
        self._set_clock(seconds)
        self.is_set = True
        return True

    def _read(self, answer):
        """Seconds since 1970, None for what is no good answer to our question."""
        if len(answer) < 48 or answer[0] & 7 != 4 or not 0 < answer[1] < 16 or answer[0] >> 6 == 3:
            return None
        if answer[24:32] != self._mark:
            return None
        seconds = struct.unpack("!I", answer[40:44])[0]
        if seconds < 0x80000000:  # since 2036 it counts anew
            seconds += _ERA
        seconds -= _1900
        return seconds if seconds >= _BEFORE else None

    def _close(self):
        if self._socket:
            self._socket.close()
        self._socket = None
