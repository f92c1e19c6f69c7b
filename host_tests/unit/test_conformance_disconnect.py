"""Conformance: DISCONNECT (3.14)."""

from packet_reader import (
    bodies_of_type,
    connected_peer,
    make_ack,
    make_connack,
    read_publishes,
    split_packets,
)
from simulation import Simulation

from helper import make_packet, publish_packet

# the reason codes that the standard lists for a client's DISCONNECT
LISTED = (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99)
WRONG = (
    b"\x30\x04\x00\x01#\x00",
    b"\x36\x05\x00\x01a\x00\x00",
    b"\x30\xff\xff\x7f",
    b"\x30\xff\xff\xff\xff",
    publish_packet(b"a", b"", properties=b"\x23\x00\x01"),
    publish_packet(b"", b""),
    b"\x20\x03\x00\x00\x00",
    b"\x10\x00",
    b"\xf0\x00",
    b"\xe1\x00",
    b"\xe0\x01\x77",
    make_packet(0x90, b"\x00\x00\x00\x00"),
)


def sent_for(data, properties=b""):
    """Return the DISCONNECT packets that a client sends when it receives these bytes."""
    sim = Simulation()
    sim.connect_reply = make_connack(properties)
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox = data
    sim.client.poll(10)
    assert sim.streams[0].closed
    return [found for found in split_packets(sim.streams[0].written) if found[0] & 0xF0 == 0xE0]


def test_disconnect_has_the_right_flags_and_a_valid_reason_code():  # [MQTT-3.14.1-1], [MQTT-3.14.2-1]
    codes = []
    for data in WRONG:
        ((first, body),) = sent_for(data)
        assert first == 0xE0 and body[0] in LISTED, data
        codes.append(body[0])
    assert len(set(codes)) > 4
    sim = Simulation()
    sim.client.connect()
    sim.client.disconnect()
    assert split_packets(sim.stream.written)[-1] == (0xE0, b"")
    peer = connected_peer(inflight=1)
    peer.feed(publish_packet(b"a", b"", 2, 1))
    assert peer.feed(publish_packet(b"a", b"", 2, 2)) == b"\xe0\x01\x93"


def test_a_received_disconnect_with_wrong_flags_or_reason_code_is_an_error():
    """[MQTT-3.14.1-1], [MQTT-3.14.2-1]"""
    for bits in range(1, 16):
        assert sent_for(bytes((0xE0 | bits, 0))) == [(0xE0, b"\x81")]
    # the reason codes of a server's DISCONNECT
    listed = (
        b"\x00\x80\x81\x82\x83\x87\x89\x8b\x8d\x8e\x8f\x90\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c"
        b"\x9d\x9e\x9f\xa0\xa1\xa2"
    )
    for code in range(256):
        expected = [] if code in listed else [(0xE0, b"\x82")]
        assert sent_for(bytes((0xE0, 1, code))) == expected, hex(code)


def test_disconnect_has_no_property_by_default():  # [MQTT-3.14.2-3], [MQTT-3.14.2-4]
    for data in WRONG:
        ((_, body),) = sent_for(data, b"\x27\x00\x00\x00\x20")
        assert len(body) == 1


def test_nothing_follows_a_disconnect():  # [MQTT-3.14.4-1]
    for reason in (0x00, 0x82):
        peer = connected_peer(b"\x22\x00\x04")
        peer.subscribe("a", lambda m: None, 1)
        peer.read_output()
        peer.publish_by_name("t", b"x")
        peer.publish_by_name("with/alias", b"x")
        peer.close(reason)
        assert peer.publish_by_name("with/alias", b"x") is False
        assert split_packets(peer.read_output())[-1][0] == 0xE0
        assert peer.publish_by_name("t", b"x") is False
        assert peer.publish_by_name("with/alias", b"x") is False
        peer.publish_by_name("t", b"x", 1)
        peer.subscribe("b", None, 0)
        peer.advance(100_000)
        assert peer.read_output() == b""
    # packets that follow an invalid packet get no reply
    peer = connected_peer()
    out = peer.feed(b"\xd0\x01\x00" + publish_packet(b"a", b"x", 1, 7) + make_ack(0x62, 8))
    assert out == b"\xe0\x01\x81"


def test_the_connection_is_closed_after_a_disconnect():  # [MQTT-3.14.4-2]
    sim = Simulation()
    sim.client.connect()
    sim.client.publish("a", b"x", 1)
    start = sim.now
    sim.client.disconnect()
    assert sim.stream.closed and not sim.client.is_connected and sim.now - start < 100
    assert [first for first, _ in split_packets(sim.stream.written)] == [0x10, 0x32, 0xE0]
    assert not read_publishes(sim.stream.written)[0].dup
    sim.client.poll(100_000)
    assert len(sim.streams) == 1


def test_the_connection_is_closed_if_the_disconnect_cannot_be_sent():  # [MQTT-3.14.4-2]
    sim = Simulation(timeout=2000)
    sim.client.connect()
    sim.stream.is_stalled = True
    start = sim.now
    sim.client.disconnect()
    assert sim.stream.closed and sim.now - start < 2500
    assert bodies_of_type(sim.stream.written, 0xE0) == []
