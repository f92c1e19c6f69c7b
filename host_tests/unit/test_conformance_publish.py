"""Conformance: PUBLISH, topic aliases, flow control (3.3, 4.9)."""

from packet_reader import (
    bodies_of_type,
    connected_peer,
    make_ack,
    make_connack,
    read_publishes,
    reconnect,
    split_packets,
)
from simulation import Simulation

from helper import identifier_of, make_packet, publish_packet, raises, utf8_string
from umqtt5.optional.topic_aliases import AliasTable
from umqtt5.properties import CONTENT_TYPE, RESPONSE_TOPIC, pack


def test_only_resent_messages_have_dup_set():  # [MQTT-3.3.1-1]
    peer = connected_peer(session_expiry=100)
    for payload, qos in ((b"1", 1), (b"2", 2)):
        peer.publish_by_name("a", payload, qos)
    assert [m.dup for m in read_publishes(peer.read_output())] == [0, 0]
    peer.publish_by_name("a", b"3", 1)  # this message was never sent
    assert [(m.payload, m.dup) for m in read_publishes(reconnect(peer))] == [(b"1", 1), (b"2", 1), (b"3", 0)]
    assert [(m.payload, m.dup) for m in read_publishes(reconnect(peer))] == [(b"1", 1), (b"2", 1), (b"3", 1)]


def test_qos_0_messages_never_have_dup_set():  # [MQTT-3.3.1-2], [MQTT-4.3.1-1]
    peer = connected_peer(b"\x22\x00\x02", session_expiry=100)
    for _ in range(2):
        for name in ("a", "some/topic"):
            for retain in (False, True):
                for properties in (b"", b"\x01\x01"):
                    peer.publish_by_name(name, b"x", 0, retain, properties)
                    peer.publish_by_name(name, b"x", 0, retain, properties)
        sent = read_publishes(peer.read_output())
        assert len(sent) == 16 and [(m.qos, m.dup) for m in sent] == [(0, 0)] * 16
        peer.publish_by_name("a", b"x", 1)
        reconnect(peer, b"\x22\x00\x02")


def test_a_qos_of_3_is_never_sent():  # [MQTT-3.3.1-4]
    sim = Simulation()
    sim.client.connect()
    for qos in (0, 1, 2):
        sim.client.publish("a", b"x", qos)
    assert [m.qos for m in read_publishes(sim.stream.written)] == [0, 1, 2]
    before = sim.stream.written
    for topic in ("a", sim.client.topic("a")):
        for qos in (3, 4, 7):
            raises(ValueError, sim.client.publish, topic, b"x", qos)
    sim.client.poll(10)
    assert sim.stream.written == before
    sim.stream.inbox = make_packet(0x36, utf8_string(b"a"), b"\x00\x01\x00x")
    sim.client.poll(10)
    assert sim.streams[0].written.endswith(b"\xe0\x01\x81") and sim.streams[0].closed


def test_the_topic_name_is_the_first_field_and_utf_8():  # [MQTT-3.3.2-1]
    peer = connected_peer()
    peer.publish_by_name("é/ü", b"x")
    peer.publish_by_name("é/ü", b"x", 1, properties=b"\x01\x01")
    for m in read_publishes(peer.read_output()):
        assert m.topic == b"\xc3\xa9/\xc3\xbc" and m.payload == b"x"
    for bad in (b"\xff", b"a\xed\xa0\x80"):
        raises(ValueError, Simulation().client.publish, bad, b"x", 1)
        peer = connected_peer()
        assert peer.feed(publish_packet(bad, b"x")) == b"\xe0\x01\x81"


def test_an_invalid_qos_raises_value_error_and_sends_nothing():
    sim = Simulation()
    sim.client.connect()
    before = sim.stream.written
    for qos in (-1, -2, -8):
        raises(ValueError, sim.client.publish, "a", b"x", qos)
    sim.client.poll(10)
    assert sim.stream.written == before


# ---- topic aliases


def aliased(slots=3):
    """Return a peer with topic aliases in both directions (two for sending), and the topics it receives."""
    peer = connected_peer(b"\x22\x00\x02")
    peer.cut()
    peer.session.aliases = AliasTable(slots)
    connect, _ = peer.connect(make_connack(b"\x22\x00\x02"))
    assert b"\x22" + bytes((slots >> 8, slots & 255)) in connect
    got = []
    peer.subscribe("#", lambda m: got.append(m.topic), 0)
    peer.read_output()
    return peer, got


