"""The Python examples in docs/ print what their comments say."""

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


BLOCKS = [
    (page, i, block) for page in (*PAGES, "journal.md", "calls.md") for i, block in enumerate(examples(page))
]


@pytest.fixture
def scripted_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Connect `umqtt5.Client` to a simulated broker on a simulated clock, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for folder in (UNIT, LIB):
        monkeypatch.syspath_prepend(str(folder))
    import umqtt5
    from umqtt5.core import client, connection

    for name in ("ticks_ms", "sleep_ms", "poll"):  # restored after the test, because the simulation sets them
        monkeypatch.setattr(connection, name, getattr(connection, name))
    from answering_broker import BrokerSimulation

    # the interrupt happens while the program does nothing else
    schedule = lambda function, argument: function(argument)  # noqa: E731
    monkeypatch.setattr(sys.modules["micropython"], "schedule", schedule, raising=False)
    simulated_client = functools.partial(client.Client, transport=BrokerSimulation().connect)
    monkeypatch.setattr(umqtt5, "Client", simulated_client, raising=False)


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_at_least_five_examples(page: str) -> None:
    assert len(examples(page)) >= 5


@pytest.mark.parametrize(("page", "i", "block"), BLOCKS, ids=[f"{page}-{i}" for page, i, _ in BLOCKS])
def test_each_example_prints_what_its_comments_say(
    page: str, i: int, block: str, scripted_broker: None, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = re.findall(r"(?:^client\.\w+\(.*\)|print\(.*\)) {2}# (.+)$", block, re.MULTILINE)
    exec(compile(block, f"docs/{page}", "exec"), {})
    assert capsys.readouterr().out.splitlines() == expected and expected
    assert "umqtt5" in sys.modules


def test_the_example_for_umqtt_simple_receives_its_message(
    scripted_broker: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from answering_broker import BrokerSimulation

    from umqtt5 import simple

    monkeypatch.setattr(simple.MQTTClient, "umqtt5_options", {"transport": BrokerSimulation().connect})
    (block,) = examples("from-umqtt-simple.md")
    exec(compile(block, "docs/from-umqtt-simple.md", "exec"), {})
    assert capsys.readouterr().out == "(b'foo_topic', b'hello')\n"
