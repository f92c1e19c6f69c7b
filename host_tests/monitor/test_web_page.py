"""The monitor's web page in headless Chromium, with a real device and broker."""

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
    """Run `monitor --web` and yield the URL that it prints."""
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
    with running_monitor(private_broker, prefix) as monitor_url:
        yield monitor_url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1100, "height": 800})
    opened.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(url)
    yield opened
    opened.close()
    assert not errors


def test_the_page_shows_readings_and_turns_a_switch(page: Page, dut: SimulatedDevice) -> None:
    device = page.locator("[data-device=dut]")
    expect(device.locator(".status")).to_have_text("online")
    uptime = device.locator("[data-reading=uptime]")
    expect(uptime.locator(".value")).to_have_text(re.compile(r"[\d,]+ s"))
    expect(uptime.locator(".line")).to_have_attribute("d", re.compile(r"M.+L.+"))
    lamp = device.get_by_role("switch", name="lamp")
    for state, checked in (("ON", "true"), ("OFF", "false")):
        lamp.click()
        expect(lamp).to_have_attribute("aria-checked", checked)  # confirmed by the device
        assert dut.read_output("lamp") == state


def test_a_lost_broker_is_shown_and_the_page_works_after_it_returns(
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


def test_a_device_that_goes_offline_is_shown_with_an_alert(page: Page, dut: SimulatedDevice) -> None:
    expect(page.locator("[data-device=dut] .status")).to_have_text("online")
    dut.stop()
    expect(page.locator("[data-device=dut] .status")).to_have_text("offline")
    expect(page.locator("[data-device=dut] .alerts")).to_have_text("offline")
    expect(page.locator("#log")).to_contain_text("ALERT dut: offline")


def test_names_and_values_from_devices_are_shown_as_text(
    page: Page, private_broker: Mosquitto, prefix: str
) -> None:
    other_client = Client(private_broker.address.host, private_broker.address.port, client_id="stranger")
    other_client.connect()
    markup = "<img src=x onerror=document.title='owned'>"
    other_client.publish(f"{prefix}/{markup}/status", markup, qos=1, wait=True)
    other_client.publish(f"{prefix}/{markup}/switch/{markup}", markup, qos=1, wait=True)
    other_client.publish(f"{prefix}/{markup}/health", json.dumps({markup: markup}), qos=1, wait=True)
    other_client.publish(f"{prefix}/{markup}/sensor/{markup}", b"1", qos=1, wait=True)
    expect(page.locator(".device .name")).to_have_text(markup)
    expect(page.locator(".device .label")).to_contain_text("<img")
    assert page.title() == "umqtt5 monitor"
    assert page.locator(".device img").count() == 0
    other_client.disconnect()


def test_the_websocket_requires_the_token_the_origin_and_the_host(url: str) -> None:
    parts = urlsplit(url)
    live = f"ws://{parts.netloc}/live?{parts.query}"
    own = f"http://{parts.netloc}"
    with connect(live, origin=own) as socket:  # type: ignore[arg-type]
        assert json.loads(socket.recv())["full"]
    for target, origin in (
        (live, "http://evil.example"),
        (live, None),
        (live, "http://["),
        (f"ws://{parts.netloc}/live?token=guessed", own),
        (f"ws://{parts.netloc}/live", own),
    ):
        with pytest.raises((InvalidStatus, ConnectionClosed)) as refused:
            with connect(target, origin=origin) as socket:  # type: ignore[arg-type]
                socket.recv()
        assert "500" not in str(refused.value), origin
    with pytest.raises(InvalidStatus):  # DNS rebinding: another name for 127.0.0.1
        connect(live, origin=own, additional_headers={"Host": "evil.example"})  # type: ignore[arg-type]
