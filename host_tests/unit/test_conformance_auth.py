"""Conformance: AUTH and enhanced authentication (3.15, 4.12)."""

from answering_broker import BrokerSimulation, auth_packet, auth_properties
from packet_reader import bodies_of_type, make_connack, split_packets
from test_auth import ACCEPTED, METHOD, Scripted, Words, connected_sim

from helper import make_packet, publish_packet, raises, utf8_string
from umqtt5.core.errors import MQTTError


def sent(sim):
    """Return (first byte, reason code, properties) of each sent AUTH packet."""
    written = b"".join([stream.written for stream in sim.streams])
    found = []
    for first, body in split_packets(written):
        if first & 0xF0 == 0xF0:
            assert len(body) == 2 + body[1]
            found.append((first, body[0], body[2:]))
    return found


def test_auth_has_the_right_flags_reason_code_and_method():
    """[MQTT-3.15.1-1], [MQTT-3.15.2-1], [MQTT-4.12.0-3], [MQTT-4.12.0-5], [MQTT-4.12.1-1]"""
    sim = connected_sim()
    assert [(first, code) for first, code, _ in sent(sim)] == [(0xF0, 0x18)]
    sim.client.reauthenticate()
    assert [(first, code) for first, code, _ in sent(sim)] == [(0xF0, 0x18), (0xF0, 0x19), (0xF0, 0x18)]
    for _, _, properties in sent(sim):
        assert properties.startswith(METHOD)


def test_auth_has_only_method_and_data():  # [MQTT-3.15.2-2], [MQTT-3.15.2-3]
    sim = Scripted(auth_packet(0x18, b"1", b"words"), ACCEPTED)
    sim.client.auth = Words(b"one", b"two")
    sim.client.connect()
    sim.lines = [
        auth_packet(0x18, b"2", b"words"),
        make_packet(0xF0, b"\x00" + auth_properties(b"", b"words")),
    ]
    sim.client.reauthenticate()
    words = b"\x15" + utf8_string(b"words") + b"\x16"
    data = [words + utf8_string(b"one"), words + utf8_string(b"hello"), words + utf8_string(b"two")]
    assert [properties for _, _, properties in sent(sim)] == data


def test_a_received_auth_with_wrong_flags_or_reason_code_is_an_error():  # [MQTT-3.15.1-1], [MQTT-3.15.2-1]
    good = auth_packet(0x18, b"1", b"words")
    for bits in range(1, 16):
        sim = Scripted(bytes((good[0] | bits,)) + good[1:], ACCEPTED)
        sim.client.auth = Words(b"one")
        assert raises(MQTTError, sim.client.connect).code == 0x81
        assert sim.stream.written.endswith(b"\xe0\x01\x81") and sim.stream.closed
        assert sent(sim) == [], bits  # it has not answered the AUTH
    for code in range(256):
        if code != 0x18:
            sim = Scripted(auth_packet(code, b"1", b"words"), ACCEPTED)
            sim.client.auth = Words(b"one")
            assert raises(MQTTError, sim.client.connect).code == 0x82, code
            assert sent(sim) == []


def test_before_connack_only_auth_and_disconnect_are_sent():  # [MQTT-3.1.2-30]
    sim = Scripted(auth_packet(0x18, b"1", b"words"), keep_alive=1)
    sim.client.auth = Words(b"one")
    sim.client.subscribe("a", None)
    for qos in (0, 1, 2):
        sim.client.publish("a", b"x", qos)
    sim.client.connect(wait=False)
    sim.client.poll(5000)  # no CONNACK arrives
    assert sim.client.publish("a", b"x") is False
    assert [first for first, _ in split_packets(sim.stream.written)] == [0x10, 0xF0]
    sim.stream.inbox = publish_packet(b"a", b"x", 1, 7)  # a broker must not send PUBLISH before CONNACK
    sim.client.poll(100)
    assert [first for first, _ in split_packets(sim.streams[0].written)] == [0x10, 0xF0, 0xE0]


def test_a_successful_connack_must_have_the_method_of_connect():  # [MQTT-4.12.0-5]
    for properties in (b"", b"\x15" + utf8_string(b"other"), b"\x16" + utf8_string(b"done")):
        sim = Scripted(auth_packet(0x18, b"1", b"words"), make_connack(properties))
        sim.client.auth = Words(b"one", b"two")
        assert raises(MQTTError, sim.client.connect).code == 0x82
        assert not sim.client.is_connected and sim.stream.closed


def test_without_a_method_no_auth_is_sent():  # [MQTT-4.12.0-7]
    for when in ("connecting", "connected"):
        sim = Scripted(auth_packet(0x18, b"1", b"words")) if when == "connecting" else BrokerSimulation()
        sim.client.connect(wait=False)
        sim.client.poll(10)
        sim.stream.inbox = auth_packet(0x18, b"1", b"words") if when == "connected" else b""
        raises(ValueError, sim.client.reauthenticate)
        sim.client.poll(10)
        assert sent(sim) == []
        assert bodies_of_type(sim.streams[0].written, 0xE0) == [b"\x82"]
        assert METHOD not in sim.streams[0].written


def test_a_failed_reauthentication_ends_the_connection():  # [MQTT-4.12.1-2]
    for line, code in (
        (auth_packet(0x18, b"1", b"other"), 0x82),
        (auth_packet(0x87, b"", b"words"), 0x82),
        (make_packet(0xF0, b"\x00" + auth_properties(b"", b"other")), 0x82),
    ):
        sim = Scripted(ACCEPTED)
        sim.client.auth = Words(b"one")
        sim.client.connect()
        sim.lines = [line]
        assert raises(MQTTError, sim.client.reauthenticate).code == code
        assert bodies_of_type(sim.streams[0].written, 0xE0) == [bytes((code,))] and sim.streams[0].closed
    # the method itself raises
    sim = Scripted(ACCEPTED)
    sim.client.auth = Words()
    sim.client.connect()
    sim.lines = [auth_packet(0x18, b"1", b"words")]
    assert raises(MQTTError, sim.client.reauthenticate).code == 0x80
    assert bodies_of_type(sim.streams[0].written, 0xE0) == [b"\x80"] and sim.streams[0].closed
