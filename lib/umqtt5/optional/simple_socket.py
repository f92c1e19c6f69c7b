"""The attribute `sock` of a `simple.MQTTClient`: the ways in which programs for umqtt.simple use the socket.

The client below needs a non-blocking stream, which it reads and writes by itself. So this object has the
methods of a socket, but `settimeout` and `setblocking` set the time that `wait_msg` waits. No method takes
bytes from the stream or puts packets of MQTT 3.1.1 into it.
"""

import io
import sys
from errno import ETIMEDOUT

from micropython import const

_IOCTL_POLL = const(3)
_READABLE = const(1)
_HANG_UP = const(0x10)

if sys.implementation.name == "cpython":
    _Stream = object  # `select` uses `fileno`

    def _poll():
        """`ioctl` is not called on CPython."""
else:
    from select import poll as _poll

    _Stream = io.IOBase  # type: ignore[misc]  # `select.poll` calls `ioctl`


class Socket(_Stream):
    """The connection of a client, also after reconnects. Other attributes are those of the real stream."""

    def __init__(self, link):
        self._simple_link = link
        self._socket_poller = self._polled_stream = None

    def settimeout(self, value):
        """Set how many seconds `wait_msg` waits; None for ever. The next received packet ends the setting."""
        self._simple_link.timeout = value

    def setblocking(self, flag):
        """Let the next `wait_msg` wait, or return None if no message has arrived."""
        self._simple_link.timeout = None if flag else 0

    def close(self):
        """Close the connection without a DISCONNECT. Then the calls of the client raise OSError."""
        self._simple_link.drop()

    def write(self, data, *_):
        """Send PINGREQ or DISCONNECT. Raises ValueError for other data, which MQTT 5 encodes differently."""
        data = bytes(data)
        if data == b"\xc0\x00":
            self._simple_link.ping()
        elif data == b"\xe0\x00":
            self._simple_link.disconnect()
        else:
            raise ValueError("sock.write: use the methods of the client, its packets are those of MQTT 5")
        return len(data)

    send = sendall = write

    def read(self, *_):
        """Return None if the socket is non-blocking, else raise OSError: only the client reads packets."""
        self._simple_link.require()
        if self._simple_link.timeout == 0:
            return None
        raise OSError(ETIMEDOUT, "sock.read: use wait_msg or check_msg")

    recv = readinto = readline = recv_into = read

    def ioctl(self, request, argument):
        """Answer `select.poll` on MicroPython."""
        if request != _IOCTL_POLL:
            return -1
        client = self._simple_link.client
        if client is None or client.stream is None:
            return argument & _READABLE | _HANG_UP
        framer = client.session.framer
        if client.session.rx_paused or framer.read_buffer is not framer.rx:
            # the client has begun to read a packet; TLS may have the rest, which the port does not see
            return argument
        if self._polled_stream is not client._pollable:
            self._polled_stream = client._pollable
            self._socket_poller = _poll()
            self._socket_poller.register(self._polled_stream, argument)
        else:
            self._socket_poller.modify(self._polled_stream, argument)
        for _, events in self._socket_poller.ipoll(0):
            return events
        return 0

    def __getattr__(self, name):
        """Return an attribute of the real stream or of the socket below it, for example `fileno`."""
        client = self._simple_link.client
        for stream in (client.stream, client._pollable, getattr(client.stream, "sock", None)):
            if hasattr(stream, name):
                return getattr(stream, name)
        raise AttributeError(name)
