"""MQTT over a WebSocket (RFC 6455; 6 of the standard); loaded where it is imported. See `over`.

from umqtt5 import Client, tcp, tls, ws

client = Client("broker.local", 8080, transport=ws.over(tcp.connect, "/mqtt"))
secure = ws.over(tls.over(tcp.connect, tls.context(ca="ca.pem")))

Rules:

- What a `write` is given is one frame. It is made in pieces as large as `buffer`; a `write` counts one when
  it has gone as a whole, and is None before: it is called with the same bytes again.
- A `readinto` gives the payload of binary frames, read straight from the stream below to where the
  caller wants it. It takes no byte that belongs behind what it gives.
- Pong and close are made in a buffer of their own, and go between two frames of ours. A ping that
  comes while a pong is half written is answered by that pong.
- What the broker must not send ends the connection with a close frame and an OSError.
- Nothing is allocated for a frame.
"""

from binascii import b2a_base64
from errno import ECONNABORTED, ECONNRESET
from random import getrandbits

from micropython import const

from .optional.permanent_error import LastingError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_RESPONSE = const(4096)  # bytes that the headers of the broker's response may have
_FRAMES = const(16)  # without payload for us, that are taken in one `readinto`

_CONTINUATION = const(0)
_BINARY = const(2)
_CLOSE = const(8)
_PING = const(9)
_PONG = const(10)


def over(transport, path="/mqtt", headers=(), buffer=512):
    """A transport with a WebSocket round the stream of another, for one client.

    `headers` are pairs of str that the HTTP request has beside its own, such as an authorization.
    `buffer` in bytes is what is masked and written at once, the head of a frame with its 6 or 8 bytes
    included. `Client` has to be told the port. The stream raises OSError with the broker's status
    line where it refuses the path; a LastingError for most of 4xx.

    Raises ValueError for what can't stand in a request.
    """
    if not path.startswith("/") or not 64 <= buffer <= 65535:
        raise ValueError("path begins with /, buffer is 64 to 65535")
    extra = ""
    for name, value in headers:
        extra += _fit(name, ": ") + ": " + _fit(value, "") + "\r\n"
    return WebSocket(transport, _fit(path, " "), extra, buffer)


def _fit(text, forbidden):
    for letter in text:
        if not " " <= letter <= "~" or letter in forbidden:
            raise ValueError("can't stand in a request: %s" % repr(text))
    return text


def _random(n):
    from os import urandom

    return urandom(n)


def _accept(key):
    """What the broker has to answer to our key."""
    from hashlib import sha1

    return b2a_base64(sha1(key + _GUID).digest()).strip()