def test_aliases_of_both_sides_end_with_the_connection():  # [MQTT-3.3.2-7]
    peer, got = aliased()
    for name in ("one/topic", "two/topic"):
        for _ in range(2):
            peer.publish_by_name(name, b"x")
    assert [m.topic for m in read_publishes(peer.read_output())] == [b"one/topic", b"", b"two/topic", b""]
    peer.publish_by_name("one/topic", b"x", 1)
    assert read_publishes(peer.read_output())[0].topic == b""
    peer.feed(publish_packet(b"their/topic", b"x", properties=b"\x23\x00\x01"))
    peer.feed(publish_packet(b"", b"x", properties=b"\x23\x00\x01"))
    assert got == ["their/topic", "their/topic"]
    out = reconnect(peer, b"\x22\x00\x02", 0)
    assert [m.topic for m in read_publishes(out)] == [b"one/topic"]
    peer.publish_by_name("two/topic", b"x")
    assert read_publishes(peer.read_output())[0].topic == b"two/topic"
    assert peer.feed(publish_packet(b"", b"x", properties=b"\x23\x00\x01")) == b"\xe0\x01\x82"


def test_alias_0_is_neither_sent_nor_accepted():  # [MQTT-3.3.2-8]
    for maximum in (1, 2, 4):
        peer = connected_peer(bytes((0x22, 0, maximum)), aliases=4)
        for i in range(100):
            peer.publish_by_name("topic/%d" % (i * i % 7), b"x")
            for m in read_publishes(peer.read_output()):
                assert b"\x23\x00\x00" not in m.properties
                assert m.topic or m.properties[0] == 0x23
    peer, got = aliased()
    assert peer.feed(publish_packet(b"a", b"x", properties=b"\x23\x00\x00")) == b"\xe0\x01\x94" and got == []


