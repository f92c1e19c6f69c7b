"""Conformance: data types, fixed header, packet identifiers, topics, errors (1.5, 2, 4.1, 4.7, 4.13)."""

from packet_reader import bodies_of_type, connected_peer, make_ack, read_publishes, split_packets
from simulation import Simulation

from helper import Peer, make_packet, publish_packet, raises, utf8_string
from umqtt5 import Client
from umqtt5.properties import CONTENT_TYPE, USER_PROPERTY, pack

NOT_UTF8 = (b"\xed\xa0\x80", b"a\xed\xbf\xbf", b"\xff", b"\xc3", b"\xc0\x80", b"\xf4\x90\x80\x80")


def strings(data):
    """Return functions; each passes `data` to the client as one kind of MQTT string."""
    client = Simulation().client
    return (
        lambda: Client("b", client_id=data, transport=print),
        lambda: Client("b", user=data, transport=print),
        lambda: client.will(data, b""),
        lambda: client.publish(data, b"", 1),
        lambda: client.topic(data),
        lambda: client.subscribe(data, None),
        lambda: client.unsubscribe(data),
        lambda: pack(content_type=data),
        lambda: pack(response_topic=data),
        lambda: pack(reason_string=data),
    )


def test_no_string_that_is_not_utf_8_is_sent():  # [MQTT-1.5.4-1]
    for data in NOT_UTF8:
        for give in strings(data):
            raises(ValueError, give)


def test_no_string_with_a_null_character_is_sent():  # [MQTT-1.5.4-2], [MQTT-4.7.3-2]
    for data in ("\0", "a\0b"):
        for give in strings(data):
            raises(ValueError, give)


def refused(data, code=0x81):
    """Return True if the bytes end the connection with this reason code and reach no handler."""
    peer = connected_peer()
    got = []
    peer.subscribe("#", got.append, 0)
    peer.read_output()
    return peer.feed(data) == bytes((0xE0, 1, code)) and not peer.is_connected and not got


def test_received_strings_that_are_not_utf_8_end_the_connection():  # [MQTT-1.5.4-1], [MQTT-1.5.4-2]
    for data in NOT_UTF8 + (b"\0", b"a\0b"):
        assert refused(publish_packet(data, b"x")), data
        for identifier in (b"\x03", b"\x08"):
            assert refused(publish_packet(b"a", b"x", properties=identifier + utf8_string(data))), data
        assert refused(make_packet(0xE0, b"\x8b", bytes((3 + len(data),)), b"\x1f", utf8_string(data))), data


def test_a_leading_u_feff_is_not_removed_from_a_string():  # [MQTT-1.5.4-3]
    peer = connected_peer()
    got = []
    peer.subscribe("#", lambda m: got.append((m.topic, m.property(CONTENT_TYPE))), 0)
    peer.read_output()
    mark = b"\xef\xbb\xbfa"
    peer.feed(publish_packet(mark, b"x", properties=b"\x03" + utf8_string(mark)))
    assert got == [("\ufeffa", "\ufeffa")]
    sim = Simulation()
    sim.client.connect()
    sim.client.publish("\ufeffa", b"x")
    assert read_publishes(sim.stream.written)[0].topic == mark
    assert utf8_string(mark) in pack(content_type="\ufeffa")


def test_lengths_are_encoded_in_the_fewest_bytes():  # [MQTT-1.5.5-1]
    for size, length in ((127, b"\x7f"), (128, b"\x80\x01"), (16383, b"\xff\x7f"), (16384, b"\x80\x80\x01")):
        for qos in (0, 1):
            peer = connected_peer(tx=20000, outbox=20000)
            peer.publish_by_name("a", b"x" * (size - 4 - 2 * qos), qos)
            assert peer.read_output()[1 : 1 + len(length)] == length


