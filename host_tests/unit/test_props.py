from helper import raises
from umqtt5 import properties
from umqtt5.errors import MQTTError
from umqtt5.props import CONNACK, DISCONNECT, PUBLISH, RESPONSE, bit, check, find, integer, kind

# table 2-4 of the standard once more, in words: identifier, example value, who may carry it
TABLE = (
    (0x01, b"\x01", "publish"),
    (0x02, b"\x00\x00\x00\x01", "publish"),
    (0x03, b"\x00\x01a", "publish"),
    (0x08, b"\x00\x01a", "publish"),
    (0x09, b"\x00\x01\xff", "publish"),
    (0x0B, b"\x80\x01", "publish"),
    (0x11, b"\x00\x00\x00\x01", "connack"),
    (0x12, b"\x00\x01a", "connack"),
    (0x13, b"\x00\x01", "connack"),
    (0x15, b"\x00\x01a", "connack"),
    (0x16, b"\x00\x01\xff", "connack"),
    (0x17, b"\x01", ""),
    (0x18, b"\x00\x00\x00\x01", ""),
    (0x19, b"\x01", ""),
    (0x1A, b"\x00\x01a", "connack"),
    (0x1C, b"\x00\x01a", "connack disconnect"),
    (0x1F, b"\x00\x01a", "connack response disconnect"),
    (0x21, b"\x00\x01", "connack"),
    (0x22, b"\x00\x01", "connack"),
    (0x23, b"\x00\x01", "publish"),
    (0x24, b"\x01", "connack"),
    (0x25, b"\x01", "connack"),
    (0x26, b"\x00\x01a\x00\x01b", "connack publish response disconnect"),
    (0x27, b"\x00\x00\x00\x01", "connack"),
    (0x28, b"\x01", "connack"),
    (0x29, b"\x01", "connack"),
    (0x2A, b"\x01", "connack"),
)
PACKETS = (("connack", CONNACK), ("publish", PUBLISH), ("response", RESPONSE), ("disconnect", DISCONNECT))


def block(*parts):
    data = b"".join(parts)
    return data, 0, len(data)


def refused(data, legal):
    return raises(MQTTError, check, data, 0, len(data), legal).code


def test_each_property_stands_only_where_it_may():
    for identifier, value, where in TABLE:
        data = bytes((identifier,)) + value
        for name, legal in PACKETS:
            if name in where.split():
                assert check(data, 0, len(data), legal) == bit(identifier), (identifier, name)
            else:
                assert refused(data, legal) == 0x82, (identifier, name)


def test_no_other_property_exists():
    known = [row[0] for row in TABLE]
    assert len(known) == 27
    for identifier in range(256):
        if identifier not in known:
            assert not kind(identifier)
            assert refused(bytes((identifier, 0, 0, 0, 0, 0)), PUBLISH) == 0x81


def test_a_property_that_is_cut_is_malformed():
    for identifier, value, where in TABLE:
        for name, legal in PACKETS:
            if name in where.split():
                for size in range(len(value)):
                    data = bytes((identifier,)) + value[:size]
                    assert refused(data, legal) == 0x81, (identifier, size)


def test_only_user_properties_and_subscription_identifiers_repeat():
    for identifier, value, where in TABLE:
        data = (bytes((identifier,)) + value) * 2
        for name, legal in PACKETS:
            if name in where.split():
                if identifier == 0x26 or identifier == 0x0B:
                    check(data, 0, len(data), legal)
                else:
                    assert refused(data, legal) == 0x82, identifier


def test_values_that_the_standard_forbids():
    assert refused(b"\x23\x00\x00", PUBLISH) == 0x94
    assert refused(b"\x0b\x00", PUBLISH) == 0x82
    assert refused(b"\x21\x00\x00", CONNACK) == 0x82
    assert refused(b"\x27\x00\x00\x00\x00", CONNACK) == 0x82
    for flag in (0x24, 0x25, 0x28, 0x29, 0x2A):
        assert refused(bytes((flag, 2)), CONNACK) == 0x82
    assert refused(b"\x01\x02", PUBLISH) == 0x82
    assert refused(b"\x03\x00\x01\xff", PUBLISH) == 0x81  # not UTF-8
    check(*block(b"\x13\x00\x00", b"\x22\x00\x00"), CONNACK)  # these two may be zero


def test_finding_one_among_many():
    data = b"\x26\x00\x01a\x00\x01b\x0b\x05\x26\x00\x01c\x00\x01d\x0b\x81\x01\x02\x00\x00\x00\x09"
    end = len(data)
    assert find(data, 0, end, 0x26) == 0
    assert find(data, 0, end, 0x26, 1) == 9
    assert find(data, 0, end, 0x26, 2) == -1
    assert integer(data, 0, end, 0x0B, 0) == 5
    assert integer(data, 0, end, 0x02, 0) == 9
    assert integer(data, 0, end, 0x23, 77) == 77


def test_properties_are_packed_by_name():
    assert properties.pack() == b""
    packed = properties.pack(
        payload_format=1,
        message_expiry=0xFFFFFFFF,
        content_type="x",
        response_topic="r/é",
        correlation_data=b"\x00\xff",
        user=[("a", "1"), ("a", "2")],
    )
    assert packed == (
        b"\x01\x01\x02\xff\xff\xff\xff\x03\x00\x01x\x08\x00\x04r/\xc3\xa9\x09\x00\x02\x00\xff"
        b"\x26\x00\x01a\x00\x011\x26\x00\x01a\x00\x012"
    )
    check(packed, 0, len(packed), PUBLISH)


def test_packing_what_can_not_be():
    def pack(name, value):
        properties.pack(**{name: value})

    raises(ValueError, pack, "payload_format", 2)
    raises(ValueError, pack, "message_expiry", -1)
    raises(ValueError, pack, "content_type", "a\0")
    raises(ValueError, pack, "message_expiry", 1 << 32)