def test_every_alias_up_to_the_announced_maximum_is_accepted():  # [MQTT-3.3.2-10]
    for slots in (1, 3, 300):
        peer, got = aliased(slots)
        for alias in (1, slots // 2 + 1, slots):
            name = "t/%d" % alias
            one = b"\x23" + bytes((alias >> 8, alias & 255))
            peer.feed(
                publish_packet(name.encode(), b"x", properties=one)
                + publish_packet(b"", b"x", properties=one)
            )
            assert got[-2:] == [name, name]
        over = b"\x23" + bytes((slots + 1 >> 8, slots + 1 & 255))
        assert peer.feed(publish_packet(b"a", b"x", properties=over)) == b"\xe0\x01\x94"


# ---- properties


def test_a_response_topic_is_utf_8_without_wildcards():  # [MQTT-3.3.2-13], [MQTT-3.3.2-14]
    assert pack(response_topic="r/é") == b"\x08" + utf8_string(b"r/\xc3\xa9")
    for bad in (b"\xff", b"\xed\xa0\x80", "a\0", "x" * 65536):  # not an MQTT string
        raises(ValueError, lambda bad=bad: pack(response_topic=bad))
    for bad in ("a/+", "#", "a#b"):
        raises(ValueError, lambda bad=bad: pack(response_topic=bad))
    peer = connected_peer()
    got = []
    peer.subscribe("#", lambda m: got.append(m.property(RESPONSE_TOPIC)), 0)
    peer.read_output()
    peer.feed(publish_packet(b"a", b"", properties=b"\x08" + utf8_string(b"r/\xc3\xa9")))
    assert got == ["r/é"]
    assert peer.feed(publish_packet(b"a", b"", properties=b"\x08" + utf8_string(b"\xff"))) == b"\xe0\x01\x81"


def test_a_content_type_is_utf_8():  # [MQTT-3.3.2-19]
    assert pack(content_type="text/ü") == b"\x03" + utf8_string(b"text/\xc3\xbc")
    for bad in (b"\xff", b"\xed\xa0\x80", "a\0", "x" * 65536):
        raises(ValueError, lambda bad=bad: pack(content_type=bad))
    peer = connected_peer()
    got = []
    peer.subscribe("#", lambda m: got.append(m.property(CONTENT_TYPE)), 0)
    peer.read_output()
    peer.feed(publish_packet(b"a", b"", properties=b"\x03" + utf8_string(b"text/\xc3\xbc")))
    assert got == ["text/ü"]
    assert peer.feed(publish_packet(b"a", b"", properties=b"\x03" + utf8_string(b"\xff"))) == b"\xe0\x01\x81"


# ---- acknowledgement and flow control


def test_a_message_is_acknowledged_according_to_its_qos():  # [MQTT-3.3.4-1]
    for wanted in (False, True):
        peer = connected_peer()
        if wanted:
            peer.subscribe("a", lambda m: None, 2)
            peer.read_output()
        assert peer.feed(publish_packet(b"a", b"x", 0)) == b""
        assert peer.feed(publish_packet(b"a", b"x", 1, 3)) == make_ack(0x40, 3)
        assert peer.feed(publish_packet(b"a", b"x", 2, 4)) == make_ack(0x50, 4)


def test_a_sent_publish_has_no_subscription_identifier():  # [MQTT-3.3.4-6]
    sim = Simulation()
    client = sim.client
    client.subscribe("in", lambda m: client.publish("some/out", m.payload, m.qos))
    sim.connect_reply = make_connack(b"\x22\x00\x05")
    client.connect()
    client.poll(10)
    assert b"\x03" + identifier_of(b"in") in bodies_of_type(sim.stream.written, 0x80)[0]
    sim.stream.inbox = b"".join([publish_packet(b"in", b"x", i, i, identifier_of(b"in")) for i in (0, 1, 2)])
    client.poll(10)
    sent = read_publishes(sim.stream.written)
    assert [m.properties for m in sent] == [b"\x23\x00\x01"] * 3
    raises(TypeError, lambda: pack(subscription_identifier=1))


def test_messages_in_flight_never_exceed_the_brokers_receive_maximum():
    """[MQTT-3.3.4-7], [MQTT-4.9.0-1], [MQTT-4.9.0-2]"""
    for maximum in (1, 2, 5):
        peer = connected_peer(bytes((0x21, 0, maximum)), inflight=8)
        open_ones = {}
        for i in range(60):
            peer.publish_by_name("a", b"x", 1 + i % 2)
            for m in read_publishes(peer.read_output()):
                open_ones[m.packet_id] = m.qos
            assert len(open_ones) == min(i + 1, maximum) or i > 8
            assert 0 < len(open_ones) <= maximum
            if i > 8:
                packet_id = sorted(open_ones)[-1]  # the newest message first
                kind = 0x40
                if open_ones.pop(packet_id) == 2:
                    out = peer.feed(make_ack(0x50, packet_id))
                    assert out == make_ack(0x62, packet_id)  # PUBREC does not increase the send quota
                    kind = 0x70
                for m in read_publishes(peer.feed(make_ack(kind, packet_id))):
                    open_ones[m.packet_id] = m.qos
                assert len(open_ones) <= maximum


def test_the_send_quota_never_exceeds_its_initial_value():  # [MQTT-4.9.0-1], [MQTT-3.3.4-7]
    peer = connected_peer(b"\x21\x00\x02", inflight=8)
    peer.publish_by_name("a", b"x", 1)
    peer.publish_by_name("a", b"x", 2)
    peer.read_output()
    peer.feed(make_ack(0x40, 1))
    for wrong in (make_ack(0x40, 1), make_ack(0x50, 7), make_ack(0x70, 1), make_ack(0x40, 300)):
        peer.feed(wrong)  # acknowledgements of unknown messages
    peer.feed(make_ack(0x50, 2, 0x80) + make_ack(0x70, 2))  # and a PUBCOMP after the message was completed
    for _ in range(5):
        peer.publish_by_name("a", b"x", 1)
    assert len(read_publishes(peer.read_output())) == 2
    # messages that were unfinished when the connection was lost do not increase the send quota
    assert len(read_publishes(reconnect(peer, b"\x21\x00\x03"))) == 3


def test_a_used_up_quota_delays_only_publishes():  # [MQTT-3.3.4-8], [MQTT-4.9.0-3]
    peer = connected_peer(b"\x21\x00\x01", keep_alive=8)
    peer.subscribe("a", lambda m: None, 2)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x02"))
    peer.publish_by_name("t", b"x", 2)
    peer.publish_by_name("t", b"y", 1)  # waits
    assert len(read_publishes(peer.read_output())) == 1
    assert peer.feed(publish_packet(b"a", b"", 1, 7)) == make_ack(0x40, 7)
    assert peer.feed(publish_packet(b"a", b"", 2, 8)) == make_ack(0x50, 8)
    assert peer.feed(make_ack(0x62, 8)) == make_ack(0x70, 8)
    assert peer.feed(make_ack(0x50, 1)) == make_ack(0x62, 1)
    peer.publish_by_name("t", b"z")  # QoS 0 messages are not limited
    assert [m.payload for m in read_publishes(peer.read_output())] == [b"z"]
    peer.subscribe("b", None, 0)
    peer.unsubscribe("a")
    assert sorted([first for first, _ in split_packets(peer.read_output())]) == [0x82, 0xA2]
    peer.feed(make_packet(0x90, b"\x80\x01\x00\x00") + make_packet(0xB0, b"\x80\x00\x00\x00"))
    peer.advance(4900)
    peer.feed(publish_packet(b"x", b""))
    peer.advance(99)
    peer.close()
    assert peer.read_output() == b"\xe0\x00"


def test_a_used_up_quota_does_not_delay_the_ping():  # [MQTT-3.3.4-8], [MQTT-4.9.0-3]
    peer = connected_peer(b"\x21\x00\x01", keep_alive=4)
    peer.publish_by_name("t", b"x", 1)
    peer.publish_by_name("t", b"y", 1)
    peer.read_output()
    peer.advance(3500)
    assert peer.read_output() == b"\xc0\x00"
