"""Transport over a stream that the application opened: UART or socket, reused for later connections."""

from helper import raises
from umqtt5 import serial


class Line:
    """A serial line with `stale` bytes in its buffer; it stores what is written."""

    def __init__(self, stale=b""):
        self.inbox = stale
        self.written = b""
        self.more = False  # the other side sends continuously
        self.closed = False

    def readinto(self, buf, n):
        if self.more:
            return n
        if not self.inbox:
            return None
        n = min(n, len(self.inbox))
        buf[:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n

    def write(self, buf, at, n):
        self.written += bytes(buf[at : at + n])
        return n

    def close(self):
        self.closed = True


class Socket(Line):
    def setblocking(self, flag):
        self.blocking = flag


def test_a_line_is_drained_before_each_connection_and_never_closed():
    line = Line(b"x" * 1000)
    transport = serial.wrap(line)
    for _ in range(3):
        stream = transport("uart", 1883)
        assert stream.pollable is line
        assert stream.do_handshake() == 0 and not line.inbox
        line.inbox = b"abc"
        buf = bytearray(8)
        assert stream.readinto(buf, 8) == 3 and bytes(buf[:3]) == b"abc"
        assert stream.readinto(buf, 8) is None
        assert stream.write(b"0123", 1, 2) == 2
        stream.close()
        assert not line.closed
        line.inbox = b"stale" * 100
    assert line.written == b"12" * 3


def test_a_line_that_sends_continuously_does_not_block_the_handshake():
    line = Line()
    line.more = True
    stream = serial.wrap(line)("uart", 1883)
    assert stream.do_handshake() == 1 and stream.do_handshake() == 1  # the client's timeout ends this wait
    line.more = False
    assert stream.do_handshake() == 0


def test_a_line_at_its_end_raises_oserror():
    line = Line()
    line.readinto = lambda buf, n: 0
    raises(OSError, serial.wrap(line)("uart", 1883).do_handshake)


def test_a_socket_is_closed_and_can_be_replaced():
    first, second = Socket(b"CONNACK"), Socket()
    transport = serial.wrap(first)
    stream = transport("", 0)
    assert stream.do_handshake() == 0 and first.inbox == b"CONNACK" and first.blocking is False
    stream.close()
    stream.close()
    assert first.closed
    error = raises(OSError, transport, "", 0)
    assert "transport.stream" in str(error) and error.is_permanent
    transport.stream = second
    assert transport("", 0).pollable is second
