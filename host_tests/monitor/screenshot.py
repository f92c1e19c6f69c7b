"""`python -m host_tests.monitor.screenshot`: pictures of the page and of the terminal views.

All pictures go to build/screenshots: the page at the width of a desktop and of a phone, light and dark, and
the terminal views of demo and monitor at three sizes. docs/monitor.png and docs/demo.png are two of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from host_tests.monitor import example_devices
from host_tests.monitor.test_web_page import running_monitor
from tools.broker import Mosquitto
from tools.demo.cards import DemoApp
from tools.demo.command import DEVICE_NAMES
from tools.monitor.alerts import parse_rule
from tools.monitor.model import MonitorModel
from tools.monitor.terminal import MonitorApp
from tools.monitor.terminal_base import DeviceApp
from tools.paths import BUILD, ROOT
from tools.vm.device import SimulatedDevice, host_config

_FOLDER = BUILD / "screenshots"
_PREFIX = "umqtt5"
_RULE = "*/chip_temperature above 70"
_HISTORY = 3000.0  # seconds
TERMINALS = ((80, 24), (100, 30), (160, 50))
PAGES = {"desktop": (1280, 960), "phone": (390, 844)}
_DEMO_SECONDS = 54  # the charts of the demo then span a minute


async def _draw_terminals(app: DeviceApp, name: str, seconds: float, keys: Sequence[str]) -> None:
    """Run an application for some seconds, press keys, and save its screen at each size as SVG."""
    async with app.run_test(size=TERMINALS[0]) as pilot:
        await pilot.pause(seconds / 2)
        await pilot.press(*keys)
        await pilot.pause(seconds / 2)
        for columns, rows in TERMINALS:
            await pilot.resize_terminal(columns, rows)
            await pilot.pause(1.2)
            svg = app.export_screenshot()
            (_FOLDER / f"{name}-{columns}x{rows}.svg").write_text(svg, encoding="utf-8")


def _draw_demo() -> None:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Mosquitto())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = MonitorModel(broker.address, "umqtt5-demo", [], shared_broker=False)
        model.connect()
        stack.callback(model.close)
        devices = [
            stack.enter_context(
                SimulatedDevice(folder / name, host_config(name, broker.address, "umqtt5-demo"))
            )
            for name in DEVICE_NAMES
        ]
        app = DemoApp(model, DEVICE_NAMES, devices, lambda: True)
        asyncio.run(_draw_terminals(app, "demo", _DEMO_SECONDS, ("1", "5", "3")))


def _draw_monitor() -> None:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Mosquitto())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = example_devices.device_names(9)
        path = folder / "history.sqlite3"
        example_devices.store_history(path, f"{broker.address} {_PREFIX}", names, _HISTORY)
        model = MonitorModel(broker.address, _PREFIX, [parse_rule(_RULE)], history=path)
        model.connect()
        stack.callback(model.close)
        example_devices.publish_state(broker.address, _PREFIX, names)
        asyncio.run(_draw_terminals(MonitorApp(model), "monitor", 4, ("down", "down", "down")))


def _convert_to_png(browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1600, "height": 1200})
    for path in sorted(_FOLDER.glob("*.svg")):
        page.set_content(f"<body style='margin:0'>{path.read_text(encoding='utf-8')}</body>")
        page.locator("svg").first.screenshot(path=path.with_suffix(".png"), omit_background=True)
    page.close()


def _draw_pages(browser: Browser, names: list[str], kind: str, sizes: dict[str, tuple[int, int]]) -> None:
    """Save pictures of the page with some devices, in light and dark."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Mosquitto())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "history.sqlite3"
        example_devices.store_history(path, f"{broker.address} {_PREFIX}", names, _HISTORY)
        url = stack.enter_context(running_monitor(broker, _PREFIX, "--history", str(path), "--alert", _RULE))
        example_devices.publish_state(broker.address, _PREFIX, names)
        for size, (width, height) in sizes.items():
            for scheme in ("light", "dark"):
                color_scheme: Any = scheme
                page = browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme=color_scheme
                )
                page.goto(url)
                page.locator(".device").nth(len(names) - 1).wait_for(state="attached")
                example_devices.publish_state(broker.address, _PREFIX, names[:9])
                time.sleep(1)
                page.screenshot(path=_FOLDER / f"page-{kind}-{size}-{scheme}.png")
                page.close()


def main() -> None:
    """Draw all pictures, or those whose names are given: demo, monitor, pages."""
    wanted = set(sys.argv[1:]) or {"demo", "monitor", "pages"}
    _FOLDER.mkdir(parents=True, exist_ok=True)
    if "demo" in wanted:
        _draw_demo()
    if "monitor" in wanted:
        _draw_monitor()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        _convert_to_png(browser)
        if "pages" in wanted:
            _draw_pages(browser, example_devices.device_names(3), "few", PAGES)
            _draw_pages(browser, example_devices.device_names(200), "many", PAGES)
        browser.close()
    for source, target in (("page-few-desktop-light", "monitor"), ("demo-100x30", "demo")):
        if (_FOLDER / f"{source}.png").exists():
            shutil.copyfile(_FOLDER / f"{source}.png", ROOT / "docs" / f"{target}.png")


if __name__ == "__main__":
    main()
