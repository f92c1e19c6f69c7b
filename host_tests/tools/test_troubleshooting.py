"""docs/troubleshooting.md: each message of the project that it quotes occurs in the sources."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from host_tests.vms import run_64
from tools.paths import FIRMWARE, LIB, ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
_MARK = "<!-- messages of the project -->\n"
# placeholders in the sources: % formats, fields of str.format and of f-strings, variables of the Makefile
_PLACEHOLDER = re.compile(r"%[-\d.]*[sdrxX]|%02X|\{[^{}]*\}|\$\([^()]*\)|\0")
_VALUE = re.compile(
    r"\.\.\.|\b[A-Z]{1,4}-[A-Z-]+\b|\b(?:SSID|HOST|PORT|NAME|PYTHON|BOARD|DEVICE|N)\b(?!=)|\b(?:HTTP|TLS)(?=,)|payload|outbox"
)


def quoted_messages() -> list[str]:
    """Return the messages in the first columns of the marked tables."""
    messages = []
    for part in PAGE.split(_MARK)[1:]:
        for line in part.split("\n## ")[0].splitlines():
            if line.startswith("| `"):
                messages += re.findall(r"`([^`]+)`", line.split(" | ")[0])
    return messages


@cache
def texts() -> str:
    """Return all texts of the sources without placeholders, one a line."""
    found = []
    for folder in (LIB, FIRMWARE, ROOT / "boards", ROOT / "tools"):
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    makefile = (ROOT / "Makefile").read_text()
    found += [
        text for pair in re.findall(r'echo "([^"]+)"|\$\(error (.+)\)$', makefile, re.M) for text in pair
    ]
    return "\n".join(_PLACEHOLDER.sub("\n", text) for text in found)


def fragments(message: str) -> list[str]:
    """Return the parts of a message that are literally in a text; the code joins sentences from several."""
    parts = []
    for part in _VALUE.split(message):
        sentences = re.split(r"(?<=[.:;,?])\s+|(?<=[a-z])(?=:)|\s*\(0x\w+\)", part)
        parts += [sentence.strip(" .,:;()") for sentence in sentences]
    return [part for part in parts if len(part) > 3]


def test_the_page_quotes_many_messages() -> None:
    assert len(quoted_messages()) > 50


@pytest.mark.parametrize("message", quoted_messages())
def test_a_quoted_message_is_in_the_sources(message: str) -> None:
    assert fragments(message), "only placeholders"
    assert [part for part in fragments(message) if part not in texts()] == []


def test_a_message_that_no_source_has_is_found() -> None:
    for message in ("connection refused. Is the broker asleep?", "payload must be a picture, not ..."):
        assert [part for part in fragments(message) if part not in texts()] != []


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import umqtt6", "ImportError: no module named 'umqtt6'"),
        ("bytearray(1 << 40)", "MemoryError: memory allocation failed, allocating 1099511627776 bytes"),
        ("def f(): f()\nf()", "RuntimeError: maximum recursion depth exceeded"),
        ("import broken", "ValueError: incompatible .mpy file"),
    ],
)
def test_messages_of_micropython_are_those_of_the_vm(program: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.mpy").write_bytes(b"M\x05\x00\x1f")
    with pytest.raises(AssertionError) as failed:
        run_64(["-c", program], [tmp_path])
    assert message in str(failed.value)
    name = re.sub(r"\d{3,}", "N", message).replace("umqtt6", "umqtt5")
    assert f"`{name}`" in PAGE
