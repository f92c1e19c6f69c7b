"""`Session`: CONNECT, publishing, subscribing, receiving, malformed packets, keep-alive, deadlines."""

from helper import CONNACK, Peer, identifier_of, make_packet, publish_packet, raises, utf8_string
from umqtt5.core.states import CLOSING, CONNECTED
from umqtt5.core.topics import Topic
from umqtt5.optional.topic_aliases import AliasTable

# Receive Maximum 2, Topic Alias Maximum 2
CONNECTED_MAX_20 = make_packet(0x20, b"\x00\x00\x06\x21\x00\x02\x22\x00\x02")


def connected(connack=CONNACK, **options):
    peer = Peer(**options)
    peer.connect(connack)
    assert peer.session.state == CONNECTED
    return peer


def subscribed(topic_filter="a/+", qos=1, **options):
    """Return a connected peer with one subscription, and the list of the (topic, payload) it receives."""
    peer = connected(**options)
    got = []
    peer.subscribe(topic_filter, lambda m: got.append((m.topic, m.payload)), qos)
    sent = peer.read_output()
    assert sent[0] == 0x82
    peer.feed(make_packet(0x90, sent[2:4], b"\x00", bytes((qos,))))
    return peer, got


def ends_with(peer, data, code):
    """Check that the session replies to `data` with a DISCONNECT of this reason code, and ends."""
    out = peer.feed(data)
    assert out[-3:] == bytes((0xE0, 1, code)), (data, out)
    assert peer.session.state == CLOSING
    assert peer.session.error.code == code


def test_connect_announces_the_real_buffer_limits():  # [MQTT-3.1.0-1]
    peer = Peer(rx=300, inflight=7)
    peer.session.session_expiry = 10
    connect, _ = peer.connect()
    assert connect == make_packet(
        0x10,
        b"\x00\x04MQTT\x05\x02\x00\x3c",
        b"\x10\x27\x00\x00\x01\x2c\x21\x00\x07\x11\x00\x00\x00\x0a\x22\x00\x00",
        utf8_string(b"test"),
    )


def test_connect_carries_will_user_and_password():  # [MQTT-3.1.3-1], [MQTT-3.1.2-9]
    peer = Peer(rx=256, inflight=1)
    peer.session.user = b"me"
    peer.session.password = b"\x00\xff"
    will = b"\x05\x18\x00\x00\x00\x05" + utf8_string(b"w/t") + utf8_string(b"bye")
    peer.session.will = (0x04 | 1 << 3 | 0x20, will)
    connect, _ = peer.connect()
    assert connect == make_packet(
        0x10,
        b"\x00\x04MQTT\x05\xee\x00\x3c",
        b"\x10\x27\x00\x00\x01\x00\x21\x00\x01\x11\x00\x00\x00\x00\x22\x00\x00",
        utf8_string(b"test"),
        will,
        utf8_string(b"me"),
        utf8_string(b"\x00\xff"),
    )


def test_a_successful_connack_connects_the_session():
    peer = connected()
    assert not peer.session.resumed and peer.session.error is None


def test_a_refused_connect_reports_reason_code_and_reason_string():
    peer = Peer()
    peer.session.open(0)
    peer.read_output()
    out = peer.feed(make_packet(0x20, b"\x00\x86\x06\x1f", utf8_string(b"who")))
    assert out == b""  # the broker closes the connection, so nothing is sent
    assert peer.session.error.code == 0x86
    assert peer.session.error.detail == "who"
    assert str(peer.session.error) == "Bad User Name or Password (0x86): who"


def test_any_other_packet_before_connack_ends_with_0x82():  # [MQTT-3.2.0-1]
    for data in (b"\xd0\x00", publish_packet(b"a", b"b"), b"\xe0\x00"):
        peer = Peer()
        peer.session.open(0)
        peer.read_output()
        ends_with(peer, data, 0x82)


def test_a_second_connack_is_a_protocol_error():  # [MQTT-3.2.0-2]
    ends_with(connected(), CONNACK, 0x82)


def test_malformed_connacks_end_with_a_reason_code():
    for data, code in (
        (b"\x20\x02\x00\x06", 0x81),  # no property length
        (b"\x20\x03\x02\x00\x00", 0x81),  # [MQTT-3.2.2-1]
        (b"\x20\x03\x00\x01\x00", 0x82),  # no such reason code [MQTT-3.2.2-8]
        (b"\x20\x03\x01\x87\x00", 0x82),  # [MQTT-3.2.2-6]
        (b"\x20\x03\x01\x00\x00", 0x82),  # session present after clean start [MQTT-3.2.2-4]
        (b"\x20\x04\x00\x00\x00\x00", 0x81),  # one byte too many
        (b"\x20\x05\x00\x00\x02\x24\x02", 0x82),  # Maximum QoS 2
        (b"\x21\x03\x00\x00\x00", 0x81),  # reserved bits
    ):
        peer = Peer()
        peer.session.open(0)
        peer.read_output()
        ends_with(peer, data, code)


