"""A publisher that attacks the terminal of the monitor with names, states and errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from textual.widgets import Button, DataTable

from host_tests.board.rig import run_tool
from host_tests.monitor.test_terminal import wait_until
from host_tests.tools.test_console import CONTROLS, controls_in
from tools.broker import Mosquitto
from tools.monitor.model import MonitorModel
from tools.monitor.terminal import MonitorApp
from umqtt5 import Client

PREFIX = "hostile"
MARKUP = "[/x][bold][@click=app.quit]x[/]"
TEXTS = (MARKUP, "".join(CONTROLS[1:]), "\x1b]0;t\x07", "\u202eabc", "%s%n{}", "x" * 5000)


@pytest.fixture
def broker_with_messages(private_broker: Mosquitto) -> Iterator[Mosquitto]:
    """A broker with retained messages whose names and payloads are hostile."""
    address = private_broker.address
    with Client(
        address.host, address.port, client_id="attacker", tx=16384, outbox=65536, inflight=20
    ) as client:
        for number, text in enumerate(TEXTS):
            name = "".join(c for c in text if c.isprintable() and c not in "+#/")[:20] or "d"
            for device in (f"d{number}", f"{number}{name}"):
                for topic, payload in (
                    ("status", text),
                    ("sensor/a", "1"),
                    (f"sensor/{name}", "2"),
                    (f"switch/{name}", text),
                    ("switch/lamp", json.dumps({"state": text})),
                    ("health", json.dumps({text: text, "uptime": text})),
                ):
                    client.publish(
                        f"{PREFIX}/{device}/{topic}",
                        text if topic == "status" else payload,
                        1,
                        True,
                        wait=True,
                    )
        yield private_broker


def test_the_terminal_view_survives_hostile_messages(broker_with_messages: Mosquitto) -> None:
    async def main() -> None:
        model = MonitorModel(broker_with_messages.address, PREFIX, [])
        model.connect()
        app = MonitorApp(model)
        async with app.run_test(size=(160, 50)) as pilot:
            await wait_until(lambda: len(app.query_one("#devices", DataTable).rows) == 2 * len(TEXTS))
            for _ in range(2 * len(TEXTS)):
                await pilot.press("down", "n", "1")
                await pilot.pause()
                app.show_all()
                await pilot.pause()
            buttons = " ".join(str(button.label) for button in app.query(Button))
            assert controls_in(buttons) == set()
            cells = [
                str(cell)
                for row in app.query_one("#devices", DataTable).rows
                for cell in app.query_one("#devices", DataTable).get_row(row)
            ]
            # the column has no room for all of it
            assert f"◌ {MARKUP[:8]}…" in " ".join(cells) and controls_in("".join(cells)) == set()
            assert app.is_running
            await pilot.press("q")
        model.close()

    asyncio.run(main())


def test_the_lines_of_the_monitor_have_no_control_characters(broker_with_messages: Mosquitto) -> None:
    url = f"mqtt://127.0.0.1:{broker_with_messages.address.port}"
    output = run_tool("monitor", "--broker", url, "--prefix", PREFIX, "--seconds", 3)
    assert MARKUP in output and controls_in(output) == set()