def test_both_strings_of_a_pair_must_be_valid():  # [MQTT-1.5.7-1]
    for bad in NOT_UTF8 + (b"\0",):
        raises(ValueError, lambda bad=bad: pack(user_properties=[(bad, "x")]))
        raises(ValueError, lambda bad=bad: pack(user_properties=[("x", bad)]))
        for pair in ((bad, b"x"), (b"x", bad)):
            assert refused(
                publish_packet(b"a", b"", properties=b"\x26" + utf8_string(pair[0]) + utf8_string(pair[1]))
            ), pair
    peer = connected_peer()
    got = []
    peer.subscribe("#", lambda m: got.append(m.property(USER_PROPERTY)), 0)
    peer.read_output()
    peer.feed(
        publish_packet(b"a", b"", properties=b"\x26" + utf8_string(b"\xc3\xa9") + utf8_string(b"\xc3\xbc"))
    )
    assert got == [("é", "ü")]


def test_the_client_sends_each_packet_type_with_the_right_flags():
    """[MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1]"""
    peer = Peer(keep_alive=8)
    out, _ = peer.connect()
    peer.subscribe("a", lambda m: None, 0)
    out += peer.read_output()
    out += peer.feed(make_packet(0x90, b"\x80\x00\x00\x00"))
    peer.unsubscribe("a")
    for qos in (0, 1, 2):
        peer.publish_by_name("t", b"x", qos)
    out += peer.read_output()
    out += peer.feed(publish_packet(b"a", b"", 1, 7) + publish_packet(b"a", b"", 2, 8) + make_ack(0x62, 8))
    out += peer.feed(make_ack(0x40, 1) + make_ack(0x50, 2) + make_ack(0x70, 2))
    out += peer.feed(make_packet(0xB0, b"\x80\x00\x00\x00"))
    peer.advance(7000)
    out += peer.read_output()
    peer.close()
    out += peer.read_output()
    firsts = sorted([first for first, _ in split_packets(out)])
    assert firsts == [0x10, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0]


def test_wrong_reserved_bits_end_the_connection():
    """[MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.14.1-1]"""
    for first, body in (
        (0x40, b"\x00\x01"),
        (0x50, b"\x00\x01"),
        (0x62, b"\x00\x01"),
        (0x70, b"\x00\x01"),
        (0x90, b"\x80\x00\x00\x00"),
        (0xB0, b"\x80\x00\x00\x00"),
        (0xD0, b""),
        (0xE0, b"\x00"),
    ):
        for bits in range(16):
            if first & 15 != bits:
                assert refused(make_packet(first & 0xF0 | bits, body)), hex(first | bits)


def test_a_qos_0_message_has_no_packet_identifier():  # [MQTT-2.2.1-2]
    peer = connected_peer(b"\x22\x00\x02")
    for _ in range(2):  # with its topic, then with its alias
        peer.publish_by_name("a/long/topic", b"x")
    peer.publish_by_name("b", b"x", retain=True, properties=b"\x01\x01")
    first, second, third = read_publishes(peer.read_output())
    assert (first.topic, first.properties, first.payload) == (b"a/long/topic", b"\x23\x00\x01", b"x")
    assert (second.topic, second.properties, second.payload) == (b"", b"\x23\x00\x01", b"x")
    assert (third.topic, third.properties, third.payload) == (b"b", b"\x01\x01", b"x")
    got = []
    peer.subscribe("b", lambda m: got.append(m.payload), 0)
    peer.read_output()
    peer.feed(make_packet(0x30, utf8_string(b"b"), b"\x00", b"\x00\x01x"))
    assert got == [b"\x00\x01x"]


