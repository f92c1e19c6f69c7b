"""Bytes: integers and strings into and out of a buffer at an offset (section 1.5).

`put_*` write at `at` and return the offset behind what they wrote. Nothing here allocates,
but for `encode_text`. The caller has made sure that there is room.
"""


def put_u16(buf, at, value):
    """Two Byte Integer, big end first (1.5.2)."""
    buf[at] = value >> 8
    buf[at + 1] = value & 0xFF
    return at + 2


def get_u16(buf, at):
    return buf[at] << 8 | buf[at + 1]


def put_u32(buf, at, value):
    """Four Byte Integer (1.5.3). On a 32-bit board a value above 0x3FFFFFFF allocates."""
    return put_u16(buf, put_u16(buf, at, value >> 16), value & 0xFFFF)


def get_u32(buf, at):
    """Four Byte Integer, at most 0x3FFFFFFF: the largest that no board allocates for."""
    if buf[at] >= 0x40:
        return 0x3FFFFFFF
    return get_u16(buf, at) << 16 | get_u16(buf, at + 2)


def varint_size(value):
    """How many bytes `put_varint` will write."""
    size = 1
    while value > 0x7F:
        value >>= 7
        size += 1
    return size


def put_varint(buf, at, value):
    """Variable Byte Integer in its shortest form [MQTT-1.5.5-1]."""
    while value > 0x7F:
        buf[at] = value & 0x7F | 0x80
        value >>= 7
        at += 1
    buf[at] = value
    return at + 1


def get_varint(buf, at, end):
    """A Variable Byte Integer that lies before `end`; -1 cut short, -2 malformed."""
    value = shift = 0
    while at < end:
        value |= (buf[at] & 0x7F) << shift
        if buf[at] < 0x80:
            # a last byte of zero adds nothing: not the shortest form
            return -2 if shift and not buf[at] else value
        if shift == 21:
            return -2
        shift += 7
        at += 1
    return -1


def put_binary(buf, at, data):
    """Binary Data or an encoded string: two bytes of length, then the bytes (1.5.4, 1.5.6)."""
    at = put_u16(buf, at, len(data))
    end = at + len(data)
    buf[at:end] = data
    return end


def utf8_ok(buf, at, end):
    """True where the bytes are UTF-8 without U+0000 and surrogates [MQTT-1.5.4-1, -2]."""
    while at < end:
        lead = buf[at]
        at += 1
        if lead < 0x80:
            if not lead:
                return False
            continue
        rest = 1 + (lead >= 0xE0) + (lead >= 0xF0)
        if lead < 0xC2 or lead > 0xF4 or at + rest > end:
            return False
        second = buf[at]
        if (
            (lead == 0xE0 and second < 0xA0)  # could be written shorter
            or (lead == 0xED and second > 0x9F)  # surrogate
            or (lead == 0xF0 and second < 0x90)  # could be written shorter
            or (lead == 0xF4 and second > 0x8F)  # above U+10FFFF
        ):
            return False
        while rest:
            if buf[at] & 0xC0 != 0x80:
                return False
            at += 1
            rest -= 1
    return True


def encode_text(text):
    """A str (or its UTF-8 bytes) as checked bytes. Raises ValueError where MQTT forbids it."""
    data = text.encode() if isinstance(text, str) else bytes(text)
    if len(data) > 65535:
        raise ValueError("a string is at most 65535 bytes")
    if not utf8_ok(data, 0, len(data)):
        raise ValueError("not UTF-8, or with a null character")
    return data
