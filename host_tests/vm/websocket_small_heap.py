"""WebSocket servers that send without end, in a small heap. Prints the error and the heap for each of them.

The heap is what is allocated after the error and a collection, compared with the heap before.
"""

import gc

gc.threshold(2048)  # collect early, so that loading does not fragment the heap

from umqtt5.optional import websocket_errors  # noqa: E402, F401  loaded before the heap is measured
from umqtt5.websocket import WebSocket, handshake, transport  # noqa: E402

# replaced because the 32-bit VM has neither SHA-1 nor `os.urandom`
handshake._accept = lambda key: b"accept"
handshake._random = transport._random = bytes

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n"
OPEN = (
    SWITCH + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: accept\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)


class Server:
    """The stream below the WebSocket: it sends `start`, then `repeat` without end."""

    def __init__(self, start, repeat, numbered=False):
        self.data = start
        self.repeat = repeat
        self.numbered = numbered
        self.at = self.count = 0

    def readinto(self, buf, n):
        if self.at == len(self.data):
            self.at = 0
            self.count += 1
            self.data = b"%d" % self.count + self.repeat if self.numbered else self.repeat
        n = min(n, len(self.data) - self.at)
        buf[:n] = self.data[self.at : self.at + n]
        self.at += n
        return n

    def write(self, buf, at, n):
        return n

    def close(self):
        pass


def receive(name, server, buffer=512):
    """Open a WebSocket at this server and read from it 200 times, until it fails."""
    web = WebSocket(lambda host, port: server, "/mqtt", "", buffer)
    buf = bytearray(64)
    web("broker", 80)
    gc.collect()
    before = gc.mem_alloc()
    error = None
    try:
        while web.do_handshake():
            pass
        for _ in range(200):
            web.readinto(buf, 64)
    except OSError as caught:
        error = caught
    text = str(error)
    error = None
    gc.collect()
    print("%s: %d bytes: %s" % (name, gc.mem_alloc() - before, text))
    web.close()


def main():
    receive("short headers", Server(SWITCH, b":\r\n", True))
    receive("empty names", Server(SWITCH, b":\n"))
    receive("a header without end", Server(SWITCH + b"A: ", b"x" * 50))
    receive("a header without end, small buffer", Server(SWITCH + b"A: ", b"x" * 50), 64)
    receive("a header without end, large buffer", Server(SWITCH + b"A: ", b"x" * 50), 8192)
    receive("a status line without end", Server(b"HTTP/1.1 101 ", b"x" * 50))
    receive("interim responses", Server(b"", b"HTTP/1.1 100 Continue\r\n\r\n"))
    receive("a redirect", Server(b"HTTP/1.1 302 Found\r\n", b"A: b\r\n"))
    receive("a long redirect", Server(b"HTTP/1.1 302 Found\r\nLocation: ", b"x" * 50))
    receive("text", Server(b"", b"x" * 50))
    receive("pings", Server(OPEN, b"\x89\x7d" + b"p" * 125))
    receive("empty frames", Server(OPEN, b"\x82\x00"))
    receive("a message without end", Server(OPEN + b"\x02\x00", b"\x00\x10" + b"m" * 16))
    receive("the largest frame", Server(OPEN + b"\x82\x7f\x00\x00\x00\x00\x3f\xff\xff\xff", b"m" * 50))
    receive("a larger frame", Server(OPEN + b"\x82\x7f\x00\x00\x00\x00\x40\x00\x00\x00", b"m" * 50))
    receive("a close", Server(OPEN + b"\x88\x7d\x03\xf0", b"r" * 123))


if __name__ == "__main__":
    main()