def test_the_assigned_client_identifier_is_used_in_later_connects():
    peer = Peer(client_id=b"")
    peer.connect(make_packet(0x20, b"\x00\x00\x06\x12", utf8_string(b"xyz")))
    peer.session.connection_lost()
    peer.session.open(0)
    assert utf8_string(b"xyz") in peer.read_output()


def test_the_server_keep_alive_replaces_the_clients():  # [MQTT-3.2.2-21], [MQTT-3.1.2-21]
    peer = connected(make_packet(0x20, b"\x00\x00\x03\x13\x00\x08"))  # 8 s: the ping is sent after 7 s
    assert peer.advance(6999) == 1
    peer.advance(1)
    assert peer.read_output() == b"\xc0\x00"


# ---- publishing


def test_a_topic_alias_is_set_once_and_then_used():  # [MQTT-3.3.2-8]
    peer = connected(CONNECTED_MAX_20)
    topic = Topic("a/long/topic")
    assert peer.publish(topic, b"1")
    assert peer.read_output() == make_packet(0x30, utf8_string(b"a/long/topic"), b"\x03\x23\x00\x01", b"1")
    peer.publish(topic, b"2")
    assert peer.read_output() == b"\x30\x07\x00\x00\x03\x23\x00\x012"  # eight bytes plus the payload
    peer.publish(topic, b"3" * 200)
    assert peer.read_output() == make_packet(0x30, b"\x00\x00\x03\x23\x00\x01" + b"3" * 200)
    peer.publish(topic, b"4", properties=b"\x01\x01")
    assert peer.read_output() == make_packet(0x30, b"\x00\x00\x05\x23\x00\x01\x01\x014")
    assert peer.session.bytes_saved == 3 * 12 - 4 * 3


def test_topics_beyond_the_brokers_alias_maximum_are_sent_in_full():  # [MQTT-3.2.2-17], [MQTT-3.3.2-9]
    peer = connected(CONNECTED_MAX_20)
    topics = [Topic("tt/%d" % i) for i in range(4)]
    for topic in topics:
        peer.publish(topic, b"x")
    peer.read_output()
    for topic in topics:
        peer.publish(topic, b"x")
    assert peer.read_output() == (
        b"\x30\x07\x00\x00\x03\x23\x00\x01x\x30\x07\x00\x00\x03\x23\x00\x02x"
        + make_packet(0x30, utf8_string(b"tt/2"), b"\x00x")
        + make_packet(0x30, utf8_string(b"tt/3"), b"\x00x")
    )


def test_no_alias_is_sent_if_the_broker_accepts_none():  # [MQTT-3.2.2-18]
    peer = connected()
    topic = Topic("a/long")
    peer.publish(topic, b"1")
    peer.publish(topic, b"2")
    assert peer.read_output() == make_packet(0x30, utf8_string(b"a/long"), b"\x001") + make_packet(
        0x30, utf8_string(b"a/long"), b"\x002"
    )


def test_topic_aliases_end_with_their_connection():  # [MQTT-3.3.2-7]
    peer = connected(CONNECTED_MAX_20)
    topic = Topic("a/long")
    peer.publish(topic, b"1")
    peer.read_output()
    peer.session.connection_lost()
    peer.connect(CONNECTED_MAX_20)
    peer.publish(topic, b"2")
    assert peer.read_output() == make_packet(0x30, utf8_string(b"a/long"), b"\x03\x23\x00\x01", b"2")


def test_topics_as_short_as_an_alias_get_no_alias():
    peer = connected(make_packet(0x20, b"\x00\x00\x08\x22\x00\x05\x27\x00\x00\x00\x14"))
    topic = Topic("a/b")
    for _ in range(2):  # the same payload fits the Maximum Packet Size both times
        assert peer.publish(topic, b"x" * 12)
        assert peer.read_output() == make_packet(0x30, utf8_string(b"a/b"), b"\x00" + b"x" * 12)


def test_a_topic_used_once_takes_no_alias_from_other_topics():
    peer = connected(CONNECTED_MAX_20)
    for i in range(5):
        topic = Topic("once/%d" % i)
        topic.alias = -1
        peer.publish(topic, b"x")
        assert peer.read_output() == make_packet(0x30, utf8_string(topic.name), b"\x00x")
    peer.publish(Topic("often"), b"x")
    assert b"\x23\x00\x01" in peer.read_output()


