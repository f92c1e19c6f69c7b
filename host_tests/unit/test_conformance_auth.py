"""AUTH and enhanced authentication: 3.15, 4.12."""

from answering_broker import Answers, auth, authentication
from packet_reader import connack, of_kind, packets
from test_auth import ACCEPTED, METHOD, Scripted, Words, world

from helper import message, packet, raises, text
from umqtt5.core.errors import MQTTError


def sent(there):
    """The AUTH packets of all connections: first byte, reason code, properties."""
    written = b"".join([stream.written for stream in there.streams])
    found = []
    for first, body in packets(written):
        if first & 0xF0 == 0xF0:
            assert len(body) == 2 + body[1]
            found.append((first, body[0], body[2:]))
    return found


def test_auth_has_its_flags_a_listed_reason_code_and_the_method():
    """[MQTT-3.15.1-1], [MQTT-3.15.2-1], [MQTT-4.12.0-3], [MQTT-4.12.0-5], [MQTT-4.12.1-1]"""
    there = world()
    assert [(first, code) for first, code, _ in sent(there)] == [(0xF0, 0x18)]
    there.client.reauthenticate()
    assert [(first, code) for first, code, _ in sent(there)] == [(0xF0, 0x18), (0xF0, 0x19), (0xF0, 0x18)]
    for _, _, properties in sent(there):
        assert properties.startswith(METHOD)


def test_auth_has_nothing_but_method_and_data():  # [MQTT-3.15.2-2], [MQTT-3.15.2-3]
    there = Scripted(auth(0x18, b"1", b"words"), ACCEPTED)
    there.client.auth = Words(b"one", b"two")
    there.client.connect()
    there.lines = [auth(0x18, b"2", b"words"), packet(0xF0, b"\x00" + authentication(b"", b"words"))]
    there.client.reauthenticate()
    words = b"\x15" + text(b"words") + b"\x16"
    data = [words + text(b"one"), words + text(b"hello"), words + text(b"two")]
    assert [properties for _, _, properties in sent(there)] == data


def test_auth_that_comes_has_its_flags_and_a_listed_reason_code():  # [MQTT-3.15.1-1], [MQTT-3.15.2-1]
    good = auth(0x18, b"1", b"words")
    for bits in range(1, 16):
        there = Scripted(bytes((good[0] | bits,)) + good[1:], ACCEPTED)
        there.client.auth = Words(b"one")
        assert raises(MQTTError, there.client.connect).code == 0x81
        assert there.stream.written.endswith(b"\xe0\x01\x81") and there.stream.closed
    for code in range(256):
        if code != 0x18:
            there = Scripted(auth(code, b"1", b"words"), ACCEPTED)
            there.client.auth = Words(b"one")
            assert raises(MQTTError, there.client.connect).code == 0x82, code
            assert sent(there) == []


def test_before_connack_there_is_nothing_but_auth_and_disconnect():  # [MQTT-3.1.2-30]
    there = Scripted(auth(0x18, b"1", b"words"), keep_alive=1)
    there.client.auth = Words(b"one")
    there.client.subscribe("a", None)
    for qos in (0, 1, 2):
        there.client.publish("a", b"x", qos)
    there.client.connect(wait=False)
    there.client.poll(5000)  # no CONNACK comes
    assert there.client.publish("a", b"x") is False
    assert [first for first, _ in packets(there.stream.written)] == [0x10, 0xF0]
    there.stream.inbox = message(b"a", b"x", 1, 7)  # which may not come now
    there.client.poll(100)
    assert [first for first, _ in packets(there.streams[0].written)] == [0x10, 0xF0, 0xE0]


def test_the_method_of_a_successful_connack_is_that_of_connect():  # [MQTT-4.12.0-5]
    for properties in (b"", b"\x15" + text(b"other"), b"\x16" + text(b"done")):
        there = Scripted(auth(0x18, b"1", b"words"), connack(properties))
        there.client.auth = Words(b"one", b"two")
        assert raises(MQTTError, there.client.connect).code == 0x82
        assert not there.client.connected and there.stream.closed


def test_without_a_method_there_is_no_auth():  # [MQTT-4.12.0-7]
    for when in ("connecting", "connected"):
        there = Scripted(auth(0x18, b"1", b"words")) if when == "connecting" else Answers()
        there.client.connect(wait=False)
        there.client.poll(10)
        there.stream.inbox = auth(0x18, b"1", b"words") if when == "connected" else b""
        raises(ValueError, there.client.reauthenticate)
        there.client.poll(10)
        assert sent(there) == []
        assert of_kind(there.streams[0].written, 0xE0) == [b"\x82"]
        assert METHOD not in there.streams[0].written


def test_a_reauthentication_that_fails_ends_the_connection():  # [MQTT-4.12.1-2]
    for line, code in (
        (auth(0x18, b"1", b"other"), 0x82),
        (auth(0x87, b"", b"words"), 0x82),
        (packet(0xF0, b"\x00" + authentication(b"", b"other")), 0x82),
    ):
        there = Scripted(ACCEPTED)
        there.client.auth = Words(b"one")
        there.client.connect()
        there.lines = [line]
        assert raises(MQTTError, there.client.reauthenticate).code == code
        assert of_kind(there.streams[0].written, 0xE0) == [bytes((code,))] and there.streams[0].closed
    # the method itself is not content
    there = Scripted(ACCEPTED)
    there.client.auth = Words()
    there.client.connect()
    there.lines = [auth(0x18, b"1", b"words")]
    assert raises(MQTTError, there.client.reauthenticate).code == 0x80
    assert of_kind(there.streams[0].written, 0xE0) == [b"\x80"] and there.streams[0].closed
