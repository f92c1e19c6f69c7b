"""WebSocket transport: `wrap()`, and the frames in both directions (RFC 6455, section 5).

    from umqtt5 import Client, tcp, tls, websocket

    client = Client("broker.local", 8080, transport=websocket.wrap(tcp.connect, "/mqtt"))
    secure = websocket.wrap(tls.wrap(tcp.connect, tls.context(ca="ca.pem")))

Rules:

- `write` begins a binary frame for its `n` bytes, at most 65535. A frame longer than `buffer` is masked and
  written piece by piece, one piece per call. `write` returns None until the piece is written completely, and
  then the number of payload bytes in the piece. After None the caller repeats the call with the same bytes.
- `readinto` returns the payload of binary frames. It reads from the stream below directly into the caller's
  buffer, and never past the end of a frame.
- Pong and Close frames have a buffer of their own and are written between two binary frames. A Ping that
  arrives while a Pong is partly written does not get its own Pong.
- A frame that a server must not send ends the connection with a Close frame and OSError. A Close frame of the
  server ends it with its code in the text of an OSError, or with 0 if the code is 1000 or there is none.
- No memory is allocated per frame.
"""

from random import getrandbits

from micropython import const

from .handshake import CLOSED, WRONG_FRAME, _random, advance_handshake, begin_handshake, fail

_MAX_FRAMES = const(16)  # maximum number of control frames and empty frames in one `readinto`

_BINARY = const(2)
_CLOSE = const(8)
_PING = const(9)
_PONG = const(10)


def wrap(transport, path="/mqtt", headers=(), buffer=512):
    """Return a transport that speaks WebSocket over another transport, for one client.

    `headers` is a sequence of (name, value), both str, to add to the HTTP request, for example Authorization.
    `buffer` is the number of bytes that are masked and written at once, including the 6 or 8 bytes of the
    frame header: 64 to 65535. Pass the port to `Client`, because the default ports are those of MQTT without
    WebSocket.

    Raises ValueError for a path or a header that HTTP does not allow. If the server refuses, opening the
    connection fails with an OSError whose text has the server's status line and says what to change. For the
    status 301, 308 and 4xx it is a PermanentError, except for 408 Request Timeout and 429 Too Many Requests.
    """
    if not path.startswith("/") or not 64 <= buffer <= 65535:
        raise ValueError('path must begin with "/", buffer must be 64 to 65535')
    extra = ""
    for name, value in headers:
        extra += _checked(name, ": ") + ": " + _checked(value, "") + "\r\n"
    return WebSocket(transport, _checked(path, " "), extra, buffer)


def _checked(text, forbidden):
    """Return `text`. Raises ValueError if a character is not printable ASCII or is in `forbidden`."""
    for character in text:
        if not " " <= character <= "~" or character in forbidden:
            raise ValueError("not allowed in an HTTP request: %s" % repr(text))
    return text