def test_qos_1_messages_are_kept_until_puback():  # [MQTT-4.3.2-1], [MQTT-4.3.2-2], [MQTT-4.3.2-3]
    peer = connected()
    acks = []
    peer.session.on_ack = lambda answer: acks.append((answer.packet_id, answer.reason))
    assert peer.publish(Topic("a"), b"x", qos=1) == 1
    assert peer.read_output() == make_packet(0x32, utf8_string(b"a"), b"\x00\x01\x00x")
    assert peer.publish(Topic("a"), b"y", qos=1, retain=True) == 2
    assert peer.read_output() == make_packet(0x33, utf8_string(b"a"), b"\x00\x02\x00y")
    assert peer.session.outbox.count == 2
    peer.feed(b"\x40\x02\x00\x01")
    peer.feed(b"\x40\x03\x00\x02\x97")
    assert acks == [(1, 0), (2, 0x97)]
    assert peer.session.outbox.count == 0
    assert peer.read_output() == b""  # an error code also completes the message [MQTT-4.4.0-2]


def test_the_brokers_receive_maximum_limits_messages_in_flight():  # [MQTT-3.3.4-7], [MQTT-4.9.0-2]
    peer = connected(CONNECTED_MAX_20)
    for i in range(4):
        assert peer.publish(Topic("t%d" % i), b"x", qos=1)
    assert peer.read_output().count(b"x") == 2
    peer.subscribe("s", None, 0)
    assert peer.read_output()[0] == 0x82  # other packets are not limited [MQTT-3.3.4-8]
    assert peer.feed(b"\x40\x02\x00\x01").count(b"x") == 1
    assert peer.feed(b"\x40\x02\x00\x01") == b""  # a repeated PUBACK frees no slot
    assert peer.feed(b"\x40\x02\x00\x03").count(b"x") == 1  # a PUBACK out of order frees a slot
    for packet_id in (2, 4):
        peer.feed(b"\x40\x02\x00" + bytes((packet_id,)))
    assert peer.session.outbox.count == 0


def test_publish_returns_0_if_the_outbox_is_full():
    peer = connected(inflight=2)
    assert peer.publish(Topic("a"), b"1", qos=1)
    assert peer.publish(Topic("a"), b"2", qos=1)
    assert peer.publish(Topic("a"), b"3", qos=1) == 0
    peer.read_output()
    peer.feed(b"\x40\x02\x00\x01")
    assert peer.publish(Topic("a"), b"3", qos=1) == 1


def test_qos_1_messages_published_offline_are_sent_after_connecting():
    peer = Peer()
    assert peer.publish(Topic("a/long"), b"1", qos=1)
    assert peer.publish(Topic("a"), b"0") is False  # QoS 0 messages are not stored
    _, out = peer.connect(CONNECTED_MAX_20)
    assert out == make_packet(0x32, utf8_string(b"a/long"), b"\x00\x01\x03\x23\x00\x011")


def limit(connack_properties, **message_):
    """Return the error of a publish to a broker with this limit; checks that nothing is sent."""
    peer = connected(make_packet(0x20, b"\x00\x00", bytes((len(connack_properties),)), connack_properties))
    topic = Topic("a/b")

    def publish():
        peer.publish(
            topic, message_.get("payload", b"x"), message_.get("qos", 0), message_.get("retain", False)
        )

    from umqtt5.core.errors import MQTTError

    error = raises(MQTTError, publish)
    assert peer.read_output() == b"" and peer.session.state == CONNECTED
    assert peer.session.outbox.count == 0
    return error


def test_a_publish_beyond_the_brokers_limits_raises_and_sends_nothing():
    assert limit(b"\x24\x00", qos=1).code == 0x9B  # [MQTT-3.2.2-11]
    assert limit(b"\x25\x00", retain=True).code == 0x9A  # [MQTT-3.2.2-14]
    assert limit(b"\x27\x00\x00\x00\x14", payload=b"x" * 13).code == 0x95  # [MQTT-3.2.2-15]
    assert "20 bytes" in str(limit(b"\x27\x00\x00\x00\x14", payload=b"x" * 13))
    assert limit(b"\x27\x00\x00\x00\x14", payload=b"x" * 11, qos=1).code == 0x95


def test_a_packet_of_exactly_the_brokers_maximum_size_is_sent():
    peer = connected(make_packet(0x20, b"\x00\x00\x05\x27\x00\x00\x00\x14"))
    assert peer.publish(Topic("a/b"), b"x" * 12)
    assert len(peer.read_output()) == 20
    assert peer.publish(Topic("a/b"), b"x" * 10, qos=1)
    assert len(peer.read_output()) == 20


def test_each_connack_replaces_the_brokers_limits():
    peer = connected(make_packet(0x20, b"\x00\x00\x02\x24\x00"))
    peer.session.connection_lost()
    peer.connect(CONNACK)
    assert peer.publish(Topic("a"), b"x", qos=1)


