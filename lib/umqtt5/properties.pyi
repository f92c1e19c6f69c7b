from collections.abc import Iterable
from typing import Final

PAYLOAD_FORMAT: Final = 0x01
"""int: 1 if the payload is UTF-8 text, 0 if it is not specified."""
MESSAGE_EXPIRY: Final = 0x02
"""int: seconds after which the broker drops the message."""
CONTENT_TYPE: Final = 0x03
"""str: the type of the payload, such as `application/json`."""
RESPONSE_TOPIC: Final = 0x08
"""str: the topic for the response to a request."""
CORRELATION_DATA: Final = 0x09
"""bytes: the value that a response repeats."""
SUBSCRIPTION_IDENTIFIER: Final = 0x0B
"""int: the number of a subscription that matches the message."""
SESSION_EXPIRY: Final = 0x11
"""int: seconds for which the broker keeps the session."""
ASSIGNED_CLIENT_IDENTIFIER: Final = 0x12
"""str: in a CONNACK, the client identifier that the broker has chosen."""
SERVER_KEEP_ALIVE: Final = 0x13
"""int: in a CONNACK, the keep-alive in seconds that the broker requires."""
REQUEST_PROBLEM_INFORMATION: Final = 0x17
"""int: in CONNECT, 0 asks the broker to omit reason strings."""
WILL_DELAY: Final = 0x18
"""int: seconds that the broker waits before it publishes the will."""
REQUEST_RESPONSE_INFORMATION: Final = 0x19
"""int: in CONNECT, 1 asks the broker for Response Information."""
RESPONSE_INFORMATION: Final = 0x1A
"""str: in a CONNACK, the prefix for response topics."""
SERVER_REFERENCE: Final = 0x1C
"""str: another server to use."""
REASON_STRING: Final = 0x1F
"""str: the reason in words."""
USER_PROPERTY: Final = 0x26
"""tuple of two str: a name and its value."""

def pack(
    *,
    payload_format: int | None = None,
    message_expiry: int | None = None,
    content_type: str | None = None,
    response_topic: str | None = None,
    correlation_data: bytes | bytearray | memoryview | None = None,
    session_expiry: int | None = None,
    request_problem_information: int | None = None,
    request_response_information: int | None = None,
    reason_string: str | None = None,
    user_properties: Iterable[tuple[str, str]] = (),
) -> bytes: ...