def test_packet_identifiers_are_free_and_not_zero():
    """[MQTT-2.2.1-3], [MQTT-4.3.2-1], [MQTT-4.3.3-1]"""
    peer = connected_peer(inflight=4)
    taken = []
    asked = 0
    for i in range(200):
        peer.publish_by_name("a", b"x", 1 + i % 2)
        if i % 5 == 0:
            peer.subscribe("f/%d" % (i % 3), None, 0)
        if i % 7 == 0 and i:
            try:
                peer.unsubscribe("f/%d" % (i % 3))
            except ValueError:
                pass  # not subscribed at the moment
        out = peer.read_output()
        for sent in read_publishes(out):
            assert sent.packet_id and sent.packet_id not in [packet_id for packet_id, _ in taken]
            taken.append((sent.packet_id, sent.qos))
        for kind in (0x80, 0xA0):
            for body in bodies_of_type(out, kind):
                packet_id = body[0] << 8 | body[1]
                assert packet_id and packet_id not in [taken_id for taken_id, _ in taken]
                taken.append((packet_id, kind))
                asked += 1
        if len(taken) > 3:  # in a different order than sent
            packet_id, kind = taken.pop(i * 7 % len(taken))
            if kind < 3:
                peer.feed(make_ack(0x40 if kind == 1 else 0x50, packet_id))
                if kind == 2:
                    peer.feed(make_ack(0x70, packet_id))
            else:
                peer.feed(make_packet(kind + 0x10, make_ack(0, packet_id)[2:], b"\x00\x00"))
    assert peer.is_connected and asked > 6


def test_acknowledgements_have_the_packet_identifier_of_their_message():  # [MQTT-2.2.1-5]
    peer = connected_peer()
    for packet_id in (1, 0x0100, 0x1234, 0x8000, 0xFFFF):
        assert peer.feed(publish_packet(b"a", b"", 1, packet_id)) == make_ack(0x40, packet_id)
        assert peer.feed(publish_packet(b"a", b"", 2, packet_id)) == make_ack(0x50, packet_id)
        assert peer.feed(make_ack(0x62, packet_id)) == make_ack(0x70, packet_id)
    for _ in range(3):
        peer.publish_by_name("a", b"", 2)
    peer.read_output()
    for packet_id in (2, 3, 1):
        assert peer.feed(make_ack(0x50, packet_id)) == make_ack(0x62, packet_id)


def test_an_empty_property_list_is_sent_as_length_0():  # [MQTT-2.2.2-1]
    peer = connected_peer(b"\x29\x00")  # the broker does not support Subscription Identifiers
    peer.publish_by_name("a", b"x")
    peer.publish_by_name("a", b"x", 1)
    peer.subscribe("a", None, 0)
    out = peer.read_output()
    assert make_packet(0x30, utf8_string(b"a"), b"\x00x") in out
    assert make_packet(0x32, utf8_string(b"a"), b"\x00\x01\x00x") in out
    assert make_packet(0x82, b"\x80\x00\x00", utf8_string(b"a"), b"\x00") in out
    peer.unsubscribe("a")
    assert peer.feed(make_packet(0x90, b"\x80\x00\x00\x00")) == make_packet(
        0xA2, b"\x80\x00\x00", utf8_string(b"a")
    )
    sim = Simulation()
    sim.client.will("w", b"x")
    sim.client.connect()
    assert b"\x00" + utf8_string(b"w") + utf8_string(b"x") in sim.stream.written


# ---- session state


def test_the_session_state_lasts_as_long_as_the_connection():  # [MQTT-4.1.0-1]
    peer = connected_peer(keep_alive=60, session_expiry=0)
    got = []
    peer.subscribe("d", lambda m: got.append(m.payload), 2)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x02") + publish_packet(b"d", b"1", 2, 9))
    for i in range(700):  # ten hours of pings and other messages
        peer.advance(53000)
        assert peer.read_output() == b"\xc0\x00"
        peer.feed(b"\xd0\x00")
        peer.publish_by_name("u", b"x", 1)
        peer.read_output()
        peer.feed(make_ack(0x40, i % 4 + 1) + publish_packet(b"d", b"x", 2, 10) + make_ack(0x62, 10))
    assert peer.is_connected and len(got) == 701
    assert peer.feed(publish_packet(b"d", b"1", 2, 9, flags=8)) == make_ack(0x50, 9) and len(got) == 701
    assert peer.feed(make_ack(0x62, 9)) == make_ack(0x70, 9)


