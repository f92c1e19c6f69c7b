"""Conformance: CONNECT, CONNACK, keep-alive, sessions, the broker's limits (3.1, 3.2)."""

from packet_reader import (
    bodies_of_type,
    connect_with,
    connected_peer,
    make_ack,
    make_connack,
    read_connect,
    read_publishes,
    reconnect,
    split_packets,
)
from simulation import Simulation

from helper import make_packet, publish_packet, raises, utf8_string
from umqtt5 import Client
from umqtt5.core.errors import MQTTError


def with_will(qos=0, retain=False, **options):
    """Return the CONNECT of a client with a will."""
    sim = Simulation(**options)
    sim.client.will("w/t", b"bye", qos, retain)
    sim.client.connect()
    return read_connect(sim)


def test_connect_is_first_and_nothing_else_is_sent_before_connack():  # [MQTT-3.1.0-1]
    sim = Simulation()
    sim.client.subscribe("a", None)
    sim.client.publish("b", b"x", 1)
    sim.connect_reply = b""
    sim.client.connect(wait=False)
    sim.client.poll(100)
    assert [first for first, _ in split_packets(sim.stream.written)] == [0x10]
    sim.stream.inbox = make_connack()
    sim.client.poll(100)
    assert [first for first, _ in split_packets(sim.stream.written)] == [0x10, 0x82, 0x32]
    sim.stream.closed_by_broker = True
    sim.client.publish("b", b"x", 1)
    sim.client.poll(3000)
    assert len(sim.streams) > 1
    for stream in sim.streams:
        assert split_packets(stream.written)[0][0] == 0x10


def test_the_protocol_is_mqtt_version_5():  # [MQTT-3.1.2-1]
    connect = connect_with()
    assert connect.protocol == b"MQTT" and connect.version == 5


def test_the_first_connection_starts_a_new_session():  # [MQTT-3.1.2-4]
    sim = Simulation()
    sim.client.publish("a", b"x", 1)
    sim.client.connect()
    assert read_connect(sim).flags & 0x02
    assert not read_publishes(sim.stream.written)[0].dup
    # the client does not resume a session of an earlier run
    sim = Simulation()
    sim.connect_reply = make_connack(present=1)
    assert raises(MQTTError, sim.client.connect).code == 0x82
    assert sim.stream.closed


def test_connect_without_a_will_has_no_will_flags():  # [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    for options in ({}, {"user": "me"}, {"user": "me", "password": b"x"}):
        connect = connect_with(**options)
        assert connect.flags & 0x3C == 0
        assert connect.will_topic is None


def test_connect_carries_the_whole_will():  # [MQTT-3.1.2-9]
    connect = with_will()
    assert connect.flags & 0x04
    assert (connect.will_properties, connect.will_topic, connect.will_payload) == (b"", b"w/t", b"bye")
    sim = Simulation()
    sim.client.will("w", "é", delay=5)
    sim.client.connect()
    connect = read_connect(sim)
    assert connect.will_properties == b"\x18\x00\x00\x00\x05"
    assert (connect.will_topic, connect.will_payload) == (b"w", b"\xc3\xa9")


def test_the_qos_and_retain_flags_of_a_will_are_sent():  # [MQTT-3.1.2-12]
    for qos in (0, 1, 2):
        for retain in (False, True):
            connect = with_will(qos, retain)
            assert connect.flags >> 3 & 3 == qos and connect.flags >> 5 & 1 == retain
    for qos in (3, 4, -1):
        raises(ValueError, Simulation().client.will, "w", b"", qos)


def test_user_name_and_password_are_present_as_their_flags_say():
    """[MQTT-3.1.2-16], [MQTT-3.1.2-17], [MQTT-3.1.2-18], [MQTT-3.1.2-19]"""
    for will in (False, True):
        for user in (None, "", "me"):
            for password in (None, b"", b"\x00\xff"):
                options = {"user": user, "password": password}
                # `packet_reader.Connect` checks that no byte is left over
                connect = with_will(**options) if will else connect_with(**options)
                assert connect.flags & 0x80 == (0 if user is None else 0x80)
                assert connect.flags & 0x40 == (0 if password is None else 0x40)
                assert connect.user == (None if user is None else user.encode())
                assert connect.password == password


def test_the_fields_of_connect_keep_their_order():  # [MQTT-3.1.3-1], [MQTT-3.1.3-3]
    connect = with_will(client_id="id", user="me", password="secret")
    assert connect.client_id == b"id"
    assert (connect.will_properties, connect.will_topic, connect.will_payload) == (b"", b"w/t", b"bye")
    assert (connect.user, connect.password) == (b"me", b"secret")


