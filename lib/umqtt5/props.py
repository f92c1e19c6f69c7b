"""The 27 properties as numbers: identifier, type, where they may stand (section 2.2.2.2).

For the names and for making property blocks see `properties`.
"""

from micropython import const

from .errors import MQTTError
from .wire import get_u16, get_u32, get_varint, utf8_ok, varint_size

_BYTE = const(1)
_U16 = const(2)
_U32 = const(3)
_VARINT = const(4)
_UTF8 = const(5)
_BINARY = const(6)
_PAIR = const(7)

# One byte a property identifier: its place in a 27-bit set << 3 | its type, 0 where the
# standard has no such property.
_TABLE = (
    b"\x00\x01\x0b\x15\x00\x00\x00\x00\x1d\x26\x00\x2c\x00\x00\x00\x00\x00\x33\x3d\x42\x00\x4d"
    b"\x56\x59\x63\x69\x75\x00\x7d\x00\x00\x85\x00\x8a\x92\x9a\xa1\xa9\xb7\xbb\xc1\xc9\xd1"
)

# Which of the 27 may stand in what a server sends. A server's DISCONNECT has no Session
# Expiry Interval [MQTT-3.14.2-2].
CONNACK = 0x7F7C7C0
PUBLISH = 0x48003F
RESPONSE = 0x410000  # PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK
DISCONNECT = 0x418000

_USER = const(0x400000)  # User Property: the one that may always repeat
_SUBSCRIPTION_IDENTIFIER = const(0x20)
_FLAGS = const(0x7302801)  # the properties of one byte, which is 0 or 1
_NOT_ZERO = const(0x8A0020)  # Receive Maximum, Topic Alias, Maximum Packet Size, Subscription Identifier


def kind(identifier):
    """The type of a property, 0 where there is none of this number."""
    return _TABLE[identifier] & 7 if 0 <= identifier < 43 else 0


def bit(identifier):
    """The place of a property in the sets that `check` takes and returns."""
    return 1 << (_TABLE[identifier] >> 3)


def _behind(buf, at, end):
    """The offset behind the property at `at`; past `end` where it does not fit."""
    of = kind(buf[at])
    at += 1
    if of <= _U32:
        return at + (1 << (of - 1))
    if of == _VARINT:
        of = get_varint(buf, at, end)
        return at + varint_size(of) if of >= 0 else end + 1
    while at + 2 <= end:
        start = at + 2
        at = start + get_u16(buf, at)
        if at > end or (of != _BINARY and not utf8_ok(buf, start, at)):
            break
        if of != _PAIR:
            return at
        of = _UTF8  # of a pair the value is left
    return end + 1


def number_at(buf, at, end):
    """The number in the property at `at`; 1 for what is no number."""
    of = kind(buf[at])
    if of == _BYTE:
        return buf[at + 1]
    if of == _U16:
        return get_u16(buf, at + 1)
    if of == _U32:
        return get_u32(buf, at + 1)
    return get_varint(buf, at + 1, end) if of == _VARINT else 1


def _place(identifier, seen, legal):
    """The bit of a property that may stand here, after those that were `seen`."""
    if not kind(identifier):
        raise MQTTError(0x81, "unknown property")
    mask = bit(identifier)
    if not mask & legal:
        raise MQTTError(0x82, "property out of place")
    if mask & seen and mask != _USER:
        if legal != PUBLISH or mask != _SUBSCRIPTION_IDENTIFIER:  # [MQTT-3.3.4-4]
            raise MQTTError(0x82, "property twice")
    return mask


def _value(buf, at, end, mask):
    """Check the value of the property at `at`; returns the offset behind it."""
    after = _behind(buf, at, end)
    if after > end:
        raise MQTTError(0x81, "malformed property")
    value = number_at(buf, at, end)
    if (value > 1 and mask & _FLAGS) or (not value and mask & _NOT_ZERO):
        raise MQTTError(0x94 if buf[at] == 0x23 else 0x82, "property value")
    return after


def check(buf, at, end, legal):
    """Walk the properties from `at` to `end` and return the set of those that are there.

    `legal` is the set of those that may be. Raises MQTTError, 0x81 for a malformed block,
    0x82 for a property out of place, twice, or with a value that the standard forbids,
    0x94 for the Topic Alias 0.
    """
    seen = 0
    while at < end:
        mask = _place(buf[at], seen, legal)
        at = _value(buf, at, end, mask)
        seen |= mask
    return seen


def find(buf, at, end, identifier, nth=0):
    """The offset of the `nth` property of this number, -1 where there is none.

    The block has passed `check`.
    """
    while at < end:
        if buf[at] == identifier:
            if not nth:
                return at
            nth -= 1
        at = _behind(buf, at, end)
    return -1


def integer(buf, at, end, identifier, default):
    """The number that a property holds, `default` where it is absent; at most 0x3FFFFFFF."""
    at = find(buf, at, end, identifier)
    return default if at < 0 else number_at(buf, at, end)
