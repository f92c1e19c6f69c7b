"""`Packet`: property rules, reason codes, and reading properties; `properties.pack`."""

from helper import raises
from umqtt5 import properties
from umqtt5.core.packet import Packet

# table 2-4 of the standard: identifier, example value, packets in which a server may send it
PROPERTY_TABLE = (
    (0x01, b"\x01", "publish"),
    (0x02, b"\x00\x00\x00\x01", "publish"),
    (0x03, b"\x00\x01a", "publish"),
    (0x08, b"\x00\x01a", "publish"),
    (0x09, b"\x00\x01\xff", "publish"),
    (0x0B, b"\x80\x01", "publish"),
    (0x11, b"\x00\x00\x00\x01", "connack"),
    (0x12, b"\x00\x01a", "connack"),
    (0x13, b"\x00\x01", "connack"),
    (0x15, b"\x00\x01a", "connack auth"),
    (0x16, b"\x00\x01\xff", "connack auth"),
    (0x17, b"\x01", ""),
    (0x18, b"\x00\x00\x00\x01", ""),
    (0x19, b"\x01", ""),
    (0x1A, b"\x00\x01a", "connack"),
    (0x1C, b"\x00\x01a", "connack disconnect"),
    (0x1F, b"\x00\x01a", "connack response disconnect auth"),
    (0x21, b"\x00\x01", "connack"),
    (0x22, b"\x00\x01", "connack"),
    (0x23, b"\x00\x01", "publish"),
    (0x24, b"\x01", "connack"),
    (0x25, b"\x01", "connack"),
    (0x26, b"\x00\x01a\x00\x01b", "connack publish response disconnect auth"),
    (0x27, b"\x00\x00\x00\x01", "connack"),
    (0x28, b"\x01", "connack"),
    (0x29, b"\x01", "connack"),
    (0x2A, b"\x01", "connack"),
)
# name in the table above, first byte, fields before the properties, fields after them
PACKETS = (
    ("connack", 0x20, b"\x00\x00", b""),
    ("publish", 0x30, b"\x00\x01a", b"x"),
    ("response", 0x40, b"\x00\x01\x00", b""),
    ("response", 0x50, b"\x00\x01\x00", b""),
    ("response", 0x62, b"\x00\x01\x00", b""),
    ("response", 0x70, b"\x00\x01\x00", b""),
    ("response", 0x90, b"\x00\x01", b"\x00"),
    ("response", 0xB0, b"\x00\x01", b"\x00"),
    ("disconnect", 0xE0, b"\x00", b""),
    ("auth", 0xF0, b"\x18", b""),
)
# the reason codes of each packet type in the standard
REASON_CODES = (
    (0x20, b"\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8c\x90\x95\x97\x99\x9a\x9b\x9c\x9d\x9f"),
    (0x40, b"\x00\x10\x80\x83\x87\x90\x91\x97\x99"),
    (0x50, b"\x00\x10\x80\x83\x87\x90\x91\x97\x99"),
    (0x62, b"\x00\x92"),
    (0x70, b"\x00\x92"),
    (0x90, b"\x00\x01\x02\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2"),
    (0xB0, b"\x00\x11\x80\x83\x87\x8f\x91"),
    (
        0xE0,
        b"\x00\x80\x81\x82\x83\x87\x89\x8b\x8d\x8e\x8f\x90\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c"
        b"\x9d\x9e\x9f\xa0\xa1\xa2",
    ),
    (0xF0, b"\x00\x18\x19"),
)


def parsed(packet, data):
    """Parse the packet `data`, whose length field has one or two bytes; returns the reason code."""
    buf = bytearray(data)
    packet._buf = packet.topic_buf = buf
    return packet.parse(buf[0], 3 if buf[1] > 127 else 2, len(buf))


def look(block, kind, packet=None):
    """Parse this property block in this kind of packet; returns the reason code."""
    for name, first, before, behind in PACKETS:
        if name == kind:
            body = before + bytes((len(block),)) + block + behind
            return parsed(Packet(b"") if packet is None else packet, bytes((first, len(body))) + body)


def test_each_property_is_accepted_only_in_its_packets():
    for identifier, value, where in PROPERTY_TABLE:
        for name, first, before, behind in PACKETS:
            block = bytes((identifier,)) + value
            body = before + bytes((len(block),)) + block + behind
            reason = parsed(Packet(b""), bytes((first, len(body))) + body)
            assert reason == (0 if name in where.split() else 0x81), (identifier, first)  # 2.2.2.2