def test_the_client_identifier_is_always_present():  # [MQTT-3.1.3-3]
    assert connect_with(client_id="").client_id == b""
    assert connect_with(client_id="a").client_id == b"a"


def test_client_identifier_will_topic_and_user_name_are_utf_8():
    """[MQTT-3.1.3-4], [MQTT-3.1.3-11], [MQTT-3.1.3-12]"""
    sim = Simulation(client_id="ï", user="ü")
    sim.client.will("é", b"")
    sim.client.connect()
    connect = read_connect(sim)
    assert connect.client_id == b"\xc3\xaf" and connect.user == b"\xc3\xbc"
    assert connect.will_topic == b"\xc3\xa9"
    for bad in (b"\xff", b"\xed\xa0\x80", "a\0", "x" * 65536):
        raises(ValueError, lambda bad=bad: Client("b", client_id=bad, transport=print))
        raises(ValueError, lambda bad=bad: Client("b", user=bad, transport=print))
        raises(ValueError, Simulation().client.will, bad, b"")


def test_a_session_belongs_to_its_client_identifier():  # [MQTT-3.1.3-2]
    for ours, assigned, theirs in (("mine", b"", b"mine"), ("", b"\x12" + utf8_string(b"given"), b"given")):
        sim = Simulation(client_id=ours)
        sim.connect_reply = make_connack(assigned)
        sim.client.connect()
        sim.client.publish("a", b"x", 1)
        sim.stream.closed_by_broker = True
        sim.connect_reply = make_connack(present=1)
        sim.client.poll(3000)
        connect = read_connect(sim)
        assert connect.client_id == theirs and not connect.flags & 0x02
        assert read_publishes(sim.stream.written)[0].dup  # a message of the resumed session


# ---- keep-alive


def test_an_idle_client_pings_within_the_keep_alive():  # [MQTT-3.1.2-20]
    for keep_alive in (1, 10, 300):
        sim = Simulation(keep_alive=keep_alive)
        sim.client.connect()
        assert read_connect(sim).keep_alive == keep_alive
        start = sim.now
        for expected in (1, 2, 3):
            while len(bodies_of_type(sim.stream.written, 0xC0)) < expected:
                sim.client.poll(20)
                assert sim.now - start <= keep_alive * 1000
            start = sim.now
        assert len(sim.streams) == 1


def test_without_a_keep_alive_no_ping_is_sent():
    sim = Simulation(keep_alive=0)
    sim.client.connect()
    sim.client.poll(10_000_000)
    assert not bodies_of_type(sim.stream.written, 0xC0) and len(sim.streams) == 1


def test_the_server_keep_alive_replaces_the_clients():  # [MQTT-3.1.2-21], [MQTT-3.2.2-21]
    for ours, theirs in ((60, 5), (0, 5), (5, 60), (5, 0)):
        sim = Simulation(keep_alive=ours)
        sim.connect_reply = make_connack(b"\x13\x00" + bytes((theirs,)))
        sim.client.connect()
        sim.client.poll(59_000)
        pings = len(bodies_of_type(sim.stream.written, 0xC0))
        assert len(sim.streams) == 1
        if theirs == 5:
            assert 11 < pings < 30
        else:
            assert pings == (1 if theirs else 0)


# ---- sessions


def test_a_session_with_an_expiry_survives_its_connection():  # [MQTT-3.1.2-23]
    sim = Simulation(session_expiry=100)
    got = []
    sim.client.subscribe("d", lambda m: got.append(m.payload), 2)
    sim.client.connect()
    assert b"\x11\x00\x00\x00\x64" in read_connect(sim).properties
    sim.client.poll(10)
    sim.stream.inbox = make_packet(0x90, b"\x80\x00\x00\x02") + publish_packet(b"d", b"1", 2, 9)
    sim.client.publish("u", b"one", 1)
    sim.client.publish("u", b"two", 2)
    sim.client.publish("u", b"three", 2)
    sim.client.poll(10)
    sim.stream.inbox = make_ack(0x50, 3)
    sim.client.poll(10)
    sim.stream.closed_by_broker = True
    sim.connect_reply = make_connack(present=1)
    sim.client.poll(3000)
    assert len(sim.streams) == 2
    sent = [(m.packet_id, m.qos, m.dup, m.payload) for m in read_publishes(sim.stream.written)]
    assert sent == [(1, 1, 1, b"one"), (2, 2, 1, b"two")]
    assert bodies_of_type(sim.stream.written, 0x60) == [b"\x00\x03"]
    sim.stream.inbox = publish_packet(b"d", b"1", 2, 9, flags=8)
    sim.client.poll(10)
    assert got == [b"1"]  # a duplicate


