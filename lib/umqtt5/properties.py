"""Properties of MQTT 5.0 by name (section 2.2.2): `pack()` encodes them, the constants are their identifiers.

    properties = pack(content_type="application/json", user_properties=[("room", "kitchen")])
    client.publish(topic, payload, properties=properties)
    message.property(RESPONSE_TOPIC)

Pack properties once and use them for many messages.
"""

from struct import pack as pack_number

from .core.packet import PROPERTY_TABLE
from .core.wire import encode_text, prefix_u16_length, put_varint

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
    """Return one encoded property: its identifier, then the value in the data type of the property."""
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
    """Return encoded properties (bytes), for `publish(..., properties=)` and other methods.

    For a message and a will (3.3.2.3): `payload_format` 1 declares the payload to be UTF-8; `message_expiry`
    in seconds; `content_type` and `response_topic` (str); `correlation_data` (bytes). For CONNECT, in
    `Client(properties=)` (3.1.2.11): `request_response_information=1`, `request_problem_information=0`. For
    `disconnect` (3.14.2.2): `session_expiry` in seconds, `reason_string`. For all of them:
    `user_properties`, a sequence of (name, value) whose order is kept.

    Raises ValueError for a value that the standard forbids.
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
        raise ValueError("response_topic must not have wildcards")  # [MQTT-3.3.2-14]
    for pair in user_properties:
        out += _one(USER_PROPERTY, pair)
    return out
