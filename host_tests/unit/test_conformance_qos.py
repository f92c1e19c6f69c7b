"""Conformance: PUBACK, PUBREC, PUBREL, PUBCOMP, QoS, resending, message order (3.4 to 3.7, 4.3 to 4.6)."""

from packet_reader import connected_peer, make_ack, read_publishes, reconnect, split_packets

from helper import make_packet, publish_packet


def subscribed(**options):
    """Return a connected peer whose handler raises on payload `fail`, and the payloads it received."""
    peer = connected_peer(**options)
    got = []

    def handle(m):
        if m.equals(b"fail"):
            raise ValueError("as it was told")
        got.append(m.payload)

    peer.session.on_error = lambda error: None
    peer.subscribe("a", handle, 2)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x02"))
    return peer, got


# ---- reason codes and properties of acknowledgements


def acknowledgements(limit=b""):
    """Return all acknowledgements that a session can send, with and without errors."""
    peer, got = subscribed(properties=limit) if limit else subscribed()
    out = b""
    for payload in (b"x", b"fail"):
        for qos in (1, 2):
            out += peer.feed(publish_packet(b"a", payload, qos, 7))
            if qos == 2:
                out += peer.feed(make_ack(0x62, 7))
    out += peer.feed(make_ack(0x50, 300))  # of an unknown message
    peer.publish_by_name("t", b"x", 2)
    peer.read_output()
    out += peer.feed(make_ack(0x50, 1))
    assert peer.is_connected
    return split_packets(out)


def codes(kind):
    """Return the reason codes of all acknowledgements of type `kind` that the session sends."""
    return [body[2] if len(body) > 2 else 0 for first, body in acknowledgements() if first == kind]


def ends(first, code):
    """Return True if an acknowledgement of the broker with this reason code ends the connection with 0x82."""
    peer, _ = subscribed()
    peer.publish_by_name("t", b"x", 1 if first == 0x40 else 2)
    peer.read_output()
    if first == 0x70:
        peer.feed(make_ack(0x50, 1))
    if first == 0x62:
        peer.feed(publish_packet(b"a", b"x", 2, 1))
    out = peer.feed(make_ack(first, 1, code))
    assert peer.is_connected or out == b"\xe0\x01\x82"
    return not peer.is_connected


def test_puback_has_a_reason_code_of_the_standard():  # [MQTT-3.4.2-1]
    assert codes(0x40) == [0x00, 0x80]


def test_pubrec_has_a_reason_code_of_the_standard():  # [MQTT-3.5.2-1]
    assert codes(0x50) == [0x00, 0x80]


def test_pubrel_has_a_reason_code_of_the_standard():  # [MQTT-3.6.2-1]
    assert codes(0x62) == [0x92, 0x00]
    assert [code for code in range(256) if not ends(0x62, code)] == [0x00, 0x92]


def test_pubcomp_has_a_reason_code_of_the_standard():  # [MQTT-3.7.2-1]
    assert codes(0x70) == [0x00, 0x92]


def test_no_reason_code_in_an_answer_to_our_message_ends_the_connection():
    """mosquitto refuses a message with codes that the standard does not list for PUBACK."""
    for first in (0x40, 0x50, 0x70):
        assert not any([ends(first, code) for code in range(256)])


def test_no_acknowledgement_has_a_reason_string_or_a_user_property():
    """[MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3]

    [MQTT-3.6.2-2], [MQTT-3.6.2-3], [MQTT-3.7.2-2], [MQTT-3.7.2-3]
    """
    found = acknowledgements()
    assert {first for first, _ in found} == {0x40, 0x50, 0x62, 0x70}
    # each has at most a packet identifier and a reason code, so 5 bytes in total
    assert [body for _, body in found if len(body) > 3] == []
    assert all([2 + len(body) <= 5 for _, body in acknowledgements(b"\x27\x00\x00\x00\x20")])


# ---- QoS 0 and 1


def test_a_qos_0_message_is_sent_once():  # [MQTT-4.3.1-1]
    peer = connected_peer(session_expiry=100)
    peer.publish_by_name("t", b"x")
    (m,) = read_publishes(peer.read_output())
    assert (m.qos, m.dup, m.packet_id, m.payload) == (0, 0, None, b"x")
    assert reconnect(peer) == b""