def test_a_session_with_an_expiry_survives_a_disconnect():  # [MQTT-3.1.2-23]
    sim = Simulation(session_expiry=100)
    sim.client.connect()
    sim.client.publish("u", b"one", 1)
    sim.client.disconnect()
    sim.connect_reply = make_connack(present=1)
    assert sim.client.connect() is True
    assert [(m.packet_id, m.dup, m.payload) for m in read_publishes(sim.stream.written)] == [(1, 1, b"one")]


def test_session_present_without_a_session_ends_with_0x82():  # [MQTT-3.2.2-4]
    sim = Simulation()
    sim.connect_reply = make_connack(present=1)
    assert raises(MQTTError, sim.client.connect).code == 0x82
    assert sim.stream.closed and not read_publishes(sim.stream.written)
    sim.client.poll(100_000)
    assert len(sim.streams) == 1
    # a refused connection creates no session
    sim = Simulation()
    sim.connect_reply = make_connack(reason=0x97)
    sim.client.connect(wait=False)
    sim.client.poll(10)
    sim.connect_reply = make_connack(present=1)
    sim.client.poll(100_000)
    assert len(sim.streams) > 1 and not sim.client.is_connected
    assert bodies_of_type(sim.streams[1].written, 0xE0) == [b"\x82"] and sim.streams[1].closed


def test_a_session_that_the_broker_lost_is_discarded():  # [MQTT-3.2.2-5]
    peer = connected_peer(session_expiry=100)
    got = []
    peer.subscribe("d", lambda m: got.append(m.payload), 2)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x02") + publish_packet(b"d", b"1", 2, 9))
    peer.publish_by_name("u", b"one", 1)
    peer.publish_by_name("u", b"two", 2)
    peer.publish_by_name("u", b"three", 2)
    peer.read_output()
    peer.feed(make_ack(0x50, 3))
    assert [m.dup for m in read_publishes(reconnect(peer))] == [1, 1]
    out = reconnect(peer, present=0)
    # the client subscribes again and sends no PUBREL
    assert len(bodies_of_type(out, 0x80)) == 1 and not bodies_of_type(out, 0x60)
    # unacknowledged messages are published as new messages in the new session
    assert [(m.dup, m.payload) for m in read_publishes(out)] == [(0, b"one"), (0, b"two")]
    assert peer.feed(publish_packet(b"d", b"2", 2, 9)) == make_ack(0x50, 9)
    assert got == [b"1", b"2"]  # the same packet identifier now identifies a new message


# ---- the broker's limits


def refusal(properties, *arguments, **options):
    """Return the reason code of a refused `publish`; checks that nothing is sent."""
    sim = Simulation(**options)
    sim.connect_reply = make_connack(properties)
    sim.client.connect()
    before = sim.stream.written
    code = raises(MQTTError, sim.client.publish, *arguments).code
    sim.client.poll(10)
    assert sim.stream.written == before and sim.client.is_connected
    return code


def test_nothing_is_published_above_the_maximum_qos():  # [MQTT-3.2.2-11]
    for limit, qos in ((0, 1), (0, 2), (1, 2)):
        assert refusal(bytes((0x24, limit)), "a", b"x", qos) == 0x9B
    # messages accepted before the client knew the limit
    sim = Simulation()
    for qos in (1, 2, 1):
        sim.client.publish("a", b"x", qos)
    sim.connect_reply = make_connack(b"\x24\x01")
    sim.client.connect()
    sim.client.poll(10)
    assert [m.qos for m in read_publishes(sim.stream.written)] == [1, 1]


def test_nothing_is_published_retained_if_retain_is_not_available():  # [MQTT-3.2.2-14]
    for qos in (0, 1, 2):
        assert refusal(b"\x25\x00", "a", b"x", qos, True) == 0x9A
    sim = Simulation()
    sim.client.publish("a", b"1", 1, True)
    sim.client.publish("a", b"2", 1)
    sim.connect_reply = make_connack(b"\x25\x00")
    sim.client.connect()
    sim.client.poll(10)
    assert [(m.payload, m.retain) for m in read_publishes(sim.stream.written)] == [(b"2", 0)]


MAXIMUM_20 = b"\x27\x00\x00\x00\x14"


def largest(out):
    """Return the size of the largest packet in bytes."""
    return max([0] + [2 + len(body) for _, body in split_packets(out)])


