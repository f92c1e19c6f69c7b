"""Properties by their names, for people: made once, sent often. Loaded when first used.

answer = pack(content_type="application/json", user_properties=[("room", "kitchen")])
client.publish(topic, payload, properties=answer)
message.property(RESPONSE_TOPIC)
"""

from struct import pack as pack_number

from .core.packet import PROPERTY_TABLE
from .core.wire import encode_text, put_varint, prefix_u16_length

PAYLOAD_FORMAT = 0x01
MESSAGE_EXPIRY = 0x02
CONTENT_TYPE = 0x03
RESPONSE_TOPIC = 0x08
CORRELATION_DATA = 0x09
SUBSCRIPTION_IDENTIFIER = 0x0B
SESSION_EXPIRY = 0x11
ASSIGNED_CLIENT_IDENTIFIER = 0x12
SERVER_KEEP_ALIVE = 0x13
REQUEST_PROBLEM_INFORMATION = 0x17
WILL_DELAY = 0x18
REQUEST_RESPONSE_INFORMATION = 0x19
RESPONSE_INFORMATION = 0x1A
SERVER_REFERENCE = 0x1C
REASON_STRING = 0x1F
USER_PROPERTY = 0x26


def _one(identifier, value):
    """One property: its identifier, then the value in the type that the standard gives it."""
    kind = PROPERTY_TABLE[identifier] & 7
    head = bytes((identifier,))
    if kind == 7:
        return head + prefix_u16_length(encode_text(value[0])) + prefix_u16_length(encode_text(value[1]))
    if kind == 6:
        return head + prefix_u16_length(bytes(value))
    if kind == 5:
        return head + prefix_u16_length(encode_text(value))
    if not 0 <= value <= (0, 1, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFF)[kind]:
        raise ValueError("property 0x%02X: %d is out of range" % (identifier, value))
    if kind == 4:
        number = bytearray(4)
        return head + number[: put_varint(number, 0, value)]
    return head + pack_number((">B", ">H", ">I")[kind - 1], value)


def pack(
    *,
    payload_format=None,
    message_expiry=None,
    content_type=None,
    response_topic=None,
    correlation_data=None,
    session_expiry=None,
    request_problem_information=None,
    request_response_information=None,
    reason_string=None,
    user_properties=(),
):
    """Properties as bytes, for `publish(..., properties=)` and whatever else takes some.

    Of a message and a will (3.3.2.3): `payload_format` 1 says that the payload is UTF-8;
    `message_expiry` is in seconds; `correlation_data` is bytes, the others are str. Of
    `Client` (3.1.2.11): `request_response_information` 1, `request_problem_information` 0. Of
    `disconnect` (3.14.2.2): `session_expiry` in seconds, `reason_string`. `user_properties` is a list of
    pairs and keeps its order. Raises ValueError for a value that the standard forbids.
    """
    out = b""
    for identifier, value in (
        (PAYLOAD_FORMAT, payload_format),
        (MESSAGE_EXPIRY, message_expiry),
        (CONTENT_TYPE, content_type),
        (RESPONSE_TOPIC, response_topic),
        (CORRELATION_DATA, correlation_data),
        (SESSION_EXPIRY, session_expiry),
        (REQUEST_PROBLEM_INFORMATION, request_problem_information),
        (REQUEST_RESPONSE_INFORMATION, request_response_information),
        (REASON_STRING, reason_string),
    ):
        if value is not None:
            out += _one(identifier, value)
    if response_topic is not None and ("+" in response_topic or "#" in response_topic):
        raise ValueError("a response topic has no wildcards")  # [MQTT-3.3.2-14]
    for pair in user_properties:
        out += _one(USER_PROPERTY, pair)
    return out
