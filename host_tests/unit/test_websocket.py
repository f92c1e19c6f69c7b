"""WebSocket transport (RFC 6455): upgrade, frames in both directions, ping, close, protocol errors."""

from helper import raises
from umqtt5 import websocket

try:
    from os import urandom  # noqa: F401
except ImportError:  # the 32-bit VM has neither urandom nor SHA-1
    websocket.handshake._random = websocket.transport._random = lambda n: bytes(range(7, 7 + n))
    websocket.handshake._accept = lambda key: b"not known here"


class Below:
    """The stream below the WebSocket; it transfers at most `cut` bytes at a time.

    Bytes from the broker are in `inbox`, bytes from the client in `written`.
    """

    def __init__(self, inbox=b"", cut=100000):
        self.inbox = inbox
        self.written = b""
        self.cut = cut
        self.room = 1 << 20  # number of bytes that it accepts before it returns None
        self.writes = self.closes = 0
        self.closed_by_broker = False
        self.eager = True  # if False, every second read returns None
        self._rest = False

    def readinto(self, buf, n):
        self._rest = not self._rest and not self.eager
        if self._rest or not self.inbox:
            return 0 if self.closed_by_broker and not self.inbox else None
        n = min(n, self.cut, len(self.inbox))
        buf[:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n

    def write(self, buf, at, n):
        n = min(n, self.cut, self.room)
        if not n:
            return None
        self.room -= n
        self.written += bytes(buf[at : at + n])
        self.writes += 1
        return n

    def close(self):
        self.closes += 1


def response(request, **changes):
    """Return the broker's response to the upgrade; `changes` replace headers, None omits one."""
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    headers = {
        "upgrade": b"websocket",
        "connection": b"Upgrade",
        "accept": websocket.handshake._accept(key),
        "protocol": b"mqtt",
        "status": b"101 Switching Protocols",
        "more": b"",
    }
    headers.update(changes)
    text = b"HTTP/1.1 " + headers["status"] + b"\r\n"
    for name, line in (
        ("upgrade", b"Upgrade"),
        ("connection", b"connection"),
        ("accept", b"Sec-WebSocket-Accept"),
        ("protocol", b"Sec-WebSocket-Protocol"),
    ):
        if headers[name] is not None:
            text += line + b": " + headers[name] + b"\r\n"
    return text + headers["more"] + b"\r\n"


def opened(inbox=b"", cut=100000, **options):
    """Return a WebSocket after its upgrade and the stream below, whose broker sends `inbox` next."""
    below = Below()
    stream = websocket.wrap(lambda host, port: below, **options)("broker", 8080)
    assert stream.do_handshake() == 1
    below.inbox = response(below.written) + inbox
    assert stream.do_handshake() == 0 and below.inbox == inbox
    below.written = b""
    below.writes = 0
    below.cut = cut
    return stream, below


def frame(payload, first=0x82):
    """Return a frame as a broker sends it."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126, size >> 8, size & 255)) + payload
    return bytes((first, 127, 0, 0, 0, 0, 0, size >> 16, size >> 8 & 255, size & 255)) + payload


def decoded(data):
    """Return the client's frames as (first byte, payload, mask); each must be whole (RFC 6455, 5.2)."""
    frames = []
    while data:
        first, size = data[0], data[1]
        assert size & 0x80, "not masked"
        size &= 0x7F
        at = 2
        if size == 126:
            size = data[2] << 8 | data[3]
            assert size > 125
            at = 4
        else:
            assert size != 127
        mask = data[at : at + 4]
        payload = bytearray(data[at + 4 : at + 4 + size])
        assert len(mask) == 4 and len(payload) == size, "half a frame"
        for i in range(size):
            payload[i] ^= mask[i % 4]
        frames.append((first, bytes(payload), mask))
        data = data[at + 4 + size :]
    return frames


def read(stream, most=10000):
    """Read as the session does; returns the data and the final None or 0."""
    got = []
    buf = bytearray(most)
    while True:
        n = stream.readinto(buf, most)
        if not n:
            return b"".join(got), n
        got.append(bytes(buf[:n]))


def written(stream, data):
    """Write as `Client` does until all bytes are accepted; returns how often `write` returned None."""
    at = waits = 0
    while at < len(data):
        n = stream.write(data, at, len(data) - at)
        if not n:
            waits += 1
            assert waits < 10000
        at += n or 0
    return waits


# ---- upgrade


def test_the_upgrade_request_has_the_required_headers():
    """[MQTT-6.0.0-3]"""
    below = Below()
    stream = websocket.wrap(lambda host, port: below, "/a?b=%20", headers=(("Authorization", "Basic 100%"),))
    stream("fe80::1", 81).do_handshake()
    lines = below.written.split(b"\r\n")
    assert lines[0] == b"GET /a?b=%20 HTTP/1.1" and lines[-2:] == [b"", b""]
    headers = dict([line.split(b": ", 1) for line in lines[1:-2]])
    key = headers.pop(b"Sec-WebSocket-Key")
    assert len(key) == 24 and key.endswith(b"==")
    assert headers == {
        b"Host": b"[fe80::1]:81",
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Version": b"13",
        b"Sec-WebSocket-Protocol": b"mqtt",
        b"Authorization": b"Basic 100%",
    }


def test_the_accept_key_is_that_of_the_rfc_example():
    try:
        from hashlib import sha1  # noqa: F401
    except ImportError:
        return
    assert websocket.handshake._accept(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_upgrade_reads_no_byte_of_the_first_frame():
    below = Below(cut=1)
    below.eager = False
    stream = websocket.wrap(lambda host, port: below)("broker", 80)
    below.room = 0
    while below.inbox or stream.do_handshake() == 4:
        below.room = 1
    below.inbox = response(below.written) + frame(b"x")
    waits = 0
    while stream.do_handshake() == 1:
        waits += 1
    assert waits > 100 and below.inbox == frame(b"x")


def test_the_upgrade_waits_for_the_handshake_of_the_stream_below():
    below = Below()
    events = [4, 1, 0]
    below.do_handshake = lambda: events.pop(0)
    stream = websocket.wrap(lambda host, port: below)("broker", 80)
    assert stream.do_handshake() == 4 and stream.do_handshake() == 1 and not below.written
    assert stream.do_handshake() == 1 and below.written and stream.pollable is below


def refused(answer=None, gone=False, **changes):
    below = Below()
    stream = websocket.wrap(lambda host, port: below)("broker", 80)
    stream.do_handshake()
    below.inbox = response(below.written, **changes) if answer is None else answer
    below.closed_by_broker = gone
    return raises(OSError, stream.do_handshake)


def test_a_wrong_upgrade_response_is_refused_with_a_reason():
    """[MQTT-6.0.0-4]"""
    for changes, words in (
        ({"status": b"404 Not Found"}, "404 Not Found"),
        ({"status": b"503 Busy"}, "503 Busy"),
        ({"status": b"200 OK"}, "200 OK: a web server without WebSocket: check port and path /mqtt"),
        ({"status": b"401 Unauthorized"}, "401 Unauthorized: check the Authorization in headers="),
        ({"status": b"400"}, "400: does the server expect TLS"),
        (
            {"status": b"302 Found", "more": b"Location: wss://b.example/ws\r\n"},
            "connect to wss://b.example/ws",
        ),
        ({"status": b"301 Moved", "more": b"LOCATION:/x\r\n"}, "301 Moved: connect to /x"),
        ({"status": b"307 Temporary Redirect"}, "redirects"),
        ({"answer": b"HTTP/1.1 308 Permanent Redirect\r\nA: b\r\n", "gone": True}, "308 Permanent Redirect"),
        ({"answer": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\n"}, "404 No: check the path /mqtt"),
        ({"answer": b"HTTP/1.1 100 Continue\r\n\r\n", "gone": True}, "after 'HTTP/1.1 100 Continue'"),
        ({"upgrade": None}, "Upgrade"),
        ({"upgrade": b"h2c"}, "Upgrade"),
        ({"connection": b"close"}, "Connection"),
        ({"accept": b"s3pPLMBiTxaQ9kYGzzhZRbK+xOp="}, "Accept"),
        ({"accept": None}, "Accept"),
        ({"more": b"Sec-WebSocket-Accept: twice\r\n"}, "Accept"),
        ({"more": b"Upgrade: h2c\r\n"}, "Upgrade"),
        ({"protocol": None}, "mqtt"),
        ({"protocol": b"mqttv3.1"}, "mqtt"),
        ({"more": b"Sec-WebSocket-Extensions: permessage-deflate\r\n"}, "Extensions"),
        ({"more": b"X: " + b"x" * 5000 + b"\r\n"}, "4096"),
        ({"more": b"X: y\r\n" * 330}, "100 lines"),
        ({"more": b"\r" * 5000}, "4096"),
        ({"answer": b"HTTP/1.1 101 " + b"x" * 5000}, "4096"),
        ({"answer": b"HTTP/1.1 100 Continue\r\n\r\n" * 330}, "100 lines"),
        ({"answer": b"\n"}, "not HTTP"),
        ({"answer": b"HTTP/1.1 1\r\n"}, "not HTTP"),
        ({"answer": b"HTTP/1.1 \xff\xff\xff\r\n"}, "not HTTP"),
        ({"answer": b"HTTP/1.1 999\r\n"}, "999: a web server without WebSocket"),
        ({"answer": b"HTTP/2 200\r\n"}, "not HTTP"),
        ({"answer": b"\x00\xff\x1b[31m\r\n"}, "not HTTP: '\\x00\\xff\\x1b[31m'"),
        ({"answer": b"\x20\x03\x00\x00\x00\r\n"}, "MQTT port without WebSocket"),
        ({"answer": b"\x20\x02\x00\x01", "gone": True}, "MQTT port without WebSocket"),
        ({"answer": b"\x15\x03\x01\x00\x02\x02\x46", "gone": True}, "tls.wrap"),
        ({"answer": b"SSH-2.0-OpenSSH_9.2\r\n"}, "SSH-2.0"),
        ({"answer": b"", "gone": True}, "closed during the handshake: is this the port"),
        ({"answer": b"HTTP/1.1 101 Swi", "gone": True}, "closed"),
    ):
        error = refused(**changes)
        assert words in str(error), (error, words)
        assert not error.args[1].endswith((" ", ":")) and len(str(error)) < 250, error
        status = changes.get("status", changes.get("answer", b"")[9:])[:3]
        is_permanent = b"404" in changes.get("answer", b"") or status in (
            b"301",
            b"308",
            b"400",
            b"401",
            b"404",
        )
        assert getattr(error, "is_permanent", False) == is_permanent, words


def test_interim_responses_are_skipped():
    below = Below()
    stream = websocket.wrap(lambda host, port: below)("broker", 80)
    stream.do_handshake()
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nUpgrade: no\r\nLink: x\r\n\r\n"
    below.inbox = interim + response(below.written) + frame(b"x")
    assert stream.do_handshake() == 0 and read(stream) == (b"x", None)


def test_other_spellings_and_long_headers_are_accepted():
    below = Below()
    stream = websocket.wrap(lambda host, port: below, buffer=64)("broker", 80)
    stream.do_handshake()
    more = b"Set-Cookie: " + b"c" * 1500 + b"\r\nno colon\r\n"
    below.inbox = response(below.written, upgrade=b"WebSocket", connection=b"keep-alive, Upgrade", more=more)
    assert stream.do_handshake() == 0


def test_invalid_arguments_raise_value_error():
    for path, headers, buffer in (
        ("mqtt", (), 512),
        ("/a b", (), 512),
        ("/a\r\nX: y", (), 512),
        ("/é", (), 512),
        ("/", (("a: b", "c"),), 512),
        ("/", (("a", "b\n"),), 512),
        ("/", (), 63),
        ("/", (), 65536),
    ):
        raises(ValueError, websocket.wrap, print, path, headers, buffer)


def test_a_transport_serves_one_connection_at_a_time():
    below = Below()
    transport = websocket.wrap(lambda host, port: below)
    stream = transport("broker", 80)
    raises(ValueError, transport, "broker", 80)
    stream.close()
    assert below.closes == 1
    transport("broker", 80).close()
    assert below.closes == 2


def test_a_transport_can_be_used_after_a_failed_connection():
    tries = [OSError(111), Below()]

    def connect(host, port):
        found = tries.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    transport = websocket.wrap(connect)
    raises(OSError, transport, "broker", 80)
    transport("broker", 80)


# ---- sent frames


def test_each_write_is_one_masked_binary_frame():
    """[MQTT-6.0.0-1]"""
    for size in (1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 503, 504):
        stream, below = opened()
        data = bytes([i * 7 & 255 for i in range(size + 3)])
        assert stream.write(data, 3, size) == size
        assert below.writes == 1
        frames = decoded(below.written)
        assert [(first, payload) for first, payload, _ in frames] == [(0x82, data[3:])]


def test_a_packet_longer_than_the_buffer_is_one_frame():
    for size in (93, 94, 191, 192, 193, 768, 65535):
        for buffer in (64, 65, 66, 67, 100):
            stream, below = opened(buffer=buffer)
            data = (bytes(range(255)) * 258)[:size]
            took = stream.write(data, 0, size)
            assert took == min(size, buffer - (6 if size < 126 else 8))
            written(stream, data[took:])
            frames = decoded(below.written)
            assert [(first, payload) for first, payload, _ in frames] == [(0x82, data)], (size, buffer)


def test_more_than_65535_bytes_are_sent_as_several_frames():
    stream, below = opened()
    data = bytes(range(256)) * 512
    written(stream, data)
    frames = decoded(below.written)
    assert b"".join([payload for _, payload, _ in frames]) == data
    assert [len(payload) for _, payload, _ in frames] == [65535, 65535, 2]


def test_nothing_is_sent_between_the_parts_of_a_frame():
    stream, below = opened(buffer=64)
    data = bytes(range(200))
    at = stream.write(data, 0, 200)
    below.inbox = frame(b"ping", 0x89)
    assert read(stream) == (b"", None)
    # more data follow, which do not belong to this frame
    while at < 200:
        at += stream.write(data + b"more", at, 204 - at)
    assert at == 200 and stream.write(b"more", 0, 4) == 4
    frames = [(first, payload) for first, payload, _ in decoded(below.written)]
    assert frames == [(0x82, data), (0x8A, b"ping"), (0x82, b"more")]


def test_each_frame_has_its_own_masking_key():
    stream, below = opened()
    for _ in range(20):
        stream.write(b"x", 0, 1)
    masks = [mask for _, _, mask in decoded(below.written)]
    assert len(set(masks)) > 17
    for i in range(4):
        assert len(set([mask[i] for mask in masks])) > 5


def test_a_partly_written_frame_continues_where_it_stopped():
    data = bytes(range(200))
    for cut in range(1, 209):
        stream, below = opened()
        below.room = cut
        got = stream.write(data, 0, 200)
        if cut < 208:
            assert got is None
            below.room = 1000
            # the session has appended data, which belong to the next frame
            got = stream.write(data + b"more", 0, 204)
        assert got == 200
        assert [payload for _, payload, _ in decoded(below.written)] == [data]
    stream, below = opened(cut=1)
    assert written(stream, data) == 0
    assert [payload for _, payload, _ in decoded(below.written)] == [data]


# ---- received frames


def test_frames_with_every_length_encoding_are_read():
    for size in (1, 125, 126, 127, 255, 256, 9999, 65535, 65536, 70000):
        payload = bytes([i & 255 for i in range(256)]) * (size // 256 + 1)
        payload = payload[:size]
        stream, below = opened(frame(payload) + frame(b"next"))
        assert read(stream, 4000) == (payload + b"next", None)


MIXED = (
    frame(b"one") + frame(b"", 0x82) + frame(b"tw", 0x02) + frame(b"ping!", 0x89) + frame(b"o", 0x00)
    + frame(b"pong", 0x8A) + frame(b"", 0x00) + frame(b"", 0x80) + frame(b"x" * 130) + frame(b"", 0x89)
)  # fmt: skip


def test_fragments_and_control_frames_are_read_in_any_two_parts():
    """[MQTT-6.0.0-2]"""
    for cut in range(len(MIXED) + 1):
        for eager in (True, False):
            stream, below = opened()
            below.eager = eager
            below.inbox = MIXED[:cut]
            got = b""
            for _ in range(len(MIXED) if not eager else 3):
                got += read(stream)[0]
            below.inbox = MIXED[cut:]
            for _ in range(len(MIXED) if not eager else 3):
                got += read(stream)[0]
            assert got == b"one" + b"two" + b"x" * 130, (cut, got)
            pongs = [(first, payload) for first, payload, _ in decoded(below.written)]
            assert pongs == [(0x8A, b"ping!"), (0x8A, b"")]


def test_frames_are_read_byte_by_byte():
    for cut, most in ((1, 1000), (1000, 1), (3, 2)):
        stream, below = opened(MIXED, cut)
        got = b""
        for _ in range(9):
            got += read(stream, most)[0]
        assert got == b"one" + b"two" + b"x" * 130
        assert len(decoded(below.written)) == 2


def test_a_read_takes_no_bytes_beyond_its_frame():
    stream, below = opened(frame(b"abcdef") + frame(b"g"))
    buf = bytearray(b"........")
    assert stream.readinto(buf, 4) == 4 and bytes(buf) == b"abcd...."
    assert below.inbox == b"ef" + frame(b"g")
    assert stream.readinto(buf, 8) == 2 and bytes(buf[:2]) == b"ef"
    assert below.inbox == frame(b"g")


def test_the_end_of_the_stream_is_reported():
    for inbox in (b"", b"\x82", b"\x82\x7e\x01", b"\x82\x05ab", b"\x89\x03a"):
        stream, below = opened(inbox)
        below.closed_by_broker = True
        assert read(stream)[1] == 0


def test_many_control_frames_do_not_block_a_read():
    stream, below = opened(frame(b"", 0x8A) * 1000 + frame(b"x"))
    rounds = 0
    buf = bytearray(10)
    while stream.readinto(buf, 10) is None:
        rounds += 1
    assert 50 < rounds < 200 and buf[0] == 120


# ---- ping and close while a frame is partly written


def test_a_pong_is_sent_between_two_frames():
    stream, below = opened()
    below.room = 7
    data = b"0123456789"
    assert stream.write(data, 0, 10) is None
    below.inbox = frame(b"first", 0x89) + frame(b"second", 0x89) + frame(b"hello")
    assert read(stream) == (b"hello", None)
    below.room = 1000
    assert stream.write(data, 0, 10) == 10
    frames = [(first, payload) for first, payload, _ in decoded(below.written)]
    # one pong for the last ping answers both (RFC 6455, 5.5.3)
    assert frames == [(0x82, data), (0x8A, b"second")]


def test_a_partly_written_pong_is_completed_before_the_next_frame():
    for cut in range(11):
        stream, below = opened(frame(b"ping", 0x89))
        below.room = cut
        assert read(stream) == (b"", None)
        below.inbox = frame(b"another", 0x89) + frame(b"x")
        assert read(stream) == (b"x", None)
        below.room = 0
        assert cut >= 10 or stream.write(b"data", 0, 4) is None
        below.room = 1000
        assert stream.write(b"data", 0, 4) == 4
        frames = [payload for first, payload, _ in decoded(below.written)]
        assert frames == ([b"ping", b"data"] if cut < 10 else [b"ping", b"another", b"data"]), (cut, frames)


def test_a_pong_waits_until_the_stream_accepts_data():
    stream, below = opened(frame(b"ping", 0x89))
    below.room = 0
    assert read(stream) == (b"", None) and not below.written
    below.room = 1000
    assert read(stream) == (b"", None)
    assert [(first, payload) for first, payload, _ in decoded(below.written)] == [(0x8A, b"ping")]


def test_a_close_is_answered_and_ends_the_stream():
    for payload in (b"", b"\x03\xe8", b"\x03\xe8" + b"r" * 123):
        stream, below = opened(frame(b"x") + frame(payload, 0x88), cut=3)
        buf = bytearray(10)
        assert stream.readinto(buf, 10) == 1
        got = stream.readinto(buf, 10)
        while got is None:
            got = stream.readinto(buf, 10)
        assert got == 0
        stream.close()
        assert [(first, payload) for first, payload, _ in decoded(below.written)] == [(0x88, payload)]


def test_the_code_and_the_reason_of_a_close_are_in_the_error():
    for code, reason, words in (
        (1001, b"", "1001 going away"),
        (1008, b"who are you", "1008 policy violation: check user, password and headers= (who are you)"),
        (1009, b"", "1009 message too big"),
        (1014, b"", "1014 bad gateway"),
        (1015, b"", "1015"),
        (4004, b"\x1b[31m\xff", "4004 (\\x1b[31m\\xff)"),
        (0, b"", None),
        (65535, b"r" * 123, "65535 (rrr"),
    ):
        for cut in (1, 100):
            payload = bytes((code >> 8, code & 255)) + reason
            stream, below = opened(frame(b"x") + frame(payload, 0x88), cut)
            buf = bytearray(10)
            assert stream.readinto(buf, 10) == 1
            if words is None:
                assert stream.readinto(buf, 10) == 0
                continue
            error = raises(OSError, stream.readinto, buf, 10)
            assert error.errno == 104 and words in str(error), error
            stream.close()
            assert [(first, data) for first, data, _ in decoded(below.written)] == [(0x88, payload)]


def test_the_code_of_a_close_is_reported_while_a_pong_is_partly_written():
    stream, below = opened(frame(b"ping", 0x89))
    below.room = 3
    assert read(stream) == (b"", None)
    below.inbox = frame(b"\x03\xf3internal", 0x88)
    assert "1011 internal error" in str(raises(OSError, read, stream))


def test_close_sends_a_close_frame():
    stream, below = opened()
    stream.close()
    stream.close()
    assert [(f, p) for f, p, _ in decoded(below.written)] == [(0x88, b"\x03\xe8")] and below.closes == 1
    stream, below = opened()
    below.room = 3
    assert stream.write(b"abc", 0, 3) is None
    below.room = 1000
    stream.close()
    assert len(below.written) == 3 and below.closes == 1  # no close frame inside another frame
    stream, below = opened()
    below.write = lambda buf, at, n: raise_(OSError(104))
    stream.close()
    assert below.closes == 1


def raise_(error):
    raise error


# ---- protocol errors


def test_protocol_errors_close_the_connection_with_a_status_code():
    """[MQTT-6.0.0-1]"""
    for data, words, code in (
        (b"\x82\x81", "masked", 1002),
        (b"\x82\xfe", "masked", 1002),
        (b"\x89\x80", "masked", 1002),
        (b"\xc2\x01", "reserved", 1002),
        (b"\xa2\x01", "reserved", 1002),
        (b"\x92\x01", "reserved", 1002),
        (b"\x81\x01", "not binary", 1003),
        (b"\x83\x01", "not binary", 1003),
        (b"\x87\x01", "not binary", 1003),
        (b"\x8b\x00", "control", 1002),
        (b"\x8f\x00", "control", 1002),
        (b"\x09\x00", "control", 1002),
        (b"\x89\x7e", "control", 1002),
        (b"\x88\x7f", "control", 1002),
        (b"\x88\x01", "control", 1002),
        (b"\x80\x01", "order", 1002),
        (b"\x02\x00\x02\x00", "order", 1002),
        (b"\x02\x00\x82\x00", "order", 1002),
        (b"\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00", "too long", 1009),
        (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "too long", 1009),
        (b"\x82\x7f\x00\x00\x00\x00\x40\x00\x00\x00", "too long", 1009),
    ):
        for cut in (1, 100):
            stream, below = opened(data, cut)
            error = raises(OSError, read, stream)
            assert words in str(error), (error, data)
            close = bytes((code >> 8, code & 255))
            assert [(f, p) for f, p, _ in decoded(below.written)] == [(0x88, close)], data
            stream.close()
            assert below.closes == 1 and len(decoded(below.written)) == 1


def test_an_error_without_heap_for_its_text_is_an_oserror():
    from umqtt5.optional import websocket_errors

    make_error = websocket_errors.make_error

    def no_heap(kind, details):
        raise MemoryError

    websocket_errors.make_error = no_heap
    try:
        stream, below = opened(b"\x82\x81")
        assert "WebSocket" in str(raises(OSError, read, stream))
    finally:
        websocket_errors.make_error = make_error
