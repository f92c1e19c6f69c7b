"""`python -m host_tests.monitor.screenshot`: take docs/monitor.png, a screenshot with three devices."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from host_tests.monitor.test_web_page import running_monitor
from tools.broker import Mosquitto
from tools.paths import ROOT
from tools.vm.device import SimulatedDevice, host_config

_NAMES = ("cellar", "kitchen", "roof")
_SECONDS = 40  # duration of the plots


def main() -> None:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Mosquitto())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in _NAMES:
            stack.enter_context(SimulatedDevice(folder / name, host_config(name, broker.address, "umqtt5")))
        url = stack.enter_context(running_monitor(broker, "umqtt5"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1160, "height": 640})
        page.goto(url)
        for name in ("cellar", "roof"):
            page.locator(f"[data-device={name}]").get_by_role("switch", name="lamp").click()
        page.wait_for_timeout(_SECONDS * 1000)
        page.screenshot(path=ROOT / "docs" / "monitor.png")
        browser.close()


if __name__ == "__main__":
    main()