def test_a_queued_message_that_a_new_broker_forbids_ends_with_a_reason_code():
    peer = Peer()
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    peer.publish(Topic("a"), b"1", qos=1, retain=True)
    peer.publish(Topic("a"), b"2", qos=1)
    _, out = peer.connect(make_packet(0x20, b"\x00\x00\x02\x25\x00"))
    assert out == make_packet(0x32, utf8_string(b"a"), b"\x00\x02\x002")
    peer.advance(0)
    assert ended == [(1, 0x9A)]
    peer.advance(0)
    assert len(ended) == 1


def test_a_full_tx_buffer_rejects_qos_0_messages_and_never_grows():
    peer = connected(tx=64)
    topic = Topic("a")
    raises(ValueError, peer.publish, topic, b"x" * 60)
    assert peer.publish(topic, b"x" * 30)
    assert peer.publish(topic, b"y" * 30) is False
    assert peer.read_output().count(b"x") == 30
    assert peer.publish(topic, b"y" * 30)
    assert len(peer.session.tx) == 64


def test_a_partial_write_continues_where_it_stopped():
    peer = connected(CONNECTED_MAX_20)
    topic = Topic("a/long")
    peer.publish(topic, b"one")
    whole = peer.read_output(1)
    assert whole == make_packet(0x30, utf8_string(b"a/long"), b"\x03\x23\x00\x01", b"one")
    peer.publish(topic, b"two", qos=1)
    n = peer.session.prepare_write()
    first = bytes(peer.session.write_buffer[peer.session.write_start :][:4])
    peer.session.confirm_write(4, 0)
    peer.publish(topic, b"three")  # waits for the end of the current packet
    rest = peer.read_output(3)
    assert first + rest == (
        make_packet(0x32, b"\x00\x00\x00\x01\x03\x23\x00\x01two")
        + make_packet(0x30, b"\x00\x00\x03\x23\x00\x01three")
    )
    assert n == 13


# ---- resumed and new sessions


def test_a_resumed_session_resends_unacknowledged_messages():  # [MQTT-4.4.0-1]
    peer = connected(CONNECTED_MAX_20)
    peer.session.session_expiry = 100
    for payload in (b"1", b"2", b"3"):
        peer.publish(Topic("a"), payload, qos=1)
    peer.read_output()
    peer.feed(b"\x40\x02\x00\x01")
    peer.session.connection_lost()
    connect, out = peer.connect(make_packet(0x20, b"\x01\x00\x00"))
    assert connect[9] == 0  # no Clean Start
    assert peer.session.resumed
    assert out == make_packet(0x3A, utf8_string(b"a"), b"\x00\x02\x002") + make_packet(
        0x3A, utf8_string(b"a"), b"\x00\x03\x003"
    )


def test_a_new_session_gets_subscriptions_and_messages_again():  # [MQTT-3.2.2-5]
    peer, got = subscribed()
    peer.publish(Topic("a"), b"1", qos=1)
    peer.read_output()
    peer.session.connection_lost()
    _, out = peer.connect(CONNACK)
    assert out[0] == 0x82 and out.endswith(make_packet(0x32, utf8_string(b"a"), b"\x00\x01\x001"))


def test_a_resumed_session_does_not_subscribe_again():
    peer, got = subscribed()
    peer.session.connection_lost()
    _, out = peer.connect(make_packet(0x20, b"\x01\x00\x00"))
    assert out == b""


# ---- subscribing and receiving


def test_subscribe_carries_filter_options_and_subscription_identifier():  # [MQTT-3.8.1-1], [MQTT-3.8.3-2]
    peer = connected()
    peer.subscribe("a/+", None, 1)
    peer.subscribe("b", None, 0)
    assert peer.read_output() == (
        make_packet(0x82, b"\x80\x00\x03", identifier_of(b"a/+"), utf8_string(b"a/+"), b"\x01")
        + make_packet(0x82, b"\x80\x01\x02", identifier_of(b"b"), utf8_string(b"b"), b"\x00")
    )


def test_no_subscription_identifier_is_sent_if_the_broker_supports_none():
    peer = connected(make_packet(0x20, b"\x00\x00\x02\x29\x00"))
    peer.subscribe("a", None, 1)
    assert peer.read_output() == make_packet(0x82, b"\x80\x00\x00", utf8_string(b"a"), b"\x01")


def test_filters_that_the_broker_does_not_support_are_refused_and_not_sent():
    for properties, topic_filter, code in ((b"\x28\x00", "a/#", 0xA2), (b"\x2a\x00", "$share/g/a", 0x9E)):
        peer = connected(make_packet(0x20, b"\x00\x00\x02", properties))
        s = peer.subscribe(topic_filter, None, 1)
        assert peer.read_output() == b""
        assert s.reason == code


def test_the_reason_code_in_suback_is_reported():
    peer = connected()
    told = []
    peer.session.on_subscribed = lambda s, answer: told.append(s)
    s = peer.subscribe("a", None, 1)
    peer.read_output()
    assert s.reason is None
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x87"))
    assert s.reason == 0x87 and told == [s]


