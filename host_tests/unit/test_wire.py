"""Wire data types: integers, Variable Byte Integers, UTF-8 strings, binary data."""

from helper import raises
from umqtt5.core import wire


def test_two_byte_integers_are_big_endian():
    buf = bytearray(4)
    assert wire.put_u16(buf, 1, 0x1234) == 3
    assert buf == b"\x00\x12\x34\x00"
    assert wire.get_u16(buf, 1) == 0x1234


def test_varints_are_encoded_and_decoded_at_their_boundaries():  # table 1-1 of the standard [MQTT-1.5.5-1]
    for value, data in (
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16383, b"\xff\x7f"),
        (16384, b"\x80\x80\x01"),
        (2097151, b"\xff\xff\x7f"),
        (2097152, b"\x80\x80\x80\x01"),
        (268435455, b"\xff\xff\xff\x7f"),
    ):
        buf = bytearray(len(data))
        assert wire.put_varint(buf, 0, value) == len(data) == wire.varint_size(value)
        assert buf == data
        assert wire.get_varint(data, 0, len(data)) == value


def test_truncated_and_invalid_varints_are_rejected():
    assert wire.get_varint(b"", 0, 0) == -1
    assert wire.get_varint(b"\x80\x80", 0, 2) == -1
    assert wire.get_varint(b"\x80\x80\x80\x80", 0, 4) == -2  # a fifth byte would follow
    assert wire.get_varint(b"\x80\x00", 0, 2) == -2  # not the shortest form
    assert wire.get_varint(b"\xff\x80\x00", 0, 3) == -2


def test_prefix_u16_length_puts_the_length_first():
    assert wire.prefix_u16_length(b"abc") == b"\x00\x03abc"
    assert wire.prefix_u16_length(b"x" * 258)[:2] == b"\x01\x02"


def test_valid_utf8_is_accepted():  # [MQTT-1.5.4-1]
    for data in (b"", b"abc", "é€😀".encode(), b"\xef\xbb\xbf", b"\xed\x9f\xbf", b"\xf4\x8f\xbf\xbf"):
        assert wire.is_valid_utf8(data, 0, len(data)), data


def test_invalid_utf8_is_rejected():  # [MQTT-1.5.4-1], [MQTT-1.5.4-2]
    for data in (
        b"\x00",
        b"a\x00b",
        b"\x80",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xc3",
        b"\xe2\x82",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xe2\x28\xa1",
        b"\xff",
    ):
        assert not wire.is_valid_utf8(data, 0, len(data)), data


def test_utf8_is_checked_only_in_the_given_range():
    assert wire.is_valid_utf8(b"\xff\x00ab\xff", 2, 4)
    assert not wire.is_valid_utf8("aé".encode(), 0, 2)


def test_encode_text_checks_and_encodes_text():
    assert wire.encode_text("aé") == b"a\xc3\xa9"
    raises(ValueError, wire.encode_text, "a\0b")
    raises(ValueError, wire.encode_text, b"\xff")
    raises(ValueError, wire.encode_text, "x" * 65536)