def test_a_new_qos_1_message_has_a_free_packet_identifier_and_no_dup():
    """[MQTT-4.3.2-1], [MQTT-4.3.2-2]"""
    peer = connected_peer()
    ids = [peer.publish_by_name("t", b"x", 1) for _ in range(4)]
    sent = read_publishes(peer.read_output())
    assert [m.packet_id for m in sent] == ids and len(set(ids)) == 4 and 0 not in ids
    assert [(m.qos, m.dup) for m in sent] == [(1, 0)] * 4
    peer.feed(make_ack(0x40, ids[2]) + make_ack(0x40, ids[0]))
    assert peer.publish_by_name("t", b"x", 1) == ids[0]  # the lowest free packet identifier


def test_a_qos_1_message_is_unacknowledged_until_its_puback():  # [MQTT-4.3.2-3]
    peer = connected_peer(session_expiry=100)
    peer.publish_by_name("t", b"x", 1)
    peer.read_output()
    for _ in range(3):
        assert [(m.packet_id, m.payload) for m in read_publishes(reconnect(peer))] == [(1, b"x")]
    peer.feed(make_ack(0x40, 2))  # of another message
    assert len(read_publishes(reconnect(peer))) == 1
    peer.feed(make_ack(0x40, 1))
    assert reconnect(peer) == b""


def test_puback_is_sent_after_the_handler_returns():  # [MQTT-4.3.2-4]
    peer = connected_peer()
    written = []
    peer.subscribe("a", lambda m: written.append(peer.read_output()), 1)
    peer.read_output()
    assert peer.feed(publish_packet(b"a", b"x", 1, 0x1234)) == make_ack(0x40, 0x1234)
    assert written == [b""]  # not before the handler has returned


def test_after_puback_the_packet_identifier_means_a_new_message():  # [MQTT-4.3.2-5]
    peer, got = subscribed()
    for payload, flags in ((b"1", 0), (b"2", 8), (b"3", 0)):
        assert peer.feed(publish_packet(b"a", payload, 1, 7, flags=flags)) == make_ack(0x40, 7)
    assert got == [b"1", b"2", b"3"]


# ---- QoS 2, sender


def test_a_new_qos_2_message_has_a_free_packet_identifier_and_no_dup():
    """[MQTT-4.3.3-1], [MQTT-4.3.3-2]"""
    peer = connected_peer()
    ids = [peer.publish_by_name("t", b"x", 2) for _ in range(4)]
    sent = read_publishes(peer.read_output())
    assert [m.packet_id for m in sent] == ids and len(set(ids)) == 4 and 0 not in ids
    assert [(m.qos, m.dup) for m in sent] == [(2, 0)] * 4
    peer.feed(make_ack(0x50, ids[0]))  # not free yet
    assert peer.publish_by_name("t", b"x", 2) == 0
    peer.feed(make_ack(0x70, ids[0]))
    assert peer.publish_by_name("t", b"x", 2) == ids[0]


def test_a_qos_2_message_is_unacknowledged_until_its_pubrec():  # [MQTT-4.3.3-3], [MQTT-4.3.3-6]
    peer = connected_peer(session_expiry=100)
    peer.publish_by_name("t", b"x", 2)
    peer.read_output()
    for _ in range(3):
        assert [(m.packet_id, m.payload) for m in read_publishes(reconnect(peer))] == [(1, b"x")]
    assert peer.feed(make_ack(0x50, 1)) == make_ack(0x62, 1)
    for _ in range(3):  # after PUBREL no PUBLISH is sent
        assert read_publishes(reconnect(peer)) == []


def test_the_client_replies_to_pubrec_with_pubrel():  # [MQTT-4.3.3-4]
    for code in ((), (0x00,), (0x10,)):  # 0x10 (no matching subscribers) is not an error
        peer = connected_peer()
        peer.publish_by_name("t", b"x", 2)
        peer.read_output()
        assert peer.feed(make_ack(0x50, 1, *code)) == make_ack(0x62, 1)
    for code in (0x80, 0x87, 0x97):
        peer = connected_peer()
        peer.publish_by_name("t", b"x", 2)
        peer.read_output()
        assert peer.feed(make_ack(0x50, 1, code)) == b""


def test_a_pubrel_is_unacknowledged_until_its_pubcomp():  # [MQTT-4.3.3-5]
    peer = connected_peer(session_expiry=100)
    peer.publish_by_name("t", b"x", 2)
    peer.read_output()
    peer.feed(make_ack(0x50, 1))
    for _ in range(3):
        assert reconnect(peer) == make_ack(0x62, 1)
    peer.feed(make_ack(0x70, 1))
    assert reconnect(peer) == b""


