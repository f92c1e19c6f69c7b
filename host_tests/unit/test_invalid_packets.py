"""Invalid packets from a broker, whole and byte by byte: each causes a DISCONNECT with a reason code.

If the standard names no reason code, both Malformed Packet and Protocol Error are correct (4.13.1).
"""

from simulation import Simulation
from test_packet import PACKETS, PROPERTY_TABLE, REASON_CODES

from helper import CONNACK, Peer, make_packet, publish_packet, raises, utf8_string
from umqtt5 import streaming
from umqtt5.core.states import CLOSING, CONNECTED
from umqtt5.core.topics import Topic
from umqtt5.optional.topic_aliases import AliasTable

MALFORMED = (0x81,)
PROTOCOL = (0x82,)
EITHER = (0x81, 0x82)
TOO_LARGE = (0x95,)
RX, INFLIGHT, ALIASES = 128, 4, 2
HELD = 9  # packet identifier of a received QoS 2 message that awaits PUBREL


def connecting(**options):
    """Return a session that has sent its CONNECT, and the list of its received messages."""
    peer = Peer(rx=RX, inflight=INFLIGHT, keep_alive=8, **options)
    got = []
    peer.subscribe("#", lambda m: got.append((m.topic, m.payload)), 2)
    peer.session.open(peer.now)
    peer.read_output()
    return peer, got


def live():
    """Return a connected session that waits for each kind of acknowledgement, and its received messages.

    QoS 1 message 1 waits for PUBACK, QoS 2 message 2 for PUBREC, message 3 for PUBCOMP.
    """
    peer, got = connecting()
    peer.session.aliases = AliasTable(ALIASES)
    asked = peer.feed(CONNACK)
    peer.feed(make_packet(0x90, asked[2:4], b"\x00\x02"))
    peer.subscribe("asked", None)
    for qos in (1, 2, 2):
        peer.publish(Topic("out"), b"x", qos)
    peer.read_output()
    peer.feed(b"\x50\x02\x00\x03")
    peer.feed(publish_packet(b"in", b"1", 2, HELD) + publish_packet(b"in", b"2", 0, 0, b"\x23\x00\x01"))
    assert len(got) == 2 and peer.session.state == CONNECTED
    got.clear()
    return peer, got


def feed_until_closed(peer, data, most):
    """Feed bytes until the session ends; returns what it writes."""
    out = b""
    while data and peer.session.state != CLOSING:
        out += peer.feed(data[:most], most)
        data = data[most:]
    return out


def check_next_connection(peer, got):
    """Check that the session works after a reconnect."""
    peer.session.connection_lost()
    got.clear()
    peer.connect()
    assert peer.session.state == CONNECTED
    out = peer.feed(publish_packet(b"in", b"again", 1, 77))
    assert got == [("in", b"again")] and out == b"\x40\x02\x00\x4d"


def rejected(make, name, data, codes):
    for most in (1000, 1):
        peer, got = make()
        out = feed_until_closed(peer, data, most)
        assert peer.session.state == CLOSING, ("accepted", name, most)
        code = peer.session.error.code
        assert code in codes, (name, most, code)
        assert out == bytes((0xE0, 1, code)), (name, most, out)
        assert got == [], name
        check_next_connection(peer, got)


# ---- valid packets, which prove that the sessions of these tests work

ASKED = b"\x80\x01"  # packet identifier of the unacknowledged SUBSCRIBE
VALID_PACKETS = (
    publish_packet(b"in", b"x", 0),
    publish_packet(b"in", b"x", 1, 5, b"\x01\x01\x26\x00\x01k\x00\x01v"),
    publish_packet(b"in", b"x", 2, 6, b"\x0b\x01", 8),
    publish_packet(b"", b"x", 0, 0, b"\x23\x00\x01"),
    publish_packet(b"in", b"x", 2, HELD, flags=8),
    b"\x40\x02\x00\x01",
    b"\x40\x04\x00\x01\x10\x00",
    b"\x50\x03\x00\x02\x97",
    make_packet(0x50, b"\x00\x02\x00\x04\x1f", utf8_string(b"x")),
    b"\x62\x02\x00\x09",
    b"\x62\x03\x00\x63\x92",
    b"\x70\x02\x00\x03",
    make_packet(0x90, ASKED, b"\x00\x87"),
    b"\xd0\x00",
    publish_packet(b"in", b"x" * (RX - 7)),  # the largest accepted packet
)