def test_a_message_with_two_subscription_identifiers_reaches_both_handlers():
    peer, got = subscribed("a/+")
    also = []
    peer.subscribe("#", lambda m: also.append(m.payload), 0)
    peer.read_output()
    peer.feed(publish_packet(b"a/b", b"1", properties=identifier_of(b"#") + identifier_of(b"a/+")))
    assert got == [("a/b", b"1")] and also == [b"1"]


def test_repeated_user_properties_do_not_hide_the_subscription_identifier():
    """The handler of the subscription identifier is called once per message."""
    peer, got = subscribed("a/+")
    user = b"\x26\x00\x01a\x00\x01b"
    peer.subscribe("#", lambda m: got.append("#"), 0)
    number = identifier_of(b"a/+")
    for properties in (user + user + number, number + user + user, user + number + user):
        peer.feed(publish_packet(b"a/b", b"1", properties=properties))
    assert got == [("a/b", b"1")] * 3


def test_qos_1_messages_are_acknowledged_in_order_after_their_handler():  # [MQTT-4.3.2-4], [MQTT-4.6.0-2]
    peer, got = subscribed()
    stream = b"".join([publish_packet(b"a/b", b"%d" % i, 1, i) for i in (7, 3, 9)])
    assert peer.feed(stream) == b"\x40\x02\x00\x07\x40\x02\x00\x03\x40\x02\x00\x09"
    assert [payload for _, payload in got] == [b"7", b"3", b"9"]


def test_a_message_without_a_handler_is_acknowledged():  # [MQTT-4.5.0-2]
    assert connected().feed(publish_packet(b"z", b"", 1, 5)) == b"\x40\x02\x00\x05"


def test_a_message_whose_handler_raises_is_acknowledged_with_0x80():
    peer, got = subscribed()
    errors = []
    peer.session.on_error = errors.append

    def broken(message):
        raise KeyError("oops")

    peer.session.subscriptions.entries[0].handler = broken
    out = peer.feed(publish_packet(b"a/b", b"1", 1, 1) + publish_packet(b"a/b", b"2", 1, 2))
    assert out == b"\x40\x03\x00\x01\x80\x40\x03\x00\x02\x80"
    assert len(errors) == 2 and isinstance(errors[0], KeyError)
    assert peer.session.state == CONNECTED


def test_a_message_gives_payload_flags_and_properties():
    peer, got = subscribed()
    seen = []

    def look(m):
        buf = bytearray(4)
        assert m.equals(b"ON") and not m.equals(b"OF") and not m.equals(b"ONE")
        assert m.copy_into(buf, 1) == 2 and buf == b"\x00ON\x00"
        raises(ValueError, m.copy_into, bytearray(1))
        assert len(m) == 2 and m.qos == 1 and m.dup and m.retain
        assert m.property(0x08) == "r/é"
        assert m.property(0x09) == b"\x00\xff"
        assert m.property(0x26, 1) == ("b", "2")
        assert m.property(0x26, 2) is None
        assert m.property(0x02) == 9
        assert m.property(0x0B) == 1 and m.property(0x0B, 1) == 300
        assert m.property(0x03) is None
        seen.append(m.topic)

    peer.session.subscriptions.entries[0].handler = look
    properties = (
        b"\x08\x00\x04r/\xc3\xa9\x09\x00\x02\x00\xff\x02\x00\x00\x00\x09"
        b"\x26\x00\x01a\x00\x011\x26\x00\x01b\x00\x012\x0b\x01\x0b\xac\x02"
    )
    out = peer.feed(publish_packet(b"a/b", b"ON", 1, 1, properties, 0x09))
    assert out == b"\x40\x02\x00\x01" and seen == ["a/b"]


def test_messages_are_received_in_chunks_of_any_size():
    stream = b"".join([publish_packet(b"a/%d" % i, b"x" * i, i & 1, i + 1) for i in range(60)])
    for most in (1, 2, 3, 7, 50, 64, 100, 256):
        peer, got = subscribed()
        out = peer.feed(stream, most)
        assert [len(payload) for _, payload in got] == list(range(60)), most
        assert out.count(b"\x40\x02") == 30


def test_a_full_tx_buffer_pauses_receiving_until_acknowledgements_fit():
    peer, got = subscribed(tx=64)
    session = peer.session
    stream = b"".join([publish_packet(b"a/b", b"x", 1, i + 1) for i in range(16)])
    session.framer.read_buffer[: len(stream)] = stream
    session.receive_data(len(stream), 0)
    session.parse()
    assert session.rx_paused and len(got) < 16
    answers = b""
    while session.rx_paused:
        answers += peer.read_output()
        session.parse()
    answers += peer.read_output()
    assert len(got) == 16
    assert answers == b"".join([b"\x40\x02\x00" + bytes((i + 1,)) for i in range(16)])