def test_a_message_that_was_sent_does_not_expire():  # [MQTT-4.3.3-7]
    peer = connected_peer(session_expiry=100)
    expires = b"\x02\x00\x00\x00\x01"
    for payload in (b"1", b"2"):
        peer.publish_by_name("t", payload, 2, properties=expires)
    peer.read_output()
    peer.advance(3000)  # three times its expiry interval
    assert peer.feed(make_ack(0x50, 1)) == make_ack(0x62, 1)
    peer.now += 100_000
    out = reconnect(peer)
    assert [(m.payload, m.properties) for m in read_publishes(out)] == [(b"2", expires)]
    assert make_ack(0x62, 1) in out


# ---- QoS 2, receiver


def test_pubrec_is_sent_after_the_handler_returns():  # [MQTT-4.3.3-8]
    peer = connected_peer()
    written = []
    peer.subscribe("a", lambda m: written.append(peer.read_output()), 2)
    peer.read_output()
    assert peer.feed(publish_packet(b"a", b"x", 2, 0x1234)) == make_ack(0x50, 0x1234)
    assert written == [b""]


def test_after_a_pubrec_error_the_packet_identifier_means_a_new_message():  # [MQTT-4.3.3-9]
    peer, got = subscribed()
    assert peer.feed(publish_packet(b"a", b"fail", 2, 7)) == make_ack(0x50, 7, 0x80)
    assert peer.feed(publish_packet(b"a", b"1", 2, 7)) == make_ack(0x50, 7)
    assert got == [b"1"]


def test_until_pubrel_a_duplicate_is_acknowledged_and_not_delivered():  # [MQTT-4.3.3-10]
    peer, got = subscribed(session_expiry=100)
    peer.feed(publish_packet(b"a", b"1", 2, 7))
    for _ in range(3):
        assert peer.feed(publish_packet(b"a", b"1", 2, 7, flags=8)) == make_ack(0x50, 7)
    reconnect(peer)
    assert peer.feed(publish_packet(b"a", b"1", 2, 7, flags=8)) == make_ack(0x50, 7)
    assert got == [b"1"]


def test_the_client_replies_to_pubrel_with_pubcomp():  # [MQTT-4.3.3-11]
    peer, got = subscribed()
    for packet_id in (0x0102, 7, 0xFFFF):
        peer.feed(publish_packet(b"a", b"x", 2, packet_id))
    for packet_id in (7, 0xFFFF, 0x0102):
        assert peer.feed(make_ack(0x62, packet_id)) == make_ack(0x70, packet_id)


def test_after_pubcomp_the_packet_identifier_means_a_new_message():  # [MQTT-4.3.3-12]
    peer, got = subscribed()
    for payload in (b"1", b"2"):
        assert peer.feed(publish_packet(b"a", payload, 2, 7)) == make_ack(0x50, 7)
        assert peer.feed(make_ack(0x62, 7)) == make_ack(0x70, 7)
    assert got == [b"1", b"2"]


def test_the_handshake_of_an_expired_message_is_completed():  # [MQTT-4.3.3-13]
    peer, got = subscribed(session_expiry=100)
    assert peer.feed(publish_packet(b"a", b"x", 2, 7, b"\x02\x00\x00\x00\x01")) == make_ack(0x50, 7)
    peer.now += 100_000
    reconnect(peer)
    assert peer.feed(publish_packet(b"a", b"x", 2, 7, b"\x02\x00\x00\x00\x01", 8)) == make_ack(0x50, 7)
    assert peer.feed(make_ack(0x62, 7)) == make_ack(0x70, 7) and got == [b"x"]


# ---- resending


def test_unacknowledged_packets_are_resent_with_their_packet_identifiers():  # [MQTT-4.4.0-1]
    peer = connected_peer(session_expiry=100, inflight=6)
    for payload, qos in ((b"1", 1), (b"2", 2), (b"3", 2), (b"4", 1)):
        peer.publish_by_name("t", payload, qos)
    before = {m.payload: m.packet_id for m in read_publishes(peer.read_output())}
    peer.feed(make_ack(0x50, before[b"3"]))
    out = reconnect(peer)
    assert [(m.payload, m.packet_id, m.qos) for m in read_publishes(out)] == [
        (b"1", before[b"1"], 1),
        (b"2", before[b"2"], 2),
        (b"4", before[b"4"], 1),
    ]
    assert [body for first, body in split_packets(out) if first == 0x62] == [make_ack(0, before[b"3"])[2:]]


def test_nothing_is_resent_in_the_same_connection():  # [MQTT-4.4.0-1]
    peer = connected_peer(keep_alive=0, timeout=60000)
    peer.publish_by_name("t", b"1", 1)
    peer.publish_by_name("t", b"2", 2)
    peer.publish_by_name("t", b"3", 2)
    peer.read_output()
    peer.feed(make_ack(0x50, 3))
    for _ in range(50):
        peer.advance(1000)
        assert peer.read_output() == b""
        assert peer.feed(publish_packet(b"x", b"")) == b""


