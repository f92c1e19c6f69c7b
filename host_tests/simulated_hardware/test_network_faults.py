"""The complete device while the network fails: DNS that is silent, no time server, a radio that fails."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from host_tests.device.observer import PREFIX, observe
from host_tests.simulated_hardware import HEAP, SimulatedChip, SimulatedIO
from host_tests.transports.conftest import Certificates, certificates, tls_lines  # noqa: F401
from tools import broker
from tools.board import definition
from tools.bundle import image

WLAN = {"ssid": "home", "password": "secret word"}
NAMES = ["a.time.example", "b.time.example"]  # time servers whose names must be looked up


@contextmanager
def device(
    key: str, folder: Path, address: broker.Address, wlan: dict[str, Any], code: str = "", **more: Any
) -> Iterator[SimulatedChip]:
    """Run the application on a simulated board; `code` runs before it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "device": "dut",
        "prefix": PREFIX,
        "broker": {"host": address.host, "port": address.port},
        "wifi": WLAN,
        "actuators": [{"name": "pump", "pin": "relay", "safe": "OFF", "max_on": 4}],
        "ntp": [],
        **more,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    SimulatedIO(folder / "sim")["wlan"] = {**WLAN, **wlan}
    with SimulatedChip(
        folder,
        ["-c", code + "import boot, main"],
        path=[image.build_image(key)],
        chip=definition.load_board(key).chip,
        heap="320k" if code else HEAP,  # modules that are loaded early fragment the heap
    ) as running:
        yield running


BOARDS = ["esp32", "rpi_pico_w"]


@pytest.mark.parametrize("key", BOARDS)
def test_with_a_broker_address_a_device_is_online_within_seconds_although_dns_is_silent(
    key: str, iotcore: broker.Address, tmp_path: Path
) -> None:
    assert iotcore.host == "127.0.0.1"
    with device(key, tmp_path, iotcore, {"dns": "silent"}, ntp=NAMES) as running:
        running.wait_for_line("dut: connected to", 8)  # 2 of them before the watchdog starts
        time.sleep(14)  # longer than the watchdog, and than the lookups of both names
        assert not running.exit_codes, "the watchdog has reset the board"
        assert not any("blocks" in line or "no connection" in line for line in running.lines)


def test_with_a_broker_name_a_silent_dns_does_not_make_the_watchdog_bite(
    iotcore: broker.Address, tmp_path: Path
) -> None:
    address = broker.Address("broker.example", iotcore.port)
    with device("esp32", tmp_path, address, {"dns": "silent"}, ntp=NAMES) as running:
        running.wait_for_line("no DNS server answered")
        time.sleep(9)
        assert not running.exit_codes and not any("blocks" in line for line in running.lines)


@pytest.fixture
def tls_broker(certificates: Certificates) -> Iterator[broker.Address]:  # noqa: F811
    with broker.Mosquitto(*tls_lines(certificates)) as running:
        yield running.address


# the program that runs before the application, so that its clock shows a time before this version was written
UNSET_CLOCK = "from app import tls_clock\ntls_clock.unix_time = lambda: 0\n"


@pytest.mark.parametrize(
    ("ntp", "lines"),
    [
        ([], ["the clock is set to 20"]),
        (NAMES, ["waiting up to 4 s for a time server", "the clock is set to 20"]),
    ],
)
def test_with_tls_a_device_without_a_time_server_connects(
    ntp: list[str],
    lines: list[str],
    tls_broker: broker.Address,
    certificates: Certificates,  # noqa: F811
    tmp_path: Path,
) -> None:
    tmp_path.joinpath("device").mkdir()
    shutil.copy(certificates.ca, tmp_path / "device/ca.pem")
    secured = {"host": "127.0.0.1", "port": tls_broker.port, "tls": {"ca": "ca.pem"}}
    with device(
        "esp32",
        tmp_path / "device",
        tls_broker,
        {"dns": "silent"},
        image.minify_source("esp32", UNSET_CLOCK),
        broker=secured,
        ntp=ntp,
        reset_after=8,
    ) as running:
        for line in lines:
            running.wait_for_line(line)
        running.wait_for_line("dut: connected to")
        assert not running.exit_codes


def test_with_tls_the_time_of_the_last_connection_is_stored(
    tls_broker: broker.Address,
    certificates: Certificates,  # noqa: F811
    tmp_path: Path,
) -> None:
    shutil.copy(certificates.ca, tmp_path / "ca.pem")
    secured = {"host": "127.0.0.1", "port": tls_broker.port, "tls": {"ca": "ca.pem"}}
    with device("esp32", tmp_path, tls_broker, {}, broker=secured, ntp=NAMES) as running:
        running.wait_for_line("dut: connected to")  # at once, because the clock is set
        running.wait_until(lambda: (tmp_path / "clock").exists())
        assert abs(int((tmp_path / "clock").read_text().split()[0]) - time.time()) < 60
        assert not any("waiting" in line for line in running.lines)


# the program that runs before the application, so that its parts see a clock that is 20 times as fast
FAST_CLOCK = """
from time import ticks_ms as slow_ticks
from app import node
node.ticks_ms = lambda: slow_ticks() * 20 & 0x3FFFFFFF
"""


@pytest.mark.parametrize("key", BOARDS)
@pytest.mark.parametrize(
    ("wlan", "line"),
    [
        ({"password": "another one"}, "Wi-Fi: home refuses the password. Check wifi.password"),
        ({"ssid": "away"}, "Wi-Fi: home was not found. Check wifi.ssid"),
        ({"dhcp": False}, "Wi-Fi: joined home, but got no address. Check the DHCP server"),
        (
            {"raises": {"connect": "Wifi Internal Error"}},
            "Wi-Fi: the radio fails with OSError: Wifi Internal Error",
        ),
        (
            {"raises": {"active": 0x3012}},
            "Wi-Fi: the radio fails with RuntimeError: Wifi Unknown Error 0x3012",
        ),
    ],
)
def test_the_cause_of_a_failed_wifi_connection_is_printed_once(
    key: str, wlan: dict[str, Any], line: str, iotcore: broker.Address, tmp_path: Path
) -> None:
    with device(key, tmp_path, iotcore, wlan, FAST_CLOCK) as running:
        running.wait_for_line(line, 40)
        running.io["wlan"] = WLAN
        running.wait_for_line("dut: connected to", 40)
        assert sum(line in printed for printed in running.lines) == 1
        assert not running.exit_codes


@pytest.mark.parametrize("key", BOARDS)
def test_a_radio_that_fails_while_the_device_runs_neither_ends_the_program_nor_stops_the_timers(
    key: str, iotcore: broker.Address, tmp_path: Path
) -> None:
    pin = "pin-26" if key == "esp32" else "pin-15"
    with device(key, tmp_path, iotcore, {}) as running:
        running.wait_for_line("dut: connected to")
        with observe(iotcore) as observer:
            observer.command("pump", "ON")
            running.wait_until(lambda: running.io[pin].endswith("1"))
            start = time.monotonic()
            running.io["wlan"] = {
                **WLAN,
                "raises": {
                    name: "Wifi Internal Error" for name in ("isconnected", "status", "connect", "active")
                },
            }
            running.wait_until(lambda: running.io[pin].endswith("0"), 10)
            assert time.monotonic() - start < 6  # max_on is 4 s
        running.wait_for_line("Wi-Fi: the radio fails with OSError: Wifi Internal Error")
        time.sleep(6)
        running.io["wlan"] = WLAN
        running.wait_for_line("Wi-Fi: connected", 40)
        assert not running.exit_codes