def test_valid_packets_are_accepted():
    for data in VALID_PACKETS:
        for most in (1000, 1):
            peer, got = live()
            feed_until_closed(peer, data, most)
            assert peer.session.state == CONNECTED, data
            check_next_connection(peer, got)


def test_an_unfinished_packet_times_out():
    for make, packets in ((live, VALID_PACKETS), (connecting, (CONNACK,))):
        for data in packets:
            for size in range(1, len(data)):
                peer, got = make()
                peer.feed(data[:size], 1)
                error = raises(OSError, waits, peer)
                assert "no " in str(error), data
                check_next_connection(peer, got)


def waits(peer):
    """Advance the clock by 12 s, 1.5 times the keep-alive."""
    for _ in range(12):
        peer.advance(1000)
        peer.read_output()


# ---- invalid packets


def test_invalid_packets_before_connack_end_with_a_reason_code():  # [MQTT-3.2.0-1]
    for data in VALID_PACKETS:
        rejected(connecting, data, data, PROTOCOL)
    for name, data, codes in (
        ("DISCONNECT", b"\xe0\x00", PROTOCOL),  # [MQTT-3.14.0-1]
        ("AUTH without a method", b"\xf0\x00", PROTOCOL),
        ("no reason code", b"\x20\x01\x00", MALFORMED),
        ("empty", b"\x20\x00", MALFORMED),
        ("no properties", b"\x20\x02\x00\x06", MALFORMED),
        ("reserved acknowledge flags", b"\x20\x03\x02\x00\x00", MALFORMED),  # [MQTT-3.2.2-1]
        ("all acknowledge flags", b"\x20\x03\xff\x00\x00", MALFORMED),
        ("session present without a session", b"\x20\x03\x01\x00\x00", PROTOCOL),  # [MQTT-3.2.2-4]
        ("session present in a refusal", b"\x20\x03\x01\x87\x00", PROTOCOL),  # [MQTT-3.2.2-6]
        ("reserved flags", b"\x21\x03\x00\x00\x00", MALFORMED),
        ("a byte too many", b"\x20\x04\x00\x00\x00\x00", MALFORMED),
        ("properties longer than the packet", b"\x20\x04\x00\x00\x02\x24", MALFORMED),
        ("length of the properties in five bytes", b"\x20\x07\x00\x00\x80\x80\x80\x80\x01", MALFORMED),
        ("length of the properties not the shortest", b"\x20\x04\x00\x00\x80\x00", MALFORMED),
        ("larger than the announced maximum", b"\x20\xff\x01\x00\x00", TOO_LARGE),
        ("Receive Maximum 0", b"\x20\x06\x00\x00\x03\x21\x00\x00", PROTOCOL),
        ("Maximum Packet Size 0", b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x00", PROTOCOL),
        ("a method without authentication", b"\x20\x07\x00\x00\x04\x15\x00\x01a", PROTOCOL),
    ):
        rejected(connecting, name, data, codes)


def test_unexpected_packets_end_with_a_reason_code():
    for name, data, codes in (
        ("second CONNACK", CONNACK, PROTOCOL),  # [MQTT-3.2.0-2]
        ("reserved type", b"\x00\x00", EITHER),
        ("CONNECT", make_packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"), PROTOCOL),
        ("SUBSCRIBE", make_packet(0x82, b"\x00\x01\x00", utf8_string(b"a"), b"\x00"), PROTOCOL),
        ("UNSUBSCRIBE", make_packet(0xA2, b"\x00\x01\x00", utf8_string(b"a")), PROTOCOL),
        ("PINGREQ", b"\xc0\x00", PROTOCOL),
        ("AUTH without a method", b"\xf0\x00", PROTOCOL),
        ("AUTH with a method", make_packet(0xF0, b"\x18\x04\x15", utf8_string(b"a")), PROTOCOL),
        ("SUBACK with two reason codes for one filter", make_packet(0x90, ASKED, b"\x00\x00\x00"), PROTOCOL),
        ("Response Topic with a wildcard", publish_packet(b"in", b"", properties=b"\x08\x00\x01+"), PROTOCOL),
        ("empty Response Topic", publish_packet(b"in", b"", properties=b"\x08\x00\x00"), PROTOCOL),
        ("PUBACK for QoS 2", b"\x40\x02\x00\x02", PROTOCOL),
        ("PUBREC for QoS 1", b"\x50\x02\x00\x01", PROTOCOL),
    ):
        rejected(live, name, data, codes)


def test_answers_that_are_not_due_are_ignored():
    for data in (
        make_packet(0x90, b"\x80\x00\x00\x00"),  # this SUBACK has arrived before
        make_packet(0x90, b"\x80\x07\x00\x00"),  # no such subscription
        make_packet(0x90, b"\x00\x01\x00\x00"),  # packet identifier of a message
        make_packet(0xB0, ASKED, b"\x00\x00"),  # UNSUBACK for a SUBSCRIBE
        make_packet(0x40, b"\x00\x07"),
        make_packet(0x70, b"\x00\x07"),
    ):
        peer, got = live()
        assert peer.feed(data) == b"" and peer.is_connected
        assert peer.feed(make_packet(0x90, ASKED, b"\x00\x02")) == b""
        assert peer.session.subscriptions.entries[1].reason == 2


def test_invalid_fixed_headers_end_with_a_reason_code():
    for kind, flags in ((4, 0), (5, 0), (6, 2), (7, 0), (9, 0), (11, 0), (13, 0), (14, 0), (15, 0)):
        for other in range(16):
            if other != flags:  # [MQTT-2.1.3-1]
                rejected(live, "flags", bytes((kind << 4 | other, 2, 0, 1)), MALFORMED)
    for name, data, codes in (
        ("remaining length in five bytes", b"\x30\xff\xff\xff\xff\x01", MALFORMED),
        ("remaining length not the shortest", b"\xd0\x80\x00", MALFORMED),  # [MQTT-1.5.5-1]
        ("remaining length not the shortest, four bytes", b"\xd0\x80\x80\x80\x00", MALFORMED),
        ("one byte larger than the announced maximum", bytes((0x30, RX - 1)), TOO_LARGE),
        ("the largest possible length", b"\x30\xff\xff\xff\x7f", TOO_LARGE),
        ("a large PUBACK", b"\x40\xff\x7f", TOO_LARGE),
        ("PINGRESP that is not empty", b"\xd0\x01\x00", MALFORMED),
    ):
        rejected(live, name, data, codes)


def test_invalid_publishes_end_with_a_reason_code():
    for name, data, codes in (
        ("QoS 3", b"\x36\x06\x00\x01a\x00\x05\x00", MALFORMED),  # [MQTT-3.3.1-4]
        ("DUP at QoS 0", b"\x38\x04\x00\x01a\x00", EITHER),  # [MQTT-3.3.1-2]
        ("empty", b"\x30\x00", MALFORMED),
        ("half a length of the topic", b"\x30\x01\x00", MALFORMED),
        ("topic longer than the packet", b"\x30\x04\x00\x05ab", MALFORMED),
        ("topic of 65535 bytes", b"\x30\x04\xff\xffab", MALFORMED),
        ("no packet identifier", b"\x32\x03\x00\x01a", MALFORMED),
        ("half a packet identifier", b"\x32\x04\x00\x01a\x05", MALFORMED),
        ("packet identifier 0", publish_packet(b"a", b"x", 1, 0), EITHER),  # [MQTT-2.2.1-4]
        ("packet identifier 0 at QoS 2", publish_packet(b"a", b"x", 2, 0), EITHER),
        ("no properties", b"\x30\x03\x00\x01a", MALFORMED),
        ("properties longer than the packet", b"\x30\x05\x00\x01a\x05\x00", MALFORMED),
        ("length of the properties is cut", b"\x30\x04\x00\x01a\x80", MALFORMED),
        ("length of the properties not the shortest", b"\x30\x05\x00\x01a\x80\x00", MALFORMED),
        ("length of the properties in five bytes", b"\x30\x08\x00\x01a\x80\x80\x80\x80\x01", MALFORMED),
        ("+ in the topic", publish_packet(b"a/+", b"x"), (0x81, 0x82, 0x90)),  # [MQTT-3.3.2-2]
        ("# as the topic", publish_packet(b"#", b"x"), (0x81, 0x82, 0x90)),
        ("no topic and no alias", publish_packet(b"", b"x"), PROTOCOL),
        (
            "no topic and an unknown alias",
            publish_packet(b"", b"x", 0, 0, b"\x23\x00\x02"),
            PROTOCOL,
        ),
        ("alias 0", publish_packet(b"a", b"x", 0, 0, b"\x23\x00\x00"), (0x94,)),
        (
            "an alias above our maximum",
            publish_packet(b"a", b"x", 0, 0, b"\x23\x00\x03"),
            (0x94,),
        ),  # [MQTT-3.1.2-26]
        ("the largest alias", publish_packet(b"a", b"x", 0, 0, b"\x23\xff\xff"), (0x94,)),
        ("Subscription Identifier 0", publish_packet(b"a", b"x", 0, 0, b"\x0b\x00"), PROTOCOL),
        (
            "Subscription Identifier not the shortest",
            publish_packet(b"a", b"x", 0, 0, b"\x0b\x81\x00"),
            MALFORMED,
        ),
        (
            "Subscription Identifier in five bytes",
            publish_packet(b"a", b"x", 0, 0, b"\x0b\x80\x80\x80\x80\x01"),
            MALFORMED,
        ),
        ("a property number of two bytes", publish_packet(b"a", b"x", 0, 0, b"\x81\x01\x00"), MALFORMED),
    ):
        rejected(live, name, data, codes)
    # a client without topic aliases [MQTT-3.1.2-27]
    rejected(plain, "an alias", publish_packet(b"a", b"x", 0, 0, b"\x23\x00\x01"), (0x94,))


def plain():
    peer, got = connecting()
    peer.feed(CONNACK)
    return peer, got


# not a UTF-8 Encoded String (1.5.4): truncated, overlong, surrogate, above U+10FFFF, U+0000
ILL_FORMED = (
    b"\xff",
    b"\x80",
    b"a\xc3",
    b"\xc3a",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"a\x00",
)


def test_invalid_utf8_strings_end_with_0x81():  # [MQTT-1.5.4-1], [MQTT-1.5.4-2]
    for bad in ILL_FORMED:
        rejected(live, "topic", publish_packet(bad, b"x"), MALFORMED)
        for block in (
            b"\x03" + utf8_string(bad),
            b"\x08" + utf8_string(bad),
            b"\x26" + utf8_string(bad) + utf8_string(b"v"),
            b"\x26" + utf8_string(b"k") + utf8_string(bad),
        ):
            rejected(live, bad, publish_packet(b"a", b"x", 0, 0, block), MALFORMED)
        rejected(
            live, bad, make_packet(0x40, b"\x00\x01\x00", with_length(b"\x1f" + utf8_string(bad))), MALFORMED
        )
        for identifier in (b"\x12", b"\x1a", b"\x1c", b"\x1f"):
            data = make_packet(0x20, b"\x00\x00", with_length(identifier + utf8_string(bad)))
            rejected(connecting, bad, data, MALFORMED)


def with_length(block):
    return bytes((len(block),)) + block


def test_invalid_acknowledgements_end_with_a_reason_code():
    for first in (0x40, 0x50, 0x62, 0x70):
        for name, body, codes in (
            ("empty", b"", MALFORMED),
            ("half a packet identifier", b"\x00", MALFORMED),
            ("packet identifier 0", b"\x00\x00", EITHER),
            ("a byte too many", b"\x00\x01\x00\x00\x00", MALFORMED),
            ("properties longer than the packet", b"\x00\x01\x00\x05\x1f", MALFORMED),
            ("length of the properties is cut", b"\x00\x01\x00\x80", MALFORMED),
        ):
            rejected(live, name, make_packet(first, body), codes)
    for first in (0x90, 0xB0):
        for name, body, codes in (
            ("empty", b"", MALFORMED),
            ("half a packet identifier", b"\x80", MALFORMED),
            ("packet identifier 0", b"\x00\x00\x00\x00", EITHER),
            ("no properties", b"\x80\x01", MALFORMED),
            ("properties longer than the packet", b"\x80\x01\x05\x1f", MALFORMED),
            ("no reason code", b"\x80\x01\x00", EITHER),
            ("a reason code too many", b"\x80\x01\x00\x00\x00", EITHER),
        ):
            if first == 0x90 or name != "a reason code too many":  # no UNSUBACK is due, so it is ignored
                rejected(live, name, make_packet(first, body), codes)


def test_invalid_disconnects_end_with_a_reason_code():
    for name, body, codes in (
        ("properties longer than the packet", b"\x00\x05\x1f", MALFORMED),
        ("length of the properties is cut", b"\x00\x80", MALFORMED),
        ("a byte too many", b"\x00\x00\x00", MALFORMED),
        ("session expiry of a server", b"\x00\x05\x11\x00\x00\x00\x05", EITHER),  # [MQTT-3.14.2-2]
        ("the reason of a client's will", b"\x04", EITHER),
    ):
        rejected(live, name, make_packet(0xE0, body), codes)


# ---- every property and every reason code


def scene(first):
    return connecting if first == 0x20 else live


def blocks():
    """Yield each invalid property block as (name, first byte, block, packet parts, allowed reason codes)."""
    for identifier, value, where in PROPERTY_TABLE:
        block = bytes((identifier,)) + value
        for name, first, before, behind in PACKETS:
            row = bytes((len(before),)) + before, behind
            if name not in where.split():
                yield "out of place", first, block, row, MALFORMED  # 2.2.2.2
                continue
            if identifier not in (0x26, 0x0B):
                yield "twice", first, block * 2, row, PROTOCOL
            elif identifier == 0x0B and name != "publish":
                yield "twice", first, block * 2, row, PROTOCOL
            yield "cut", first, block[:-1], row, MALFORMED
            if len(value) == 1 and identifier != 0x0B:
                yield "above 1", first, block[:1] + b"\x02", row, EITHER
    for identifier in (0x00, 0x04, 0x0A, 0x14, 0x20, 0x2B, 0x7F, 0xFF):
        for _, first, before, behind in PACKETS:
            row = bytes((len(before),)) + before, behind
            yield "unknown", first, bytes((identifier, 0, 0)), row, MALFORMED


def test_invalid_properties_end_with_a_reason_code():
    for name, first, block, row, codes in blocks():
        data = make_packet(first, row[0][1:], with_length(block), row[1])
        if first == 0xF0:  # the unexpected AUTH itself may be reported first
            codes = EITHER
        rejected(scene(first), (name, block), data, codes)


def test_reason_codes_of_other_packet_types_are_invalid():
    for first, legal in REASON_CODES:
        if first not in (0x20, 0x62, 0xE0, 0xF0):
            continue  # in an answer to our packet each reason code is accepted
        for code in (1, 2, 3, 4, 15, 16, 17, 24, 25, 26, 127, 132, 136, 138, 140, 146, 147, 158, 163, 255):
            if code not in legal:
                before = {0x20: b"\x00", 0x90: ASKED + b"\x00", 0xB0: ASKED + b"\x00", 0xE0: b"", 0xF0: b""}
                data = before.get(first, b"\x00\x01") + bytes((code,)) + (b"\x00" if first == 0x20 else b"")
                rejected(scene(first), code, make_packet(first, data), EITHER)


# ---- more messages than the client announced


def test_more_qos_2_messages_than_the_receive_maximum_end_with_0x93():
    def three_more():
        peer, got = live()
        for packet_id in range(1, INFLIGHT):
            peer.feed(publish_packet(b"in", b"x", 2, packet_id))
        got.clear()
        return peer, got

    rejected(three_more, "the fifth", publish_packet(b"in", b"x", 2, 20), (0x93,))


def test_packets_after_an_invalid_packet_are_not_read():
    for behind in VALID_PACKETS + (CONNACK, b"\xe0\x00"):
        rejected(live, behind, b"\xd0\x01\x00" + behind, MALFORMED)


def test_an_invalid_packet_after_a_valid_one_is_detected():
    for first in VALID_PACKETS:
        for most in (1000, 1):
            peer, got = live()
            out = feed_until_closed(peer, first + b"\xd1\x00", most)
            assert out[-3:] == b"\xe0\x01\x81" and peer.session.error.code == 0x81, first
            check_next_connection(peer, got)


# ---- streamed payloads and authentication, which use their own parsers


def deliver(sim, data, piece):
    """Let bytes arrive in chunks of `piece` bytes; returns what the client writes."""
    link = sim.stream
    before = len(link.written)
    sim.read_size = piece
    link.inbox += data
    for _ in range(len(data) + 4):
        if not sim.client.is_connected and link.closed:
            break
        sim.client.poll()
    return link.written[before:]


def disconnect_code(sim, data, piece):
    """Let invalid bytes arrive; returns the reason code of the DISCONNECT. The client then reconnects."""
    told = []
    sim.client.on_state = lambda client, connected, error: told.append(error)
    link = sim.stream
    out = deliver(sim, data, piece)
    assert told and told[0] and hasattr(told[0], "code"), (data, told)
    assert out[-3:] == bytes((0xE0, 1, told[0].code)) and link.closed, (data, out)
    sim.read_size = 1000
    for _ in range(2000):  # after an error before CONNACK the pause is long
        if sim.client.is_connected:
            break
        sim.client.poll(1000)
    assert sim.client.is_connected and sim.stream is not link
    return told[0].code


HEAD = 64  # `rx` of a client that streams larger messages


def streaming_client(wait=True):
    sim = Simulation(rx=HEAD, topic_alias_maximum=1)
    got = []

    def begin(message, size):
        got.append(message.topic)
        return lambda piece: None

    streaming.receive(sim.client, "#", begin, qos=2, max_size=1000)
    if wait:
        sim.client.connect()
        sim.client.poll()
        sim.stream.inbox += make_packet(0x90, b"\x80\x00\x00\x02")
        sim.client.poll()
        assert sim.client.session.subscriptions.entries[0].reason == 2
    return sim, got


def large(first, head, size=200):
    return make_packet(first, head, b"x" * (size - len(head)))


def test_invalid_large_messages_end_with_a_reason_code():
    for name, data, codes in (
        ("QoS 3", large(0x36, b"\x00\x01a\x00\x05\x00"), MALFORMED),
        ("DUP at QoS 0", large(0x38, b"\x00\x01a\x00"), EITHER),
        ("packet identifier 0", large(0x32, b"\x00\x01a\x00\x00\x00"), EITHER),
        ("wildcard", large(0x30, b"\x00\x01#\x00"), (0x81, 0x82, 0x90)),
        ("ill-formed topic", large(0x30, b"\x00\x01\xff\x00"), MALFORMED),
        ("no topic", large(0x30, b"\x00\x00\x00"), PROTOCOL),
        ("alias 0", large(0x30, b"\x00\x01a\x03\x23\x00\x00"), (0x94,)),
        ("an alias above our maximum", large(0x30, b"\x00\x01a\x03\x23\x00\x02"), (0x94,)),
        ("unknown alias", large(0x30, b"\x00\x00\x03\x23\x00\x01"), PROTOCOL),
        ("property out of place", large(0x30, b"\x00\x01a\x02\x24\x01"), MALFORMED),
        ("property twice", large(0x30, b"\x00\x01a\x04\x01\x00\x01\x00"), PROTOCOL),
        ("properties longer than the packet", large(0x30, b"\x00\x01a\xff\x7f"), MALFORMED),
        ("length of the properties not the shortest", large(0x30, b"\x00\x01a\x80\x00"), MALFORMED),
        ("topic longer than the packet", large(0x30, b"\xff\xff"), MALFORMED),
        ("a head larger than rx", large(0x30, utf8_string(b"t" * 80) + b"\x00"), TOO_LARGE),
        ("larger than the announced maximum", b"\x30\xe9\x07", TOO_LARGE),
        ("another large packet", large(0x40, b"\x00\x01"), TOO_LARGE),
    ):
        for piece in (1000, 1):
            sim, got = streaming_client()
            code = disconnect_code(sim, data, piece)
            assert code in codes, (name, code)
            assert got == [], name


def test_a_large_message_before_connack_ends_with_0x82():  # [MQTT-3.2.0-1]
    for piece in (1000, 1):
        sim, got = streaming_client(wait=False)
        sim.connect_reply = b""
        sim.client.connect(wait=False)
        sim.client.poll()
        sim.client.poll()
        sim.connect_reply = CONNACK
        assert disconnect_code(sim, large(0x30, b"\x00\x01a\x00"), piece) == 0x82
        assert got == []


def test_a_header_that_fits_into_rx_is_accepted_and_a_larger_one_ends_with_0x95():
    for size in range(HEAD - 12, HEAD + 4):
        for properties in (b"\x00", with_length(b"\x01\x00"), b"\x81\x01\x09\x00\x7e" + b"c" * 126):
            for piece in (1000, 30, 1):
                sim, got = streaming_client()
                topic = utf8_string(b"t" * size)
                # the fixed header has three bytes: the first byte and the remaining length
                if 3 + len(topic + properties) <= HEAD:
                    deliver(sim, large(0x30, topic + properties, 400), piece)
                    assert len(got) == 1 and sim.client.is_connected, (size, properties)
                else:
                    code = disconnect_code(sim, large(0x30, topic + properties, 400), piece)
                    assert code == 0x95 and got == [], (size, properties)


class Method:
    method = "words"

    def start(self):
        return b""

    def challenge(self, data):
        return b""

    def finish(self, data):
        pass


WORDS = b"\x15" + utf8_string(b"words")


def test_invalid_auth_packets_end_with_a_reason_code():
    for name, data, codes in (
        ("no method", b"\xf0\x02\x18\x00", PROTOCOL),
        (
            "another method",
            make_packet(0xF0, b"\x18", with_length(b"\x15" + utf8_string(b"other"))),
            PROTOCOL,
        ),
        ("the method twice", make_packet(0xF0, b"\x18", with_length(WORDS * 2)), PROTOCOL),
        ("a client's reason", make_packet(0xF0, b"\x19", with_length(WORDS)), EITHER),
        ("no such reason", make_packet(0xF0, b"\x01", with_length(WORDS)), EITHER),
        ("property out of place", make_packet(0xF0, b"\x18", with_length(WORDS + b"\x01\x01")), MALFORMED),
        ("data twice", make_packet(0xF0, b"\x18", with_length(WORDS + b"\x16\x00\x00" * 2)), PROTOCOL),
        ("data are cut", make_packet(0xF0, b"\x18", with_length(WORDS + b"\x16\x00\x05")), MALFORMED),
        (
            "method ill-formed",
            make_packet(0xF0, b"\x18", with_length(b"\x15" + utf8_string(b"\xff"))),
            MALFORMED,
        ),
        ("properties longer than the packet", b"\xf0\x02\x18\x05", MALFORMED),
        ("a byte too many", make_packet(0xF0, b"\x18", with_length(WORDS), b"\x00"), MALFORMED),
        ("reserved flags", make_packet(0xF1, b"\x18", with_length(WORDS)), MALFORMED),
        ("larger than the announced maximum", b"\xf0\xff\x7f", TOO_LARGE),
    ):
        for piece in (1000, 1):
            for again in (False, True):
                sim = Simulation()
                sim.client.auth = Method()
                accepted = make_packet(0x20, b"\x00\x00", with_length(WORDS))
                sim.connect_reply = accepted if again else b""
                sim.client.connect(wait=again)
                if again:
                    sim.client.reauthenticate(wait=False)
                sim.client.poll()
                sim.client.poll()
                sim.connect_reply = accepted
                code = disconnect_code(sim, data, piece)
                assert code in codes, (name, again, code)
