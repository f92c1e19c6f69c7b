"""What a program on a board writes cannot change the title or the clipboard of the terminal."""

from __future__ import annotations

import io
import os

import pytest

from host_tests.tools.test_console import CONTROLS
from tools.terminal_filter import TerminalFilter, copy_filtered


def filter_all(data: bytes, chunk: int) -> str:
    terminal_filter = TerminalFilter()
    text = "".join(terminal_filter.feed(data[at : at + chunk]) for at in range(0, len(data), chunk))
    return text + terminal_filter.feed(b"", final=True)


@pytest.mark.parametrize("chunk", (1, 2, 5, 1000))
def test_a_prompt_keeps_its_cursor_movements_and_styles(chunk: int) -> None:
    text = ">>> pri\x08\x1b[K\x1b[3Dx\x1b[2C\r\n\x1b[1;31mred\x1b[m \t°\r\n"
    assert filter_all(text.encode(), chunk) == text


@pytest.mark.parametrize("chunk", (1, 2, 5, 1000))
def test_other_control_sequences_become_visible(chunk: int) -> None:
    for text in (
        "\x1b]0;title\x07",
        "\x1b]52;c;eA==\x1b\\",
        "\x1b[2J",
        "\x1b[5n",
        "\x1bc",
        "\x1b[?1049h",
        "\x1b",
    ):
        shown = filter_all(text.encode(), chunk)
        assert "\x1b" not in shown and shown.startswith("\\x1b"), text
    for control in set(CONTROLS) - {"\x08", "\r", "\x1b"}:
        assert filter_all(f"a{control}b".encode(), chunk) == f"a\\x{ord(control):02x}b"
    assert filter_all(b"a\xff\xfeb", chunk) == "a\ufffd\ufffdb"
    assert filter_all("\u202e".encode(), chunk) == "\\u202e"


def test_a_sequence_without_end_is_not_held_back_forever() -> None:
    terminal_filter = TerminalFilter()
    assert terminal_filter.feed(b"\x1b[" + b"1;" * 50).startswith("\\x1b[")


def test_the_output_of_a_program_is_copied_until_its_end() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"a\x1b]0;x\x07\xe2\x82")
    os.close(write_end)
    out = io.StringIO()
    with open(read_end, "rb") as source:
        copy_filtered(source, out)
    assert out.getvalue() == "a\\x1b]0;x\\x07\ufffd"