def test_an_error_code_completes_a_message():  # [MQTT-4.4.0-2]
    for qos, kind in ((1, 0x40), (2, 0x50)):
        for code in (0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99):
            peer = connected_peer(b"\x21\x00\x01", session_expiry=100)
            told = []
            peer.session.on_ack = lambda a, told=told: told.append((a.packet_id, a.reason))
            peer.publish_by_name("t", b"x", qos)
            peer.read_output()
            assert peer.feed(make_ack(kind, 1, code)) == b"" and told == [(1, code)]
            assert reconnect(peer, b"\x21\x00\x01") == b""
            peer.publish_by_name("t", b"y", qos)  # and its slot is free
            assert [m.payload for m in read_publishes(peer.read_output())] == [b"y"]


# ---- acknowledgement and order


def test_every_message_is_acknowledged_even_without_a_handler():  # [MQTT-4.5.0-2]
    peer = connected_peer()
    for topic in (b"a", b"$SYS/x"):
        assert peer.feed(publish_packet(topic, b"x", 1, 5)) == make_ack(0x40, 5)
        assert peer.feed(publish_packet(topic, b"x", 2, 6)) == make_ack(0x50, 6)
        assert peer.feed(make_ack(0x62, 6)) == make_ack(0x70, 6)
    peer, got = subscribed()
    peer.unsubscribe("a")
    peer.read_output()
    peer.feed(make_packet(0xB0, b"\x80\x00\x00\x00"))
    assert peer.feed(publish_packet(b"a", b"late", 1, 5, b"\x0b\x01")) == make_ack(0x40, 5)
    assert peer.feed(publish_packet(b"a", b"late", 2, 6, b"\x0b\x09")) == make_ack(0x50, 6)
    assert got == []


def test_messages_are_resent_in_their_original_order():  # [MQTT-4.6.0-1]
    peer = connected_peer(session_expiry=100, inflight=6)
    for i in range(6):
        peer.publish_by_name("t%d" % (i % 2), b"%d" % i, 1 + i % 2)
    peer.read_output()
    peer.feed(make_ack(0x40, 3) + make_ack(0x40, 1))  # the slots of these messages are reused
    assert peer.publish_by_name("t", b"6", 1)
    peer.read_output()
    for _ in range(2):
        assert [m.payload for m in read_publishes(reconnect(peer))] == [b"1", b"3", b"4", b"5", b"6"]


ORDER = (9, 2, 0x300, 1, 77, 3)


def test_pubacks_are_sent_in_the_order_of_the_messages():  # [MQTT-4.6.0-2]
    peer, got = subscribed(inflight=8)
    stream = b"".join([publish_packet(b"a", b"fail" if i & 1 else b"x", 1, i) for i in ORDER])
    assert [body[:2] for _, body in split_packets(peer.feed(stream))] == [make_ack(0, i)[2:4] for i in ORDER]


def test_pubrecs_are_sent_in_the_order_of_the_messages():  # [MQTT-4.6.0-3]
    peer, got = subscribed(inflight=8)
    stream = b"".join([publish_packet(b"a", b"fail" if i & 1 else b"x", 2, i) for i in ORDER])
    assert [body[:2] for _, body in split_packets(peer.feed(stream))] == [make_ack(0, i)[2:4] for i in ORDER]


def test_pubrels_are_sent_in_the_order_of_the_pubrecs():  # [MQTT-4.6.0-4]
    peer = connected_peer(inflight=6, session_expiry=100)
    for _ in range(6):
        peer.publish_by_name("t", b"x", 2)
    peer.read_output()
    order = (4, 1, 6, 2, 5, 3)
    out = peer.feed(b"".join([make_ack(0x50, i) for i in order]))
    assert out == b"".join([make_ack(0x62, i) for i in order])
    # the same order applies in a resumed session
    for i in order:
        peer.feed(make_ack(0x70, i))
    order = [peer.publish_by_name("t", b"x", 2) for _ in range(4)]
    peer.read_output()
    peer.feed(b"".join([make_ack(0x50, i) for i in order]))
    peer.feed(make_ack(0x70, order[0]))
    order = order[1:] + [peer.publish_by_name("t", b"x", 2) for _ in range(3)]
    peer.read_output()
    peer.feed(b"".join([make_ack(0x50, i) for i in order[3:]]))
    assert reconnect(peer) == b"".join([make_ack(0x62, i) for i in order])