def aliased(slots=2):
    """Return a peer that announced a Topic Alias Maximum, and the list that its handler fills."""
    peer = Peer()
    peer.session.aliases = AliasTable(slots)
    connect, _ = peer.connect()
    assert b"\x22\x00" + bytes((slots,)) in connect
    got = []
    peer.subscribe("#", lambda m: got.append((m.topic, m.payload)), 0)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x00"))
    return peer, got


def test_topic_aliases_of_the_broker_are_resolved():  # [MQTT-3.3.2-10]
    peer, got = aliased()
    one, two = b"\x23\x00\x01", b"\x23\x00\x02"
    for topic, properties in ((b"a/b", one), (b"c", two), (b"", one), (b"", two), (b"new", one), (b"", one)):
        peer.feed(publish_packet(topic, b"x", properties=properties))
    assert [topic for topic, _ in got] == ["a/b", "c", "a/b", "c", "new", "new"]
    peer.feed(publish_packet(b"plain", b"x"))
    peer.feed(publish_packet(b"t" * 100, b"x", properties=two) + publish_packet(b"", b"y", properties=two))
    assert got[-2:] == [("t" * 100, b"x"), ("t" * 100, b"y")]


def test_invalid_topic_aliases_end_with_a_reason_code():
    peer, got = aliased()
    ends_with(peer, publish_packet(b"a", b"x", properties=b"\x23\x00\x03"), 0x94)
    peer, got = aliased()
    ends_with(peer, publish_packet(b"", b"x", properties=b"\x23\x00\x01"), 0x82)
    peer, got = aliased()
    peer.feed(publish_packet(b"a", b"x", properties=b"\x23\x00\x01"))
    peer.session.connection_lost()
    peer.connect()  # a new connection has no aliases [MQTT-3.3.2-7]
    ends_with(peer, publish_packet(b"", b"x", properties=b"\x23\x00\x01"), 0x82)


def test_unsubscribe_is_sent_and_ends_delivery():  # [MQTT-3.10.1-1]
    peer, got = subscribed("a/b")
    peer.unsubscribe("a/b")
    assert peer.read_output() == make_packet(0xA2, b"\x80\x00\x00", utf8_string(b"a/b"))
    peer.feed(publish_packet(b"a/b", b"on its way"))
    peer.feed(make_packet(0xB0, b"\x80\x00\x00\x00"))
    peer.feed(publish_packet(b"a/b", b"too late"))
    assert [payload for _, payload in got] == [b"on its way"]


def test_each_subscription_change_waits_for_the_previous_acknowledgement():
    peer = connected()
    s = peer.subscribe("a/b", None, 0)
    assert peer.read_output()[0] == 0x82
    peer.unsubscribe("a/b")
    assert peer.read_output() == b""
    out = peer.feed(make_packet(0x90, b"\x80\x00", b"\x00\x00"))
    assert out == make_packet(0xA2, b"\x80\x00\x00", utf8_string(b"a/b"))
    assert peer.subscribe("a/b", None, 1) is s
    assert peer.read_output() == b""
    out = peer.feed(make_packet(0xB0, b"\x80\x00", b"\x00\x00"))
    assert out == make_packet(0x82, b"\x80\x00\x03", identifier_of(b"a/b"), utf8_string(b"a/b"), b"\x01")
    peer.feed(make_packet(0x90, b"\x80\x00", b"\x00\x01"))
    assert s.reason == 1 and peer.session.pending_subacks == 0
    assert peer.session.state == CONNECTED


def test_the_last_handler_of_a_filter_replaces_earlier_ones():
    peer = connected()
    got = []
    for name in "ab":
        peer.subscribe(name, lambda m: got.append("old"), 0)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00", b"\x00\x00") + make_packet(0x90, b"\x80\x01", b"\x00\x00"))
    peer.unsubscribe("a")
    peer.read_output()
    peer.feed(make_packet(0xB0, b"\x80\x00", b"\x00\x00"))
    peer.subscribe("b", lambda m: got.append("new"), 0)
    peer.feed(publish_packet(b"b", b""))
    assert got == ["new"]


def test_a_late_message_does_not_reach_the_new_subscription_in_its_place_in_the_table():
    peer = connected()
    got = []
    peer.subscribe("lamp", lambda m: got.append("lamp"), 0)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00", b"\x00\x00"))
    peer.unsubscribe("lamp")
    peer.read_output()
    peer.feed(make_packet(0xB0, b"\x80\x00", b"\x00\x00"))
    peer.subscribe("pump", lambda m: got.append("pump"), 0)
    assert identifier_of(b"pump") in peer.read_output()
    peer.feed(publish_packet(b"lamp", b"ON", properties=identifier_of(b"lamp")))  # [MQTT-3.10.4-3]
    peer.feed(publish_packet(b"pump", b"ON", properties=identifier_of(b"pump")))
    assert got == ["pump"]


