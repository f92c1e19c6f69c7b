"""Text from outside cannot control the terminal, whatever prints it."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
from rich.live import Live
from rich.panel import Panel
from rich.prompt import Prompt
from rich.table import Table
from rich.text import Text

from tools.console import Console, echo, escape_controls
from tools.paths import ROOT

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10)]
HOSTILE = "".join(CONTROLS) + "\x1b]0;title\x07\x1b[2J[/x][red]\u202eabc\ud800[link=http://x]"


def controls_in(text: str) -> set[str]:
    """Return the control characters in the output, without the styles of rich."""
    return set(re.sub(r"\x1b\[[0-9;]*m", "", text)) & {*CONTROLS, "\u202e", "\ud800"}


def test_each_control_character_becomes_a_visible_escape() -> None:
    for control in CONTROLS:
        assert escape_controls(f"a{control}b") == f"a\\x{ord(control):02x}b"
    assert escape_controls("a\tb\nc é ° \u202e") == "a\tb\nc é ° \\u202e"
    assert escape_controls(escape_controls(HOSTILE)) == escape_controls(HOSTILE)


@pytest.mark.parametrize("terminal", (False, True))
def test_the_console_escapes_text_in_each_kind_of_output(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=500, legacy_windows=False)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    for what in (
        HOSTILE,
        Text(HOSTILE),
        Text.assemble((HOSTILE, "bold")),
        table,
        Panel(HOSTILE, title=Text(HOSTILE)),
    ):
        console.print(what)
    console.print(HOSTILE, style="red", soft_wrap=True)
    Prompt.ask(Text(HOSTILE), console=console, default=HOSTILE, stream=io.StringIO("x\n"))
    text = out.getvalue()
    assert "\\x1b]0;title" in text and "[/x][red]" in text
    assert controls_in(text) == set()


def test_a_live_view_escapes_text() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=500)
    with Live(console=console, auto_refresh=False) as live:
        live.update(Panel(HOSTILE), refresh=True)
    assert controls_in(out.getvalue()) == set() and "\\x1b" in out.getvalue()


def test_echo_escapes_text() -> None:
    out = io.StringIO()
    echo(HOSTILE, out)
    assert out.getvalue() == escape_controls(HOSTILE) + "\n"


def test_a_log_with_escape_sequences_is_decoded_without_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools", "decode-traceback"],
        cwd=ROOT,
        input='\x1b]0;x\x07 File "node", line 3, in \x9b31m\n[/x]\n',
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert controls_in(done.stdout) == set() and "[/x]" in done.stdout


def test_every_tool_uses_this_console() -> None:
    for path in (ROOT / "tools").rglob("*.py"):
        text = path.read_text()
        parts = set(path.relative_to(ROOT / "tools").parts)
        if path.name == "console.py" or parts & {"on_board", "vm"}:
            continue
        assert "from rich.console import Console" not in text, path
        assert not re.search(r"^from rich\.console import .*\bConsole\b", text, re.M), path
