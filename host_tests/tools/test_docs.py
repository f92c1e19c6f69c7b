"""The examples of the pages do what the pages say."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

import pytest

from tools.paths import LIB, ROOT

UNIT = ROOT / "host_tests" / "unit"
PAGES = ("client.md", "connection.md", "optional-features.md")


def examples(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


BLOCKS = [(page, i, block) for page in (*PAGES, "journal.md") for i, block in enumerate(examples(page))]


@pytest.fixture
def scripted_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`umqtt5.Client` talks to a scripted broker on a simulated clock; its files are in its own folder."""
    monkeypatch.chdir(tmp_path)
    for folder in (UNIT, LIB):
        monkeypatch.syspath_prepend(str(folder))
    import umqtt5
    from umqtt5.core import client, connection

    for name in ("ticks_ms", "sleep_ms", "poll"):  # the simulation replaces them
        monkeypatch.setattr(connection, name, getattr(connection, name))
    from answering_broker import BrokerSimulation

    there = functools.partial(client.Client, transport=BrokerSimulation().connect)
    monkeypatch.setattr(umqtt5, "Client", there, raising=False)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_examples(page: str) -> None:
    assert len(examples(page)) >= 5


@pytest.mark.parametrize(("page", "i", "block"), BLOCKS, ids=[f"{page}-{i}" for page, i, _ in BLOCKS])
def test_example(
    page: str, i: int, block: str, scripted_broker: None, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = re.findall(r"(?:^client\.\w+\(.*\)|print\(.*\)) {2}# (.+)$", block, re.MULTILINE)
    exec(compile(block, f"docs/{page}", "exec"), {})
    assert capsys.readouterr().out.splitlines() == expected and expected
    assert "umqtt5" in sys.modules


def test_the_example_for_umqtt_simple(
    scripted_broker: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from answering_broker import BrokerSimulation

    from umqtt5 import simple

    monkeypatch.setattr(simple.MQTTClient, "TRANSPORT", staticmethod(BrokerSimulation().connect))
    (block,) = examples("from-umqtt-simple.md")
    exec(compile(block, "docs/from-umqtt-simple.md", "exec"), {})
    assert capsys.readouterr().out == "(b'foo_topic', b'hello')\n"