# ---- topic names and filters


def test_wildcards_are_allowed_only_in_filters():  # [MQTT-4.7.0-1], [MQTT-3.3.2-2]
    sim = Simulation()
    sim.client.connect()
    before = sim.stream.written
    for name in ("#", "+", "a/#", "a/+/b", "a+", "a#b"):
        raises(ValueError, sim.client.publish, name, b"")
        raises(ValueError, sim.client.topic, name)
        raises(ValueError, sim.client.will, name, b"")
        assert refused(publish_packet(name.encode(), b""), 0x90)
    sim.client.poll(10)
    assert sim.stream.written == before
    for name in ("#", "+", "a/#", "a/+/b"):
        sim.client.subscribe(name, None)
    sim.client.poll(10)
    assert len(bodies_of_type(sim.stream.written, 0x80)) == 4


def test_wildcards_in_a_filter_must_be_whole_levels():  # [MQTT-4.7.1-1], [MQTT-4.7.1-2]
    client = Simulation().client
    for good in ("#", "a/#", "+", "+/a", "a/+", "a/+/b/#", "+/+", "/#", "/+"):
        client.subscribe(good, None)
        client.unsubscribe(good)
    for bad in ("a#", "a/b#", "#/a", "a/#/b", "##"):  # `#` must be the last level
        raises(ValueError, client.subscribe, bad, None)
    for bad in ("a+", "a/b+/c", "+b", "a/+b", "++"):  # `+` must be a whole level
        raises(ValueError, client.subscribe, bad, None)


def test_topics_and_filters_have_1_to_65535_bytes():  # [MQTT-4.7.3-1], [MQTT-4.7.3-3]
    client = Simulation(tx=70000).client
    for bad in ("", "x" * 65536, "é" * 32768):
        raises(ValueError, client.topic, bad)
        raises(ValueError, client.publish, bad, b"", 1)
        raises(ValueError, client.subscribe, bad, None)
        raises(ValueError, client.will, bad, b"")
    client.topic("x" * 65535)
    client.subscribe("x" * 65535, None)
    assert refused(publish_packet(b"", b"x"), 0x82)  # without a topic alias


# ---- errors


def test_the_connection_is_closed_after_a_disconnect_with_an_error():
    """[MQTT-4.13.2-1], [MQTT-3.14.4-2]"""
    for data, code in (
        (b"\x30\x04\x00\x01#\x00", 0x90),
        (b"\x36\x05\x00\x01a\x00\x00", 0x81),
        (b"\x20\x03\x00\x00\x00", 0x82),
        (b"\x30\xff\xff\x7f", 0x95),
    ):
        sim = Simulation()
        sim.client.connect()
        sim.stream.inbox = data
        sim.client.poll(10)
        assert sim.streams[0].written.endswith(bytes((0xE0, 1, code)))
        assert sim.streams[0].closed, hex(code)


def test_the_connection_is_closed_if_the_disconnect_cannot_be_sent():  # [MQTT-4.13.2-1]
    sim = Simulation(timeout=3000)
    sim.client.connect()
    sim.broker_listens = False  # prevents a reconnect
    sim.stream.is_stalled = True
    sim.stream.inbox = b"\x30\x04\x00\x01#\x00"
    sim.client.poll(4000)
    assert sim.stream.closed and not sim.client.is_connected


def test_the_connection_is_closed_when_the_broker_reports_an_error():  # [MQTT-4.13.2-1]
    for data in (b"\xe0\x01\x8b", b"\xe0\x01\x81"):
        sim = Simulation()
        sim.client.connect()
        sim.stream.inbox = data
        sim.client.poll(10)
        assert sim.streams[0].closed and not bodies_of_type(sim.streams[0].written, 0xE0)
    sim = Simulation()
    sim.connect_reply = make_packet(0x20, b"\x00\x87\x00")
    raises(Exception, sim.client.connect)
    assert sim.stream.closed