def test_an_acknowledgement_of_a_partly_written_message_ends_with_0x82():
    peer = connected()
    peer.publish(Topic("a/b"), b"x" * 50, qos=1)
    peer.session.prepare_write()
    peer.session.confirm_write(5, 0)
    ends = peer.session
    ends.framer.read_buffer[:4] = b"\x40\x02\x00\x01"
    ends.receive_data(4, 0)
    ends.parse()
    assert ends.state == CLOSING and ends.error.code == 0x82


def test_exceptions_in_callbacks_are_reported():
    def broken(*_):
        raise OSError(28)

    peer = connected(make_packet(0x20, b"\x00\x00\x02\x28\x00"))
    errors = []
    peer.session.on_error = errors.append
    peer.session.on_ack = peer.session.on_subscribed = broken
    peer.publish(Topic("a"), b"", qos=1)
    peer.read_output()
    peer.feed(b"\x40\x02\x00\x01")
    peer.subscribe("a/#", None, 0)
    peer.read_output()
    peer.advance(0)
    assert len(errors) == 2 and peer.session.state == CONNECTED


def test_on_ack_may_publish_after_a_refused_message():
    peer = Peer()
    topic = Topic("again")
    peer.session.on_ack = lambda answer: answer.reason and peer.publish(topic, b"2", qos=1)
    peer.publish(Topic("kept"), b"1", qos=1, retain=True)
    _, out = peer.connect(make_packet(0x20, b"\x00\x00\x02\x25\x00"))
    peer.advance(0)
    assert out + peer.read_output() == make_packet(0x32, utf8_string(b"again"), b"\x00\x02\x002")


def test_invalid_sizes_raise_value_error():
    for wrong in ({"inflight": 0}, {"inflight": 32768}, {"keep_alive": 65536}, {"rx": 10}, {"tx": 10}):
        try:
            Peer(**wrong)
        except ValueError:
            continue
        raise AssertionError(wrong)


# ---- malformed packets and protocol errors


def test_malformed_packets_end_with_a_reason_code():
    for data, code in (
        (b"\x36\x05\x00\x01a\x00\x00", 0x81),  # QoS 3 [MQTT-3.3.1-4]
        (b"\x38\x04\x00\x01a\x00", 0x81),  # DUP at QoS 0 [MQTT-3.3.1-2]
        (b"\x30\x02\x00\x05", 0x81),  # topic longer than the packet
        (b"\x30\x01\x00", 0x81),
        (b"\x30\x03\x00\x01a", 0x81),  # no property length
        (b"\x30\x05\x00\x01a\x05\x00", 0x81),  # properties longer than the packet
        (b"\x30\x04\x00\x01\xff\x00", 0x81),  # not UTF-8 [MQTT-3.3.2-1]
        (b"\x30\x04\x00\x01\x00\x00", 0x81),  # null character [MQTT-1.5.4-2]
        (b"\x30\x04\x00\x01#\x00", 0x90),  # [MQTT-3.3.2-2]
        (b"\x30\x07\x00\x04\xc3\xa9/+\x00", 0x90),  # after a two-byte character
        (b"\x30\x07\x00\x04a/\xc3b\x00", 0x81),  # half a character after valid ones
        (b"\x30\x06\x00\x03a\x80b\x00", 0x81),
        (b"\x30\x06\x00\x03a\x00b\x00", 0x81),  # [MQTT-1.5.4-2]
        (b"\x30\x03\x00\x00\x00", 0x82),  # no topic and no alias
        (b"\x32\x06\x00\x01a\x00\x00\x00", 0x82),  # packet identifier 0
        (b"\x32\x04\x00\x01a\x00", 0x81),
        (publish_packet(b"a", b"", properties=b"\x23\x00\x00"), 0x94),
        (publish_packet(b"a", b"", properties=b"\x23\x00\x01"), 0x94),  # the client announced no aliases
        (b"\x60\x02\x00\x01", 0x81),  # [MQTT-3.6.1-1]
        (b"\x62\x03\x00\x01\x10", 0x82),  # [MQTT-3.6.2-1]
        (b"\x40\x01\x00", 0x81),
        (b"\x40\x02\x00\x00", 0x82),
        (b"\x40\x05\x00\x01\x00\x00\x00", 0x81),
        (b"\x42\x02\x00\x01", 0x81),  # reserved bits [MQTT-2.1.3-1]
        (b"\x90\x03\x80\x00\x00", 0x81),
        (b"\xd0\x01\x00", 0x81),
        (b"\xd1\x00", 0x81),
        (b"\xe1\x00", 0x81),  # [MQTT-3.14.1-1]
        (b"\xe0\x01\x77", 0x82),  # [MQTT-3.14.2-1]
        (b"\xe0\x07\x00\x05\x11\x00\x00\x00\x05", 0x81),  # session expiry from a server [MQTT-3.14.2-2]
        (b"\x10\x00", 0x82),  # packet types that only a client sends
        (b"\x82\x00", 0x82),
        (b"\xc0\x00", 0x82),
        (b"\x00\x00", 0x82),
        (b"\x30\xff\xff\xff\xff", 0x81),
        (b"\x30\xff\x7f", 0x95),  # larger than the client's Maximum Packet Size
    ):
        ends_with(connected(), data, code)


