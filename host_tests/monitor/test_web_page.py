"""The monitor's web page in headless Chromium, with a real device and broker."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from host_tests.board.rig import run_failing_tool
from host_tests.monitor import example_devices
from host_tests.monitor.test_terminal_sizes import Terminal
from tools.broker import Mosquitto
from tools.monitor import web_access
from tools.monitor.history import HistoryStore
from tools.paths import ROOT
from tools.vm.device import SimulatedDevice
from umqtt5 import Client

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
SLOW = 30000  # ms


@contextlib.contextmanager
def running_monitor(private_broker: Mosquitto, prefix: str, *options: str) -> Iterator[str]:
    """Run `monitor --web` and yield the URL that it prints. Without `--history` it stores no readings."""
    if "--history" not in options:
        options = (*options, "--no-history")
    address = f"mqtt://127.0.0.1:{private_broker.address.port}"
    command = [sys.executable, "-m", "tools", "monitor", "--web", "--broker", address, "--prefix", prefix]
    command += options
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
    expect(uptime.locator(".value")).to_have_text(re.compile(r"\d+ (d|h|min|s)"))
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
    with connect(live, origin=own) as websocket:  # type: ignore[arg-type]
        assert json.loads(websocket.recv())["full"]
    for target, origin in (
        (live, "http://evil.example"),
        (live, None),
        (live, "http://["),
        (f"ws://{parts.netloc}/live?token=guessed", own),
        (f"ws://{parts.netloc}/live", own),
    ):
        with pytest.raises((InvalidStatus, ConnectionClosed)) as refused:
            with connect(target, origin=origin) as websocket:  # type: ignore[arg-type]
                websocket.recv()
        assert "500" not in str(refused.value), origin
    with pytest.raises(InvalidStatus):  # DNS rebinding: another name for 127.0.0.1
        connect(live, origin=own, additional_headers={"Host": "evil.example"})  # type: ignore[arg-type]


def get(url: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Return status, body and headers of a response."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def test_the_page_and_the_history_require_the_token(url: str) -> None:
    base, token = url.split("?token=")
    assert get(url)[0] == 200 and get(f"{base}history.csv?token={token}")[0] == 200
    for wrong in (
        "",
        "?token=",
        "?token=guessed",
        f"?token={token[:-1]}",
        f"?token={token}x",
        f"?Token={token}",
    ):
        for path in ("", "history.csv"):
            status, body, _ = get(f"{base}{path}{wrong}")
            assert status == 403 and "Open the address that the monitor printed" in body, wrong
    assert get(f"{base}?token=x&token={token}")[0] in (200, 403)  # either, but it is no error


def test_readings_are_downloaded_as_csv_and_are_there_after_a_restart(
    private_broker: Mosquitto, tmp_path: Path, browser: Browser
) -> None:
    path = str(tmp_path / "h.sqlite3")
    names = ["cellar", "=cmd"]
    for round_number in range(2):
        with running_monitor(private_broker, "umqtt5", "--history", path) as url:
            page = browser.new_page()
            page.goto(url)
            example_devices.publish_state(private_broker.address, "umqtt5", names, with_problems=False)
            expect(page.locator(".device .switch")).to_have_count(6)
            expect(
                page.locator("[data-device=cellar] [data-reading='air/temperature'] .range")
            ).to_contain_text(re.compile("always|min"))
            with page.expect_download() as download:
                page.locator("#csv").click()
            rows = list(csv.DictReader(download.value.path().open(newline="")))
            assert {row["device"] for row in rows} == {"cellar", "'=cmd"}
            temperatures = [r for r in rows if (r["device"], r["reading"]) == ("cellar", "air/temperature")]
            # the second monitor also has what the first one stored
            assert len(temperatures) >= 1 + round_number and temperatures[0]["unit"] == "°C"
            page.locator("[data-device=cellar] summary").click()
            with page.expect_download() as download:
                page.locator("[data-device=cellar] .device-csv").click()
            assert download.value.suggested_filename == "cellar.csv"
            rows = list(csv.DictReader(download.value.path().open(newline="")))
            assert {row["device"] for row in rows} == {"cellar"}
            page.close()


def test_on_the_network_the_page_is_reached_by_address_and_only_by_names_of_this_computer(
    private_broker: Mosquitto,
) -> None:
    with running_monitor(private_broker, "umqtt5", "--host", "0.0.0.0") as url:
        parts = urlsplit(url)
        assert get(url)[0] == 200
        for host in (
            f"192.168.7.7:{parts.port}",
            f"[fe80::1]:{parts.port}",
            socket.gethostname(),
            "localhost",
        ):
            assert get(url, Host=host)[0] == 200, host
        for host in (
            "evil.example",
            f"{parts.hostname}.evil.example",
            "192.168.7.7.nip.io",
            "[",
            "0x7f.1",
            "1",
        ):
            assert get(url, Host=host)[0] == 400, host
        live = f"ws://{parts.netloc}/live?{parts.query}"
        with connect(live, origin=f"http://{parts.netloc}") as websocket:  # type: ignore[arg-type]
            assert json.loads(websocket.recv())["full"]
        for origin in (
            f"https://{parts.netloc}",
            "http://192.168.7.8",
            f"http://{parts.hostname}:1",
            "null",
            None,
        ):
            with pytest.raises((InvalidStatus, ConnectionClosed)):
                with connect(live, origin=origin) as websocket:  # type: ignore[arg-type]
                    websocket.recv()


def test_by_default_the_page_listens_on_loopback_only(url: str) -> None:
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1"
    address = web_access.find_network_address("0.0.0.0")
    if address != "127.0.0.1":
        with pytest.raises(OSError):
            socket.create_connection((address, parts.port), 5)
    assert get(url, Host=f"192.168.7.7:{parts.port}")[0] == 400


def test_options_of_the_address_are_checked(private_broker: Mosquitto) -> None:
    broker = f"mqtt://127.0.0.1:{private_broker.address.port}"
    assert "--host is for the web page" in run_failing_tool(
        "monitor", "--broker", broker, "--host", "0.0.0.0"
    )
    for host in ("192.0.2.77", "no.such.host.invalid"):
        output = run_failing_tool("monitor", "--broker", broker, "--web", "--host", host, "--no-history")
        assert f"--host {host}" in output and "0.0.0.0" in output


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(web_access.secrets, "compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    access = web_access.Access("secret", True)
    assert (
        access.allows_token("secret") and not access.allows_token("") and not access.allows_token("\ud800é")
    )
    assert len(compared) == 3


def test_the_link_has_a_qr_code_in_a_terminal(private_broker: Mosquitto) -> None:
    broker = f"mqtt://127.0.0.1:{private_broker.address.port}"
    terminal = Terminal(
        *("monitor", "--broker", broker, "--web", "--host", "0.0.0.0", "--no-history"), columns=100, rows=40
    )
    terminal.read_until("▄▄▄▄▄")
    assert "is not encrypted" in terminal.output
    terminal.press("\x03")
    assert terminal.wait() == 0
    blocks = [line for line in terminal.output.splitlines() if "█" in line]
    assert len(blocks) >= 15 and "[97;40m" in terminal.output  # light parts are white on each terminal


def test_the_filter_and_the_compact_view_show_many_devices(
    page: Page, private_broker: Mosquitto, prefix: str
) -> None:
    names = example_devices.device_names(60)
    example_devices.publish_state(private_broker.address, prefix, names)
    expect(page.locator(".device")).to_have_count(60)
    expect(page.locator("#view")).to_have_value("compact")
    expect(page.locator(".chart:visible")).to_have_count(0)
    shown = page.locator(".device:visible")
    page.locator("#filter").fill("KITCHEN 03")
    expect(shown).to_have_count(1)
    expect(page.locator("#shown")).to_have_text("1 of 60 devices shown")
    page.locator("#filter").fill("")
    expect(shown).to_have_count(60)
    expect(page.locator("#shown")).to_be_empty()
    page.locator("#show").select_option("offline")
    expect(shown).to_have_count(8)
    page.locator("#show").select_option("attention")
    page.locator("#filter").fill("memory")
    expect(shown).to_have_count(12)
    page.locator("#filter").fill("nothing")
    expect(shown).to_have_count(0)
    page.locator("#filter").fill("")
    page.locator("#show").select_option("all")
    page.locator("#view").select_option("cards")
    expect(page.locator(".chart:visible").first).to_be_visible()
    page.reload()
    expect(page.locator("#view")).to_have_value("cards")  # remembered


def test_switches_and_readings_have_the_same_order_whenever_they_arrive(
    page: Page, private_broker: Mosquitto, prefix: str
) -> None:
    address = private_broker.address
    with Client(address.host, address.port, client_id="other") as client:
        for number, name in enumerate(("pump", "lamp", "garden", "attic")):
            client.publish(f"{prefix}/d/switch/{name}", "OFF", qos=1, wait=True)
            client.publish(f"{prefix}/d/sensor/{name}", "1", qos=1, wait=True)
            expect(page.locator(".switch")).to_have_count(number + 1)
    expect(page.locator(".switch")).to_have_text(["attic", "garden", "lamp", "pump"])
    expect(page.locator(".label")).to_have_text(["attic", "garden", "lamp", "pump"])
    page.reload()
    expect(page.locator(".switch")).to_have_text(["attic", "garden", "lamp", "pump"])


def test_noise_is_flat_and_gaps_are_gaps_in_a_chart(
    browser: Browser, private_broker: Mosquitto, tmp_path: Path
) -> None:
    path = tmp_path / "h.sqlite3"
    store = HistoryStore(path, f"{private_broker.address} umqtt5", print)
    now = time.time()
    for second in range(240, 0, -2):
        if not 100 < second < 150:
            store.add(now - second, "d", "air/temperature", 21.5 + second // 2 % 3 / 100)
    store.close()
    with running_monitor(private_broker, "umqtt5", "--history", str(path)) as url:
        page = browser.new_page()
        page.goto(url)
        address = private_broker.address
        with Client(address.host, address.port, client_id="other") as client:
            client.publish("umqtt5/d/sensor/air/temperature", "21.5", qos=1, wait=True)
        reading = page.locator("[data-reading='air/temperature']")
        expect(reading.locator(".extremes")).to_have_text("min 21.5, max 21.52")
        expect(reading.locator(".span")).to_have_text("5 min")
        expect(reading.locator(".top")).to_have_text("22.1")
        expect(reading.locator(".bottom")).to_have_text("21")
        line = reading.locator(".line").get_attribute("d") or ""
        heights = [float(y) for _, y in re.findall(r"([\d.]+),([\d.]+)", line)]
        assert max(heights) - min(heights) < 60 * 0.05  # of the height of the chart
        assert line.count("M") == 2
        assert "min 21.5, max 21.52 °C" in str(reading.locator("svg").get_attribute("aria-label"))
        page.close()


def test_health_is_shown_in_words(page: Page, private_broker: Mosquitto, prefix: str) -> None:
    example_devices.publish_state(private_broker.address, prefix, ["a", "b", "c"])
    expect(page.locator("[data-device=c] .problems li")).to_have_text(
        ["memory is low: 5 KiB free", "memory ran out 2 times", "restarted by the watchdog"]
    )
    expect(page.locator("[data-device=a] .summary")).to_have_text("good")
    page.locator("[data-device=a] summary").click()
    expect(page.locator("[data-device=a] .facts")).to_contain_text("94.1 KiB of memory free, 72 %")


def test_only_the_command_line_of_make_opens_the_page_to_the_network() -> None:
    """Some shells set HOST to the name of the computer."""
    environment = {**os.environ, "HOST": "0.0.0.0"}
    for variables, expected in (((), False), (("HOST=0.0.0.0",), True)):
        done = subprocess.run(
            ["make", "-n", "monitor", "WEB=1", *variables],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and ("--host '0.0.0.0'" in done.stdout) is expected, done.stdout
