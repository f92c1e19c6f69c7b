"""The monitor in a terminal, driven by Textual's pilot, with a real device and broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.widgets import DataTable, RichLog, Static
from textual_plotext import PlotextPlot

from host_tests.board.rig import tool
from tools.broker import Mosquitto
from tools.monitor.model import Hub
from tools.monitor.terminal import Monitor
from tools.vm.device import Device

_SECONDS = 30


async def until(condition: Callable[[], object]) -> None:
    for _ in range(_SECONDS * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it does not come")


def test_a_device_is_seen_switched_and_missed(own_broker: Mosquitto, dut: Device, prefix: str) -> None:
    async def scene() -> None:
        hub = Hub(own_broker.address, prefix, [])
        hub.connect()
        app = Monitor(hub)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(lambda: app.device == "dut" and "uptime" in hub.watch.devices["dut"].readings)
            await until(lambda: len(app.query_one("#readings", DataTable).rows) >= 4)
            await until(lambda: "last 300 s" in app.query_one("#plot", PlotextPlot).plt.build())
            before = dut.output("lamp")
            await pilot.press("1")  # the lamp comes first
            await until(lambda: dut.output("lamp") not in ("", before))
            await until(lambda: hub.watch.devices["dut"].switches["lamp"] == dut.output("lamp"))
            own_broker.stop()
            await until(lambda: app.query_one("#banner", Static).has_class("shown"))
            own_broker.start()
            await until(lambda: not app.query_one("#banner", Static).has_class("shown"))
            lines = "\n".join(line.text for line in app.query_one("#log", RichLog).lines)
            assert "link to the broker lost" in lines
            await pilot.press("q")
        hub.close()

    asyncio.run(scene())


def test_without_a_terminal_it_prints_lines(own_broker: Mosquitto, dut: Device, prefix: str) -> None:
    address = f"mqtt://127.0.0.1:{own_broker.address.port}"
    said = tool("monitor", "--broker", address, "--prefix", prefix, "--seconds", "5")
    assert "dut: online: " in said and "uptime " in said and "lamp O" in said
