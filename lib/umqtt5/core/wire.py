"""MQTT data types in a buffer: integers, variable byte integers, UTF-8 strings (section 1.5).

The `put_*` functions write at offset `at` and return the offset after the value. The caller must ensure that
there is room. Only `prefix_u16_length` and `encode_text` allocate.
"""

BYTES = (bytes, bytearray, memoryview)


def put_u16(buf, at, value):
    """Write a Two Byte Integer, most significant byte first (1.5.2)."""
    buf[at] = value >> 8
    buf[at + 1] = value & 0xFF
    return at + 2


def get_u16(buf, at):
    """Read a Two Byte Integer."""
    return buf[at] << 8 | buf[at + 1]


def varint_size(value):
    """Return how many bytes `put_varint` writes for this value."""
    size = 1
    while value > 0x7F:
        value >>= 7
        size += 1
    return size


def put_varint(buf, at, value):
    """Write a Variable Byte Integer in its shortest form [MQTT-1.5.5-1]."""
    while value > 0x7F:
        buf[at] = value & 0x7F | 0x80
        value >>= 7
        at += 1
    buf[at] = value
    return at + 1


def get_varint(buf, at, end):
    """Read a Variable Byte Integer before offset `end`; returns -1 if it is incomplete, -2 if malformed."""
    value = shift = 0
    while at < end:
        value |= (buf[at] & 0x7F) << shift
        if buf[at] < 0x80:
            # a last byte of 0 means that the value has a shorter form
            return -2 if shift and not buf[at] else value
        if shift == 21:
            return -2
        shift += 7
        at += 1
    return -1


def prefix_u16_length(data):
    """Return Binary Data or an encoded string with its length in front, as new bytes (1.5.4, 1.5.6).

    Raises ValueError above 65535 bytes.
    """
    if len(data) > 65535:
        reject("length", "text", data)
    return bytes((len(data) >> 8, len(data) & 0xFF)) + data


def is_valid_utf8(buf, at, end):
    """Return True if the bytes are UTF-8 without U+0000 and surrogates [MQTT-1.5.4-1, -2]."""
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
        # the second byte shows overlong forms, surrogates, and code points above U+10FFFF
        lead = lead << 8 | buf[at]
        if 0xE000 <= lead < 0xE0A0 or 0xED9F < lead < 0xEE00 or 0xF000 <= lead < 0xF090 or lead > 0xF48F:
            return False
        while rest:
            if buf[at] & 0xC0 != 0x80:
                return False
            at += 1
            rest -= 1
    return True


def encode_text(text, name="text"):
    """Check a str or UTF-8 bytes and return it as bytes; `name` is the argument, for the error.

    Raises TypeError, or ValueError if MQTT does not allow the text.
    """
    data = text.encode() if isinstance(text, str) else text
    if not isinstance(data, BYTES) or len(data) > 65535 or not is_valid_utf8(data, 0, len(data)):
        reject("text", name, text)
    return bytes(data)


def check_int(name, value, high):
    """Raise TypeError or ValueError unless the argument `name` is an int from 0 to `high`."""
    # On MicroPython a bool is not an int. A tuple of both types would be allocated at each call.
    if not (isinstance(value, int) or isinstance(value, bool)) or not 0 <= value <= high:
        reject("int", name, value, high)


def reject(*args):
    """Raise the error for a wrong argument: see `optional.argument_errors.make_error`."""
    from ..optional.argument_errors import make_error

    raise make_error(*args)
