"""The snippets of the README do what the README says, in the VM and on CPython, with real brokers."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.examples.running import observe
from host_tests.examples.snippets import read_snippets, start_snippet
from tools import broker
from tools.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PUBLISH, SUBSCRIBE, ASYNCIO = read_snippets("README.md")

on_each_interpreter = pytest.mark.parametrize("interpreter", ["vm", "cpython"])


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
    for snippet in (PUBLISH, SUBSCRIBE, ASYNCIO):
        assert len([line for line in snippet.splitlines() if line.strip()]) <= 10


def test_the_first_screen_names_the_project_and_shows_it() -> None:
    beginning = README.splitlines()[:36]
    assert beginning[0] == "# umqtt5" and any(line.startswith("![") for line in beginning)


@on_each_interpreter
def test_the_publish_snippet_publishes_and_has_a_will(
    interpreter: str, any_broker: broker.Address, tmp_path: Path
) -> None:
    with observe(any_broker) as observer:
        with start_snippet(tmp_path, interpreter, PUBLISH, any_broker) as running:
            observer.wait_for("greenhouse/status", b"online", running)
            observer.wait_until(
                lambda: observer.payloads("greenhouse/temperature").count(b"21.5") >= 2, running
            )
        observer.wait_for("greenhouse/status", b"offline")
        observer.client.publish("greenhouse/status", b"", qos=1, retain=True, wait=5000)


@on_each_interpreter
def test_the_subscribe_snippet_calls_its_handler(
    interpreter: str, any_broker: broker.Address, tmp_path: Path
) -> None:
    with (
        observe(any_broker) as observer,
        start_snippet(tmp_path, interpreter, SUBSCRIBE, any_broker) as running,
    ):
        while "pump on" not in running.lines:  # until it has subscribed
            observer.publish("greenhouse/pump/set", b"ON")
            observer.client.poll(50)
        observer.publish("greenhouse/pump/set", b"OFF")
        running.wait_for_line("pump off")


@on_each_interpreter
def test_the_asyncio_snippet_publishes_and_receives(
    interpreter: str, any_broker: broker.Address, tmp_path: Path
) -> None:
    with (
        observe(any_broker) as observer,
        start_snippet(tmp_path, interpreter, ASYNCIO, any_broker) as running,
    ):
        observer.wait_for("panel/status", b"online", running)
        # retained messages of other tests may arrive, too
        observer.publish_until(
            "greenhouse/temperature",
            b"21.5",
            lambda: "greenhouse/temperature b'21.5'" in running.lines,
            running,
        )
