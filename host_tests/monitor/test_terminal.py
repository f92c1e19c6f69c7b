"""The monitor's terminal interface, driven by Textual's pilot, with a real device and broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.widgets import DataTable, Static
from textual_plotext import PlotextPlot

from host_tests.board.rig import run_tool
from tools.broker import Mosquitto
from tools.monitor.model import MonitorModel
from tools.monitor.terminal import MonitorApp
from tools.vm.device import SimulatedDevice

_SECONDS = 30


async def wait_until(condition: Callable[[], object]) -> None:
    for _ in range(_SECONDS * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the condition did not become true")


def test_the_terminal_shows_a_device_switches_it_and_reports_a_lost_broker(
    private_broker: Mosquitto, dut: SimulatedDevice, prefix: str
) -> None:
    async def main() -> None:
        model = MonitorModel(private_broker.address, prefix, [])
        model.connect()
        app = MonitorApp(model)
        async with app.run_test(size=(120, 40)) as pilot:
            await wait_until(
                lambda: app.device == "dut" and "uptime" in model.monitor.devices["dut"].readings
            )
            await wait_until(lambda: len(app.query_one("#readings", DataTable).rows) >= 4)
            await wait_until(lambda: "last 30 s" in app.query_one("#plot", PlotextPlot).plt.build())
            before = dut.read_output("lamp")
            await pilot.press("1")  # key of the first switch, the lamp
            await wait_until(lambda: dut.read_output("lamp") not in ("", before))
            await wait_until(lambda: model.monitor.devices["dut"].switches["lamp"] == dut.read_output("lamp"))
            private_broker.stop()
            await wait_until(lambda: app.query_one("#banner", Static).has_class("shown"))
            private_broker.start()
            await wait_until(lambda: not app.query_one("#banner", Static).has_class("shown"))
            lines = str(app.query_one("#events", Static).visual)
            assert "connection to the broker lost" in lines and ": TOGGLE: done after " in lines
            await pilot.press("q")
        model.close()

    asyncio.run(main())


def test_without_a_terminal_the_monitor_prints_lines(
    private_broker: Mosquitto, dut: SimulatedDevice, prefix: str
) -> None:
    address = f"mqtt://127.0.0.1:{private_broker.address.port}"
    output = run_tool("monitor", "--broker", address, "--prefix", prefix, "--seconds", "5")
    assert "dut: online: " in output and "uptime " in output and "lamp O" in output
