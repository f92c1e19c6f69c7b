"""The Python snippets of README and docs/, and programs that run them with the broker of a test."""

from __future__ import annotations

import re
from pathlib import Path

from host_tests.examples.running import Example
from tools import broker
from tools.paths import ROOT

_BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PRINTED = re.compile(r"print\(.*\)  # (.+)$", re.MULTILINE)


def read_snippets(page: str) -> list[str]:
    """Return the Python blocks of a page, whose path begins at the root of the project."""
    return _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def expected_lines(snippet: str) -> list[str]:
    """Return the lines that the comments after `print` promise."""
    return _PRINTED.findall(snippet)


def start_snippet(folder: Path, interpreter: str, snippet: str, address: broker.Address) -> Example:
    """Start a snippet unchanged. Only `tcp.connect` is replaced, so that each broker is that of the test."""
    (folder / "snippet.py").write_text(snippet, encoding="utf-8")
    (folder / "start.py").write_text(
        "import umqtt5.tcp as tcp\n"
        "connect = tcp.connect\n"
        f"tcp.connect = lambda host, port: connect({address.host!r}, {address.port})\n"
        "exec(open('snippet.py').read(), {'__name__': '__main__'})\n"
    )
    return Example(folder, "start", interpreter)