class WebSocket:
    """The transport and, as only one connection lives at a time, its stream."""

    def __init__(self, transport, path, headers, buffer):
        self._transport = transport
        self._path = path
        self._headers = headers
        self._frame = bytearray(buffer)
        self._control = bytearray(6 + 125)
        self._key = bytearray(4)
        self._pair = bytearray(2)
        self._below = None

    def __call__(self, host, port):
        """Begin a connection. Raises OSError."""
        if self._below:
            raise ValueError("a WebSocket is for one client")
        key = b2a_base64(_random(16)).strip()
        self._accept = _accept(key)
        self._seed = _random(4)
        self._request = (
            "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
            "Sec-WebSocket-Key: %s\r\n%s\r\n"
            % (self._path, "[%s]" % host if ":" in host else host, port, key.decode(), self._headers)
        ).encode()
        self._answer = None  # the headers of the broker's response, once its first line is there
        self._response = self._line = 0  # bytes of it, and of its last line
        self._at = self._end = 0  # what of our frame is to be written
        self._took = self._left = 0  # how much of its payload that is, and what is still to be made
        self._control_at = self._control_end = 0
        self._tried = False  # to write the control frame: then it can't be another one any more
        self._filled = 0  # where the next byte of a ping's payload goes, 0 for nowhere
        self._missing = 2  # bytes of the broker's head that are still to come
        self._got = 0  # and that have come, two at most
        self._first = self._size = 0
        self._fragments = False  # in a message that has not ended
        self._open = False  # a close may be said
        self._spare = 0
        self._below = below = self._transport(host, port)
        self.pollable = below.pollable if hasattr(below, "pollable") else below
        self._opening = below.opening if hasattr(below, "opening") else None
        return self

    def close(self):
        if self._below:
            try:
                self._say_close(1000)
            except OSError:
                pass  # it is gone already
            self._below.close()
            self._below = None

    # ---- the upgrade

    def opening(self):
        if self._opening:
            events = self._opening()
            if events:
                return events
            self._opening = None
        while self._at < len(self._request):
            n = self._below.write(self._request, self._at, len(self._request) - self._at)
            if not n:
                return 4
            self._at += n
        n = self._below.readinto(self._pair, 1)
        while n:
            if self._letter(self._pair[0]):
                self._at = 0
                self._request = self._answer = None
                self._open = True
                return 0
            n = self._below.readinto(self._pair, 1)
        if n == 0:
            raise OSError(ECONNRESET, "closed in place of a WebSocket")
        return 1

    def _letter(self, letter):
        """One more byte of the response; True where it was the last."""
        self._response += 1
        if self._response > _RESPONSE:
            raise OSError(ECONNABORTED, "WebSocket: a response of more than %d bytes" % _RESPONSE)
        if letter != 10:
            if self._line < len(self._frame):
                self._frame[self._line] = letter
                self._line += 1
            return False
        line = bytes(self._frame[: self._line]).strip()
        self._line = 0
        if self._answer is None:
            self._status(line)
            self._answer = {}
        elif not line:
            self._check(self._answer)
            return True
        elif b":" in line:
            name, value = line.split(b":", 1)
            self._answer[name.lower()] = value.strip()
        return False

    @staticmethod
    def _status(line):
        words = line.split(b" ")
        if not words[0].startswith(b"HTTP/1.") or len(words) < 2:
            raise OSError(ECONNABORTED, "no HTTP: %s" % repr(line[:32]))
        if words[1] != b"101":
            kind = OSError
            if words[1][:1] == b"4" and words[1] not in (b"408", b"429"):
                kind = LastingError
            raise kind(ECONNABORTED, "WebSocket: " + repr(line)[2:-1])

    def _check(self, answer):
        """The headers of the response (RFC 6455, 4.1)."""
        if answer.get(b"upgrade", b"").lower() != b"websocket":
            wrong = "Upgrade"
        elif b"upgrade" not in answer.get(b"connection", b"").lower():
            wrong = "Connection"
        elif answer.get(b"sec-websocket-accept") != self._accept:
            wrong = "Sec-WebSocket-Accept"
        elif answer.get(b"sec-websocket-protocol") != b"mqtt":  # [MQTT-6.0.0-4]
            wrong = "Sec-WebSocket-Protocol, mqtt"
        elif b"sec-websocket-extensions" in answer:
            wrong = "Sec-WebSocket-Extensions"
        else:
            return
        raise OSError(ECONNABORTED, "WebSocket: the broker's answer is wrong in " + wrong)

    # ---- frames in

    def readinto(self, buf, n):
        self._spare = _FRAMES
        while self._spare:
            self._spare -= 1
            if self._control_end:
                self._flushed()
            got = self._head() if self._missing else True
            if got:
                if self._first & 8:
                    got = self._take_control(buf, n)
                elif self._size:
                    got = self._below.readinto(buf, min(n, self._size))
                    if got:
                        self._size -= got
                        if not self._size:
                            self._missing = 2
                    return got
                else:
                    self._missing = 2  # an empty frame
            if not got:
                return got
        return None  # none of them was for the caller, who has other things to do, too

    def _head(self):
        """True where the head of a frame is complete, else what the stream below says."""
        while self._missing:
            n = self._below.readinto(self._pair, min(2, self._missing))
            if not n:
                return n
            for i in range(n):
                self._byte(self._pair[i])
        self._got = 0
        return True

    def _byte(self, byte):
        """One more byte of a head (RFC 6455, 5.2)."""
        self._missing -= 1
        if self._got == 2:
            if self._size > 0x3FFFFF:
                self._fail(1009, "a frame that is too long")
            self._size = self._size << 8 | byte
            return
        self._got += 1
        if self._got == 1:
            self._first = byte
            return
        self._judge(self._first, byte)
        self._size = byte
        if byte > 125:
            self._missing = 2 if byte == 126 else 8
            self._size = 0

    def _judge(self, first, second):
        """May a broker send this frame now?"""
        if first & 0x70:
            self._fail(1002, "reserved bits")
        if second & 0x80:
            self._fail(1002, "a masked frame")
        if first & 8:
            if first & 0xF > _PONG or first < 0x80 or second > 125:
                self._fail(1002, "a wrong control frame")
            self._filled = 0
            if first & 0xF != _PONG and not self._tried:
                self._filled = 6
                self._control_end = 0
                self._new_key(self._control, 2)
            return
        if first & 0xF > _BINARY or first & 0xF == 1:
            self._fail(1003, "a frame that is not binary")  # [MQTT-6.0.0-1]
        if self._fragments == (first & 0xF == _BINARY):
            self._fail(1002, "fragments out of order")
        self._fragments = first < 0x80

    def _take_control(self, buf, n):
        """True where a control frame was taken, 0 where it was a close, else what the stream below says."""
        while self._size:
            got = self._below.readinto(buf, min(n, self._size))
            if not got:
                return got
            self._size -= got
            if self._filled:
                self._copy(buf, got)
        self._missing = 2
        if self._filled:
            self._send_control(self._first)
        if self._first & 0xF != _CLOSE:
            return True
        self._open = False
        return 0

    def _copy(self, buf, n):
        """A piece of a ping's payload goes back, masked."""
        i = 0
        while i < n:
            self._control[self._filled] = buf[i] ^ self._control[2 + (self._filled + 2 & 3)]
            self._filled += 1
            i += 1

    # ---- frames out

    def write(self, buf, at, n):
        if self._at == self._end:
            if not self._left and self._control_end and not self._flushed():
                return None
            self._make(buf, at, n)
        while self._at < self._end:
            n = self._below.write(self._frame, self._at, self._end - self._at)
            if not n:
                return None
            self._at += n
        if self._control_end:
            self._flushed()
        return self._took

    def _make(self, buf, at, n):
        """A frame of this, or the next piece of the one that was begun: as much as fits."""
        if self._left:
            self._at = to = self._end & 3  # so the mask goes on where it was
        else:
            self._at = 0
            self._left = n = min(n, 65535)
            to = self._begin(self._frame, n)
        self._took = n = min(n, self._left, len(self._frame) - to)
        self._left -= n
        self._end = to + n
        self._mask(self._frame, to, buf, at)

    def _begin(self, frame, n):
        """The head of a frame; returns its size."""
        to = 6
        frame[0] = 0x80 | _BINARY
        if n < 126:
            frame[1] = 0x80 | n
        else:
            frame[1] = 0x80 | 126
            frame[2] = n >> 8
            frame[3] = n & 0xFF
            to = 8
        self._new_key(frame, to - 4)
        for i in range(to - 4, to):
            self._key[i & 3] = frame[i]  # a ping may come in the middle, whose pong has another
        return to

    def _new_key(self, out, at):
        """Four bytes that nobody can tell beforehand, at `at`."""
        for i in range(at, at + 4):
            out[i] = self._seed[i & 3] ^ getrandbits(8)

    def _mask(self, frame, to, buf, at):
        key = self._key
        while to < self._end:
            frame[to] = buf[at] ^ key[to & 3]
            to += 1
            at += 1

    def _send_control(self, first):
        """What was filled becomes the pong, or the close that answers a close."""
        self._control[0] = 0x80 | (_PONG if first & 0xF == _PING else _CLOSE)
        self._control[1] = 0x80 | self._filled - 6
        self._control_at = 0
        self._control_end = self._filled
        self._flushed()

    def _flushed(self):
        """Write the control frame, if none of ours is half written; True where nothing is left."""
        if self._at < self._end or self._left:
            return False
        self._tried = True
        while self._control_at < self._control_end:
            n = self._below.write(self._control, self._control_at, self._control_end - self._control_at)
            if not n:
                return False
            self._control_at += n
        self._control_end = 0
        self._tried = False
        return True

    def _say_close(self, code):
        """Tell the broker that it ends, as far as it can be said now."""
        if self._open and not self._tried:
            self._open = False
            self._new_key(self._control, 2)
            self._pair[0] = code >> 8
            self._pair[1] = code & 0xFF
            self._filled = 6
            self._copy(self._pair, 2)
            self._send_control(_CLOSE)

    def _fail(self, code, what):
        self._say_close(code)
        raise OSError(ECONNABORTED, "WebSocket: the broker has sent " + what)
