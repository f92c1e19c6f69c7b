"""The examples of docs/features.md do what the page says."""

from __future__ import annotations

import functools
import re
import sys

import pytest

from tools.paths import LIB, ROOT

UNIT = ROOT / "host_tests" / "unit"
PAGE = (ROOT / "docs" / "features.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """`umqtt5.Client` talks to a scripted broker on a simulated clock."""
    for folder in (UNIT, LIB):
        monkeypatch.syspath_prepend(str(folder))
    import umqtt5
    from umqtt5 import client

    for name in ("ticks_ms", "sleep_ms", "poll"):  # the world replaces them
        monkeypatch.setattr(client, name, getattr(client, name))
    from answering import Answers

    there = functools.partial(client.Client, transport=Answers().connect)
    monkeypatch.setattr(umqtt5, "Client", there, raising=False)


def test_the_page_has_examples() -> None:
    assert len(BLOCKS) == PAGE.count("\n## ") + 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_example(block: str, scripted: None, capsys: pytest.CaptureFixture[str]) -> None:
    expected = re.findall(r"(?:^client\.\w+\(.*\)|print\(.*\)) {2}# (.+)$", block, re.MULTILINE)
    exec(compile(block, "docs/features.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == expected and expected
    assert "umqtt5" in sys.modules