class WebSocket:
    """The transport. It is also its stream, because only one connection exists at a time."""

    def __init__(self, transport, path, headers, buffer):
        self._transport = transport
        self._path = path
        self._headers = headers
        self._frame = bytearray(buffer)  # header and masked payload of the frame to write
        self._control = bytearray(6 + 125)  # Pong or Close frame to write
        self._key = bytearray(4)  # mask of the binary frame
        self._pair = bytearray(2)
        self._below = None  # stream of the transport below, None without a connection

    def __call__(self, host, port):
        """Begin a connection; returns the stream. Raises OSError, or ValueError for a second client."""
        if self._below:
            raise ValueError("a WebSocket transport serves one client")
        begin_handshake(self, host, port)
        self._seed = _random(4)
        self._frame_at = self._frame_end = 0  # start and end of the bytes in `_frame` to write
        self._taken = 0  # payload bytes in `_frame`
        self._unframed = 0  # payload bytes of the frame that are not in `_frame` yet
        self._control_at = self._control_end = 0  # start and end of the bytes in `_control` to write
        self._is_control_started = False  # whether `_control` is partly written, so it can't be replaced
        self._filled = 0  # offset in `_control` for the next byte of a payload, 0 to drop the payload
        self._missing = 2  # bytes of the received frame header that are still to come
        self._header_bytes = 0  # bytes received of that header; stays at 2 in the extended length
        self._first = self._size = 0  # first byte of the received frame; bytes of its payload still to come
        self._is_fragmented = False  # whether the received message has not ended
        self._close_code = self._close_bytes = 0  # code of the server's Close, number of its bytes received
        self._can_close = False  # whether a Close frame may be sent
        self._below = below = self._transport(host, port)
        self.pollable = below.pollable if hasattr(below, "pollable") else below
        self._do_handshake = below.do_handshake if hasattr(below, "do_handshake") else None
        return self

    def close(self):
        """Send a Close frame if possible, and close the stream below."""
        if self._below:
            try:
                self._send_close(1000)
            except OSError:
                pass  # the connection is lost already
            self._below.close()
            self._below = None

    def do_handshake(self):
        """Continue the handshakes, beginning with that of the stream below; see `tcp`."""
        if self._do_handshake:
            events = self._do_handshake()
            if events:
                return events
            self._do_handshake = None
        events = advance_handshake(self, self._below)
        self._can_close = not events
        return events

    # ---- received frames

    def readinto(self, buf, n):
        """Read at most `n` payload bytes to the start of `buf`; see `tcp`."""
        self._frames_left = _MAX_FRAMES
        while self._frames_left:
            self._frames_left -= 1
            if self._control_end:
                self._flush_control()
            got = self._read_header() if self._missing else True
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
        return None  # a server that sends Pings without end must not keep the caller here

    def _read_header(self):
        """Return True if the frame header is complete, otherwise the result of the stream below."""
        while self._missing:
            n = self._below.readinto(self._pair, min(2, self._missing))
            if not n:
                return n
            for i in range(n):
                self._take_header(self._pair[i])
        self._header_bytes = 0
        return True

    def _take_header(self, byte):
        """Handle one byte of a frame header (RFC 6455, section 5.2)."""
        self._missing -= 1
        if self._header_bytes == 2:
            if self._size > 0x3FFFFF:
                self._fail(1009, "a frame that is too long")
            self._size = self._size << 8 | byte
            return
        self._header_bytes += 1
        if self._header_bytes == 1:
            self._first = byte
            return
        self._check_frame(self._first, byte)
        self._size = byte
        if byte > 125:
            self._missing = 2 if byte == 126 else 8
            self._size = 0

    def _check_frame(self, first, second):
        """End the connection if a server must not send this frame now."""
        if first & 0x70:
            self._fail(1002, "reserved bits")
        if second & 0x80:
            self._fail(1002, "a masked frame")
        if first & 8:
            if first & 0xF > _PONG or first < 0x80 or second > 125 or (first & 0xF == _CLOSE and second == 1):
                self._fail(1002, "a wrong control frame")
            self._filled = 0
            if first & 0xF != _PONG and not self._is_control_started:
                self._filled = 6
                self._control_end = 0
                self._new_mask(self._control, 2)
            return
        if first & 0xF > _BINARY or first & 0xF == 1:
            self._fail(1003, "a frame that is not binary")  # [MQTT-6.0.0-1]
        if self._is_fragmented == (first & 0xF == _BINARY):
            self._fail(1002, "fragments out of order")
        self._is_fragmented = first < 0x80

    def _take_control(self, buf, n):
        """Read a control frame; return True if it is complete, 0 after a Close, or the stream's None or 0."""
        while self._size:
            got = self._below.readinto(buf, min(n, self._size))
            if not got:
                return got
            self._size -= got
            if self._filled:
                self._copy(buf, got)
            if self._first & 0xF == _CLOSE:
                self._take_close_code(buf, got)
        self._missing = 2
        if self._filled:
            self._send_control(self._first)
        if self._first & 0xF != _CLOSE:
            return True
        self._can_close = False
        if self._close_code and self._close_code != 1000:
            self._report_close()
        return 0

    def _take_close_code(self, buf, n):
        """Read the status code at the start of a Close frame from the `n` bytes that were received."""
        for i in range(n):
            if self._close_bytes < 2:
                self._close_code = self._close_code << 8 | buf[i]
                self._close_bytes += 1

    def _report_close(self):
        # `_control` has the masked answer: header 2, mask 4, code 2, reason
        reason = bytearray(max(0, self._filled - 8))
        for i in range(len(reason)):
            reason[i] = self._control[8 + i] ^ self._control[2 + (i + 2 & 3)]
        fail(CLOSED, self._close_code, reason)

    def _copy(self, buf, n):
        """Mask `n` bytes and append them to the frame in `_control`."""
        i = 0
        while i < n:
            self._control[self._filled] = buf[i] ^ self._control[2 + (self._filled + 2 & 3)]
            self._filled += 1
            i += 1

    # ---- frames to write

    def write(self, buf, at, n):
        """Write at most `n` bytes from `buf[at]`; returns how many were taken, None for none; see `tcp`."""
        if self._frame_at == self._frame_end:
            if not self._unframed and self._control_end and not self._flush_control():
                return None
            self._fill_frame(buf, at, n)
        while self._frame_at < self._frame_end:
            n = self._below.write(self._frame, self._frame_at, self._frame_end - self._frame_at)
            if not n:
                return None
            self._frame_at += n
        if self._control_end:
            self._flush_control()
        return self._taken

    def _fill_frame(self, buf, at, n):
        """Fill `_frame` with the header and first piece of a new frame, or with the next piece of a frame."""
        if self._unframed:
            self._frame_at = to = self._frame_end & 3  # an offset that keeps the position in the mask
        else:
            self._frame_at = 0
            self._unframed = n = min(n, 65535)
            to = self._write_header(self._frame, n)
        self._taken = n = min(n, self._unframed, len(self._frame) - to)
        self._unframed -= n
        self._frame_end = to + n
        self._mask(self._frame, to, buf, at)

    def _write_header(self, frame, n):
        """Write the header of a binary frame; returns its size."""
        to = 6
        frame[0] = 0x80 | _BINARY
        if n < 126:
            frame[1] = 0x80 | n
        else:
            frame[1] = 0x80 | 126
            frame[2] = n >> 8
            frame[3] = n & 0xFF
            to = 8
        self._new_mask(frame, to - 4)
        for i in range(to - 4, to):
            self._key[i & 3] = frame[i]  # a copy, because the next piece overwrites `_frame`
        return to

    def _new_mask(self, out, at):
        """Write an unpredictable mask of four bytes to `out[at]`."""
        for i in range(at, at + 4):
            out[i] = self._seed[i & 3] ^ getrandbits(8)

    def _mask(self, frame, to, buf, at):
        key = self._key
        while to < self._frame_end:
            frame[to] = buf[at] ^ key[to & 3]
            to += 1
            at += 1

    def _send_control(self, first):
        """Complete and write the frame in `_control`: a Pong if `first` is of a Ping, otherwise a Close."""
        self._control[0] = 0x80 | (_PONG if first & 0xF == _PING else _CLOSE)
        self._control[1] = 0x80 | self._filled - 6
        self._control_at = 0
        self._control_end = self._filled
        self._flush_control()

    def _flush_control(self):
        """Write the control frame unless a binary frame is partly written; return True if it is complete."""
        if self._frame_at < self._frame_end or self._unframed:
            return False
        self._is_control_started = True
        while self._control_at < self._control_end:
            n = self._below.write(self._control, self._control_at, self._control_end - self._control_at)
            if not n:
                return False
            self._control_at += n
        self._control_end = 0
        self._is_control_started = False
        return True

    def _send_close(self, code):
        """Send a Close frame with this status code, if that is possible without waiting."""
        if self._can_close and not self._is_control_started:
            self._can_close = False
            self._new_mask(self._control, 2)
            self._pair[0] = code >> 8
            self._pair[1] = code & 0xFF
            self._filled = 6
            self._copy(self._pair, 2)
            self._send_control(_CLOSE)

    def _fail(self, code, received):
        self._send_close(code)
        fail(WRONG_FRAME, code, received)
