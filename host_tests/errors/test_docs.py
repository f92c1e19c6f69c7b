"""docs/errors.md lists each reason code of CONNACK, as the code treats it."""

from __future__ import annotations

import re

from tools.paths import ROOT
from umqtt5.core.errors import MQTTError
from umqtt5.optional import error_texts
from umqtt5.reason_codes import reason_name

PAGE = (ROOT / "docs" / "errors.md").read_text()
ROWS = re.findall(r"^\| 0x(\w\w) \| ([^|]+) \| (yes|no) \| ([^|]+) \|$", PAGE, re.MULTILINE)
# reason codes of CONNACK in table 3-1 of the standard
CONNACK_CODES = [0x80 + n for n in range(0x0B)] + [0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F]


def refusal(code: int) -> MQTTError:
    error = MQTTError(code)
    error.is_refusal = error.from_broker = True
    error.host, error.port = "broker", 1883
    return error


def test_the_table_has_each_reason_code_of_connack() -> None:
    assert [int(code, 16) for code, *_ in ROWS] == CONNACK_CODES


def test_the_table_says_what_the_code_does() -> None:
    for text, name, is_permanent, _ in ROWS:
        code = int(text, 16)
        assert reason_name(code) == f"{name} (0x{code:02X})"
        assert refusal(code).is_permanent == (is_permanent == "yes"), name
        assert ("permanent: retrying cannot fix it" in str(refusal(code))) == (is_permanent == "yes")


def test_each_permanent_refusal_says_what_to_do() -> None:
    for text, _, is_permanent, _ in ROWS:
        assert is_permanent == "no" or error_texts._REFUSAL_ADVICE[int(text, 16)] in str(
            refusal(int(text, 16))
        )