def test_no_other_property_exists():
    known = [row[0] for row in PROPERTY_TABLE]
    assert len(known) == 27
    for identifier in range(256):
        if identifier not in known:
            assert look(bytes((identifier, 0, 0, 0, 0, 0)), "publish") == 0x81


def test_a_truncated_property_is_malformed():
    for identifier, value, where in PROPERTY_TABLE:
        for name in where.split():
            for size in range(len(value)):
                assert look(bytes((identifier,)) + value[:size], name) == 0x81, (identifier, size)


def test_only_user_properties_and_subscription_identifiers_repeat():
    for identifier, value, where in PROPERTY_TABLE:
        for name in where.split():
            twice = (bytes((identifier,)) + value) * 2
            assert look(twice, name) == (0 if identifier in (0x26, 0x0B) else 0x82), identifier


def test_forbidden_property_values_are_rejected():
    assert look(b"\x23\x00\x00", "publish") == 0x94
    assert look(b"\x0b\x00", "publish") == 0x82
    assert look(b"\x21\x00\x00", "connack") == 0x82
    assert look(b"\x27\x00\x00\x00\x00", "connack") == 0x82
    for flag in (0x24, 0x25, 0x28, 0x29, 0x2A):
        assert look(bytes((flag, 2)), "connack") == 0x82
    assert look(b"\x01\x02", "publish") == 0x82
    assert look(b"\x03\x00\x01\xff", "publish") == 0x81  # not UTF-8
    assert look(b"\x13\x00\x00\x22\x00\x00", "connack") == 0  # both may be zero


def test_each_packet_type_has_its_own_reason_codes_except_the_answers_to_our_packets():
    for first, codes in REASON_CODES:
        for code in range(256):
            before = {0x20: b"\x00", 0x90: b"\x00\x01\x00", 0xB0: b"\x00\x01\x00", 0xE0: b"", 0xF0: b""}
            body = before.get(first, b"\x00\x01") + bytes((code,)) + (b"\x00" if first == 0x20 else b"")
            packet = Packet(b"")
            reason = parsed(packet, bytes((first, len(body))) + body)
            is_answer = first not in (0x20, 0x62, 0xE0, 0xF0)
            assert reason == (0 if is_answer or code in codes else 0x82), (first, code)
            assert packet.reason == code


def test_find_property_returns_the_nth_occurrence():
    packet = Packet(b"")
    block = b"\x26\x00\x01a\x00\x01b\x0b\x05\x26\x00\x01c\x00\x01d\x0b\x81\x01\x02\x00\x00\x00\x09"
    assert look(block, "publish", packet) == 0
    start = packet.properties_start
    assert packet.find_property(0x26) == start
    assert packet.find_property(0x26, 1) == start + 9
    assert packet.find_property(0x26, 2) == -1
    assert packet.property(0x26, 1) == ("c", "d")
    assert packet.int_property(0x0B, 0) == 5
    assert packet.int_property(0x02, 0) == 9
    assert packet.int_property(0x23, 77) == 77


def test_large_four_byte_integers_are_capped_to_a_small_int():
    packet = Packet(b"")
    for data, value in (
        (b"\xff\xff\xff\xff", 0x3FFFFFFF),
        (b"\x40\x00\x00\x00", 0x3FFFFFFF),
        (b"\x3f\xff\xff\xfe", 0x3FFFFFFE),
    ):
        look(b"\x02" + data, "publish", packet)
        assert packet.property(0x02) == value


def test_pack_encodes_properties_by_name():
    assert properties.pack() == b""
    packed = properties.pack(
        payload_format=1,
        message_expiry=0xFFFFFFFF,
        content_type="x",
        response_topic="r/é",
        correlation_data=b"\x00\xff",
        user_properties=[("a", "1"), ("a", "2")],
    )
    assert packed == (
        b"\x01\x01\x02\xff\xff\xff\xff\x03\x00\x01x\x08\x00\x04r/\xc3\xa9\x09\x00\x02\x00\xff"
        b"\x26\x00\x01a\x00\x011\x26\x00\x01a\x00\x012"
    )
    assert look(packed, "publish") == 0


def test_pack_raises_value_error_for_invalid_values():
    def pack(name, value):
        properties.pack(**{name: value})

    raises(ValueError, pack, "payload_format", 2)
    raises(ValueError, pack, "message_expiry", -1)
    raises(ValueError, pack, "content_type", "a\0")
    raises(ValueError, pack, "message_expiry", 1 << 32)
    raises(ValueError, pack, "response_topic", "a/+")
    raises(ValueError, pack, "response_topic", "a/#")