def test_no_publish_is_larger_than_the_maximum_packet_size():  # [MQTT-3.2.2-15]
    for qos, room in ((0, 15), (1, 13), (2, 13)):
        assert refusal(MAXIMUM_20, "a", b"x" * (room + 1), qos) == 0x95
        peer = connected_peer(MAXIMUM_20 + b"\x22\x00\x04")
        for name in ("a", "topic", "longer"):
            for _ in range(3):  # with its topic name, then with its alias
                for size in range(14):
                    try:
                        peer.publish_by_name(
                            name, b"x" * (size // 2), qos, properties=b"\x01\x01" * (size & 1)
                        )
                    except MQTTError:
                        continue
                    out = peer.read_output()
                    assert 0 < largest(out) <= 20
                    for m in read_publishes(out):
                        peer.feed(make_ack(0x40 if qos == 1 else 0x50, m.packet_id or 1) if qos else b"")
                        peer.feed(make_ack(0x70, m.packet_id) if qos == 2 else b"")
    # QoS 0 messages with an alias take a different code path
    peer = connected_peer(MAXIMUM_20 + b"\x22\x00\x04")
    peer.publish_by_name("topic", b"")
    peer.publish_by_name("topic", b"x" * 12)
    assert largest(peer.read_output()) == 20
    assert raises(MQTTError, peer.publish_by_name, "topic", b"x" * 13).code == 0x95
    assert peer.read_output() == b""
    # messages accepted before the client knew the limit
    peer = connected_peer()
    peer.publish_by_name("a", b"x" * 30, 1)
    peer.publish_by_name("a", b"y", 1)
    peer.read_output()
    assert [m.payload for m in read_publishes(reconnect(peer, MAXIMUM_20))] == [b"y"]


def test_no_subscribe_is_larger_than_the_maximum_packet_size():  # [MQTT-3.2.2-15]
    for size in range(1, 30):
        peer = connected_peer(MAXIMUM_20)
        s = peer.subscribe("f" * size, None, 0)
        out = peer.read_output()
        assert largest(out) <= 20
        assert s.reason == (None if out else 0x95)


def test_no_unsubscribe_is_larger_than_the_maximum_packet_size():  # [MQTT-3.2.2-15]
    # a filter that was too long to subscribe to
    peer = connected_peer(MAXIMUM_20)
    peer.subscribe("f" * 30, None, 0)
    peer.read_output()
    peer.unsubscribe("f" * 30)
    assert largest(peer.read_output()) <= 20
    # a filter from an earlier connection with a larger limit
    peer = connected_peer(session_expiry=100)
    peer.subscribe("f" * 30, None, 0)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x00"))
    reconnect(peer, MAXIMUM_20)
    peer.unsubscribe("f" * 30)
    assert largest(peer.read_output()) <= 20


def test_no_alias_exceeds_the_brokers_maximum():  # [MQTT-3.2.2-17], [MQTT-3.3.2-9]
    for maximum in (1, 2, 3, 9):
        peer = connected_peer(bytes((0x22, 0, maximum)), aliases=4)
        for i in range(60):
            peer.publish_by_name("topic/%d" % (i % 6), b"x", i % 2)
            for m in read_publishes(peer.read_output()):
                alias = m.properties[1:] if m.properties else b"\x00\x01"
                assert 1 <= alias[0] << 8 | alias[1] <= min(maximum, 4)
                assert m.properties[:1] in (b"", b"\x23")
                if m.qos:
                    peer.feed(make_ack(0x40, m.packet_id))
        # fewer aliases after a reconnect
        reconnect(peer, b"\x22\x00\x01")
        for i in range(6):
            peer.publish_by_name("topic/%d" % i, b"x")
        assert {m.properties for m in read_publishes(peer.read_output())} <= {b"", b"\x23\x00\x01"}


def test_no_alias_is_used_without_a_topic_alias_maximum():  # [MQTT-3.2.2-18]
    for properties in (b"", b"\x22\x00\x00"):
        peer = connected_peer(properties, aliases=4)
        for i in range(20):
            peer.publish_by_name("some/topic", b"x", i % 2)
            (m,) = read_publishes(peer.read_output())
            assert (m.topic, m.properties) == (b"some/topic", b"")
            if m.qos:
                peer.feed(make_ack(0x40, m.packet_id))
    peer = connected_peer(b"\x22\x00\x04")
    peer.publish_by_name("some/topic", b"x")
    peer.read_output()
    reconnect(peer)
    peer.publish_by_name("some/topic", b"x")
    assert read_publishes(peer.read_output())[0].topic == b"some/topic"
