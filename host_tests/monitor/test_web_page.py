"""The monitor's page in headless Chromium, with a real device and broker."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tools.broker import Mosquitto
from tools.paths import ROOT
from tools.vm.device import SimulatedDevice
from umqtt5 import Client

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
SLOW = 30000  # ms


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@contextlib.contextmanager
def running_monitor(private_broker: Mosquitto, prefix: str) -> Iterator[str]:
    """`monitor --web`; the address that it prints."""
    address = f"mqtt://127.0.0.1:{private_broker.address.port}"
    command = [sys.executable, "-m", "tools", "monitor", "--web", "--broker", address, "--prefix", prefix]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found
            yield found[0]
        finally:
            process.terminate()


@pytest.fixture
def url(private_broker: Mosquitto, prefix: str) -> Iterator[str]:
    with running_monitor(private_broker, prefix) as found:
        yield found


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    made = browser.new_page(viewport={"width": 1100, "height": 800})
    made.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.goto(url)
    yield made
    made.close()
    assert not errors


def test_a_reading_appears_and_a_switch_switches(page: Page, dut: SimulatedDevice) -> None:
    device = page.locator("[data-device=dut]")
    expect(device.locator(".status")).to_have_text("online")
    uptime = device.locator("[data-reading=uptime]")
    expect(uptime.locator(".value")).to_have_text(re.compile(r"[\d,]+ s"))
    expect(uptime.locator(".line")).to_have_attribute("d", re.compile(r"M.+L.+"))
    lamp = device.get_by_role("switch", name="lamp")
    for state, checked in (("ON", "true"), ("OFF", "false")):
        lamp.click()
        expect(lamp).to_have_attribute("aria-checked", checked)  # what the device has confirmed
        assert dut.read_output("lamp") == state


def test_a_broker_that_is_dropped_is_shown(
    page: Page, dut: SimulatedDevice, private_broker: Mosquitto
) -> None:
    expect(page.locator("[data-device=dut]")).to_be_visible()
    expect(page.locator("#banner")).to_be_hidden()
    private_broker.stop()
    expect(page.locator("#banner")).to_contain_text("Not connected to mqtt://127.0.0.1")
    private_broker.start()
    expect(page.locator("#banner")).to_be_hidden()
    lamp = page.get_by_role("switch", name="lamp")
    before = dut.read_output("lamp")
    expect(page.locator("[data-device=dut] .status")).to_have_text("online")
    lamp.click()
    expect(lamp).to_have_attribute("aria-checked", "false" if before == "ON" else "true")


def test_a_device_that_dies_is_shown(page: Page, dut: SimulatedDevice) -> None:
    expect(page.locator("[data-device=dut] .status")).to_have_text("online")
    dut.stop()
    expect(page.locator("[data-device=dut] .status")).to_have_text("offline")
    expect(page.locator("[data-device=dut] .alerts")).to_have_text("offline")
    expect(page.locator("#log")).to_contain_text("ALERT dut: offline")


def test_what_devices_say_is_text_and_nothing_else(
    page: Page, private_broker: Mosquitto, prefix: str
) -> None:
    stranger = Client(private_broker.address.host, private_broker.address.port, client_id="stranger")
    stranger.connect()
    bad = "<img src=x onerror=document.title='owned'>"
    stranger.publish(f"{prefix}/{bad}/status", bad, qos=1, wait=True)
    stranger.publish(f"{prefix}/{bad}/switch/{bad}", bad, qos=1, wait=True)
    stranger.publish(f"{prefix}/{bad}/health", json.dumps({bad: bad}), qos=1, wait=True)
    stranger.publish(f"{prefix}/{bad}/sensor/{bad}", b"1", qos=1, wait=True)
    expect(page.locator(".device .name")).to_have_text(bad)
    expect(page.locator(".device .label")).to_contain_text("<img")
    assert page.title() == "umqtt5 monitor"
    assert page.locator(".device img").count() == 0
    stranger.disconnect()


def test_no_other_page_may_listen_or_switch(url: str) -> None:
    there = urlsplit(url)
    live = f"ws://{there.netloc}/live?{there.query}"
    own = f"http://{there.netloc}"
    with connect(live, origin=own) as socket:  # type: ignore[arg-type]
        assert json.loads(socket.recv())["full"]
    for where, origin in (
        (live, "http://evil.example"),
        (live, None),
        (f"ws://{there.netloc}/live?token=guessed", own),
        (f"ws://{there.netloc}/live", own),
    ):
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            with connect(where, origin=origin) as socket:  # type: ignore[arg-type]
                socket.recv()
    with pytest.raises(InvalidStatus):  # a name of theirs that leads to loopback
        connect(live, origin=own, additional_headers={"Host": "evil.example"})  # type: ignore[arg-type]
