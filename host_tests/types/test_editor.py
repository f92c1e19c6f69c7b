"""With the settings in docs/types.md, an editor completes names and shows documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tests.types.checkers import stubs_of_micropython
from host_tests.types.language_server import LanguageServer
from tools.paths import LIB, ROOT

PAGE = (ROOT / "docs" / "types.md").read_text()
SETTINGS = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])

PROGRAM = """\
import machine
from time import sleep_ms

from umqtt5 import Client, Message, aio, tls
from umqtt5.properties import pack

client = Client("broker.local")


@client.on("a")
def handle(message: Message) -> None:
    message.


async def main(client: aio.Client) -> None:
    await client.publish("a", b"x")
    await client.connect()


client.
client.publish
client.max_reconnect_delay
tls.context
pack
machine.
"""
LINES = PROGRAM.splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "typings").symlink_to(stubs_of_micropython())
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[LanguageServer]:
    settings: dict[str, Any] = {**SETTINGS, "python.analysis.extraPaths": [str(LIB)]}
    with LanguageServer(folder, settings) as server:
        yield server


@pytest.fixture(scope="module")
def document(server: LanguageServer) -> dict[str, str]:
    return server.open("main.py", PROGRAM)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("    message.", "topic payload qos retain property equals copy_into refuse"),
        ("machine.", "Pin UART reset"),
    ],
)
def test_the_editor_completes(
    line: str, names: str, server: LanguageServer, document: dict[str, str]
) -> None:
    at = LINES.index(line)
    assert set(names.split()) <= set(server.complete(document, at, len(line)))


def test_the_editor_completes_the_methods_and_callbacks_of_the_client(
    server: LanguageServer, document: dict[str, str]
) -> None:
    offered = server.complete(document, LINES.index("client."), len("client."))
    names = "publish subscribe on poll connect disconnect will topic request on_state on_ack on_error"
    assert set(names.split()) <= set(offered)


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("client.publish", "publish", "Publish a payload (bytes or str) to a topic"),
        ("client = ", "Client", "MQTT 5.0 client in a fixed amount of memory"),
        ("client.max_reconnect_delay", "max_", "Maximum number of ms between two tries to connect"),
        ("tls.context", "context", "Return an SSLContext for `Client(ssl=)`"),
        ("pack", "pack", "Return encoded properties (bytes)"),
        ("from umqtt5.properties", "properties", "Properties of MQTT 5.0 by name"),
        ("def handle", "Message", "view of the receive buffer"),
        ("await client.publish", "publish", "Publish a message and wait for the acknowledgement"),
        ("await client.connect", "connect", "Connect, and reconnect from now on"),
        ("from time", "sleep_ms", "Delay for given number of milliseconds"),
    ],
)
def test_the_editor_shows_the_documentation(
    line: str, name: str, text: str, server: LanguageServer, document: dict[str, str]
) -> None:
    number = next(i for i, source in enumerate(LINES) if source.strip().startswith(line))
    shown = server.hover(document, number, LINES[number].rindex(name) + 1)
    assert text in shown.replace("\\", "").replace("&nbsp;", " ")
