"""Properties by their names, for people: made once, sent often. Loaded when first used.

answer = pack(content_type="application/json", user=[("room", "kitchen")])
client.publish(topic, payload, properties=answer)
message.property(RESPONSE_TOPIC)
"""

from .props import kind
from .wire import encode_text, put_u16, put_u32, put_varint, varint_size

PAYLOAD_FORMAT = 0x01
MESSAGE_EXPIRY = 0x02
CONTENT_TYPE = 0x03
RESPONSE_TOPIC = 0x08
CORRELATION_DATA = 0x09
SUBSCRIPTION_IDENTIFIER = 0x0B
SESSION_EXPIRY = 0x11
ASSIGNED_CLIENT_IDENTIFIER = 0x12
SERVER_KEEP_ALIVE = 0x13
RESPONSE_INFORMATION = 0x1A
SERVER_REFERENCE = 0x1C
REASON_STRING = 0x1F
USER_PROPERTY = 0x26


def _one(identifier, value):
    """One property: its identifier, then the value in the type that the standard gives it."""
    of = kind(identifier)
    if of >= 5:
        parts = value if of == 7 else (value,)
        out = bytes((identifier,))
        for part in parts:
            data = bytes(part) if of == 6 else encode_text(part)
            out += bytes((len(data) >> 8, len(data) & 0xFF)) + data
        return out
    if not 0 <= value <= (0, 1, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFF)[of]:
        raise ValueError("property 0x%02X: %d is out of range" % (identifier, value))
    buf = bytearray(1 + (varint_size(value) if of == 4 else 1 << (of - 1)))
    buf[0] = identifier
    if of == 1:
        buf[1] = value
    else:
        (put_u16, put_u32, put_varint)[of - 2](buf, 1, value)
    return bytes(buf)


def pack(
    *,
    payload_format=None,
    message_expiry=None,
    content_type=None,
    response_topic=None,
    correlation_data=None,
    user=(),
):
    """Properties of a PUBLISH (3.3.2.3) as bytes, for `publish(..., properties=)` or a will.

    `payload_format` 1 says that the payload is UTF-8; `message_expiry` is in seconds;
    `correlation_data` is bytes, the other values are str; `user` is a list of pairs and
    keeps its order. Raises ValueError for a value that the standard forbids.
    """
    out = b""
    for identifier, value in (
        (PAYLOAD_FORMAT, payload_format),
        (MESSAGE_EXPIRY, message_expiry),
        (CONTENT_TYPE, content_type),
        (RESPONSE_TOPIC, response_topic),
        (CORRELATION_DATA, correlation_data),
    ):
        if value is not None:
            out += _one(identifier, value)
    if response_topic is not None and ("+" in response_topic or "#" in response_topic):
        raise ValueError("a response topic has no wildcards")  # [MQTT-3.3.2-14]
    for pair in user:
        out += _one(USER_PROPERTY, pair)
    return out