def test_a_malformed_packet_is_detected_byte_by_byte():
    peer = connected()
    for b in b"\x30\x04\x00\x01#\x00":
        if peer.session.state == CONNECTED:
            out = peer.feed(bytes((b,)))
    assert out == b"\xe0\x01\x90"


def test_nothing_is_read_after_a_malformed_packet():
    peer, got = subscribed()
    peer.feed(b"\xd0\x01\x00" + publish_packet(b"a/b", b"x"))
    assert got == []


def test_a_disconnect_from_the_broker_is_reported():
    peer = connected()
    out = peer.feed(make_packet(0xE0, b"\x8b\x06\x1f", utf8_string(b"bye")))
    assert out == b""
    assert peer.session.state == CLOSING
    assert str(peer.session.error) == "Server shutting down (0x8B): bye"


# ---- keep-alive and deadlines


def test_an_idle_connection_is_pinged_and_a_busy_one_is_not():  # [MQTT-3.1.2-20]
    peer = connected(keep_alive=8)
    for _ in range(10):
        peer.advance(3000)
        peer.publish(Topic("a"), b"x")
        assert peer.read_output()[0] == 0x30
        peer.feed(publish_packet(b"a", b"x"))
    peer.advance(7000)
    assert peer.read_output() == b"\xc0\x00"
    peer.feed(b"\xd0\x00")
    peer.advance(1)
    assert peer.read_output() == b""


def test_each_ping_has_its_own_deadline():
    peer = connected(keep_alive=8)
    for _ in range(5):
        peer.advance(7000)
        assert peer.read_output() == b"\xc0\x00"
        peer.advance(100)
        peer.feed(b"\xd0\x00")
        peer.advance(0)


def test_a_connection_that_only_sends_is_pinged():
    peer = connected(keep_alive=8)
    out = b""
    for _ in range(8):
        peer.advance(1000)
        peer.publish(Topic("a"), b"x")
        out += peer.read_output()
    assert b"\xc0\x00" in out


def wait_for_timeout(peer, ms):
    """Advance the clock until the session raises OSError; this must take between `ms` / 2 and `ms`.

    Returns the text of the error.
    """
    start = peer.now
    while peer.now - start < ms:
        try:
            peer.advance(50)
            peer.read_output()
        except OSError as error:
            assert peer.now - start > ms // 2
            return str(error)
    raise AssertionError("still waiting")


def test_every_wait_has_a_deadline():
    peer = Peer()
    peer.session.open(peer.now)
    peer.read_output()
    assert "CONNACK" in wait_for_timeout(peer, 5200)

    peer = connected()
    peer.publish(Topic("a"), b"x", qos=1)
    peer.read_output()
    assert "PUBACK" in wait_for_timeout(peer, 5200)

    peer = connected()
    peer.subscribe("a", None, 0)
    peer.read_output()
    assert "SUBACK" in wait_for_timeout(peer, 5200)

    peer = connected(keep_alive=8)
    assert "PINGRESP" in wait_for_timeout(peer, 12000)  # within 1.5 times the keep-alive


def test_a_stalled_write_has_a_deadline():
    peer = connected()
    peer.publish(Topic("a"), b"x")
    peer.advance(0)
    peer.advance(4999)
    error = raises(OSError, peer.advance, 1)
    assert "no more bytes" in str(error)


def test_each_acknowledgement_restarts_the_wait_for_the_next():
    peer = connected()
    for _ in range(4):
        peer.publish(Topic("a"), b"x", qos=1)
    peer.read_output()
    for i in range(1, 5):
        peer.advance(4000)
        peer.feed(bytes((0x40, 2, 0, i)))
    assert peer.advance(4000) > 1000


def test_the_keep_alive_works_when_the_clock_wraps():
    peer = connected(keep_alive=8)
    peer.now = 0x3FFFFFFF - 3000
    peer.feed(publish_packet(b"a", b""))
    peer.publish(Topic("a"), b"")
    peer.read_output()
    peer.advance(0)
    assert peer.advance(6999) == 1
    peer.now &= 0x3FFFFFFF
    peer.advance(1)
    assert peer.read_output() == b"\xc0\x00"


def test_close_sends_disconnect():  # [MQTT-3.14.4-1]
    peer = connected()
    peer.publish(Topic("a"), b"x")
    peer.session.close(0)
    assert peer.read_output()[-2:] == b"\xe0\x00"
    assert peer.publish(Topic("a"), b"x") is False
    assert peer.read_output() == b""
