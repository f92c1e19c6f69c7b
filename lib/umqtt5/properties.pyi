from collections.abc import Iterable
from typing import Final

PAYLOAD_FORMAT: Final = 0x01
MESSAGE_EXPIRY: Final = 0x02
CONTENT_TYPE: Final = 0x03
RESPONSE_TOPIC: Final = 0x08
CORRELATION_DATA: Final = 0x09
SUBSCRIPTION_IDENTIFIER: Final = 0x0B
SESSION_EXPIRY: Final = 0x11
ASSIGNED_CLIENT_IDENTIFIER: Final = 0x12
SERVER_KEEP_ALIVE: Final = 0x13
REQUEST_PROBLEM_INFORMATION: Final = 0x17
WILL_DELAY: Final = 0x18
REQUEST_RESPONSE_INFORMATION: Final = 0x19
RESPONSE_INFORMATION: Final = 0x1A
SERVER_REFERENCE: Final = 0x1C
REASON_STRING: Final = 0x1F
USER_PROPERTY: Final = 0x26

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
