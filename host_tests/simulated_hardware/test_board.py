"""The whole device on each board, with sensors on its pins: the real VM, the stand-in, a broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from host_tests.device.observer import PREFIX, Desk, desk
from host_tests.simulated_hardware import HEAP, RESET, WATCHDOG, Chip, Outside
from host_tests.simulated_hardware.sensor_data import bme280, dht, scratchpad, sht3x
from tools import broker
from tools.board import definition
from tools.bundle import image

BOARDS = [key for key in definition.names() if key != "host"]
HOT, COLD = "28ff641e0f5c7a31", "28ff4c9a0f5c7a02"
Sensors = list[dict[str, Any]]


LARGE = "256k"  # for the drivers of all kinds at once


@contextmanager
def device(
    key: str, folder: Path, address: broker.Address, sensors: Sensors, heap: str = HEAP, **more: Any
) -> Iterator[Chip]:
    """A board of this kind that runs the application, with these sensors."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "device": "dut",
        "prefix": PREFIX,
        "broker": {"host": address.host, "port": address.port},
        "wifi": {"ssid": "home", "password": "secret"},
        "sensors": sensors,
        "health": 0.5,
        "ntp": [],
        **more,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    with Chip(folder, path=[image.cached(key)], chip=definition.load(key).chip, heap=heap) as running:
        yield running


@pytest.fixture
def at_desk(iotcore: broker.Address) -> Iterator[Desk]:
    with desk(iotcore) as here:
        yield here


def last(here: Desk, name: str) -> float | None:
    values = here.dut.readings.get(name)
    return values[-1] if values else None


def reads(here: Desk, name: str, wanted: float, by: float = 0.01) -> Callable[[], bool]:
    def look() -> bool:
        value = last(here, name)
        return value is not None and abs(value - wanted) <= by

    return look


PIN = {
    "esp32": (4, 34),
    "esp32_s3": (6, 7),
    "esp32_c3": (6, 3),
    "rpi_pico_w": (6, 26),
    "rpi_pico2_w": (6, 27),
}


@pytest.mark.parametrize("key", BOARDS)
def test_each_board_measures_by_each_kind(
    key: str, iotcore: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    pin, analog = PIN[key]
    outside = Outside(tmp_path / "stand_in")
    outside["i2c-76"] = bme280()
    outside["i2c-44"] = sht3x(-18.75, 25)
    outside[f"adc-{analog}"] = 0.5
    outside[f"dht-{pin}"] = dht(-10.1, 65.2)
    outside[f"onewire-{pin}"] = {HOT: scratchpad(bytes.fromhex("d0074b467fff0c10"))}
    outside["wlan"] = {"ssid": "home", "password": "secret", "rssi": -71}
    sensors: Sensors = [
        {"kind": "bme280", "name": "air"},
        {"kind": "sht3x", "name": "cellar"},
        {"kind": "dht22", "name": "porch", "pin": pin},
        {"kind": "ds18b20", "name": "boiler", "pin": pin, "address": HOT},
        {"kind": "analog", "name": "tank", "pin": analog, "scale": 100, "unit": "%"},
        {"kind": "battery", "pin": analog, "divider": 8},
        {"kind": "chip_temperature"},
        {"kind": "wifi_signal"},
        {"kind": "heap_free"},
    ]
    with device(key, tmp_path, iotcore, sensors, LARGE) as running:
        for name, wanted, by in (
            ("air/temperature", 25.08, 0.001),
            ("air/pressure", 1006.53, 0.001),
            ("cellar/temperature", -18.75, 0.006),
            ("cellar/humidity", 25, 0.01),
            ("porch/temperature", -10.1, 0.001),
            ("porch/humidity", 65.2, 0.001),
            ("boiler", 125, 0),
            ("tank", 50, 0.02),
            ("battery/voltage", 4, 0.01),
            ("battery/level", 78, 0.5),
            ("chip_temperature", 40, 15),
            ("wifi_signal", -71, 0),
        ):
            at_desk.until(reads(at_desk, name, wanted, by), 30)
        at_desk.until(lambda: (last(at_desk, "heap_free") or 0) > 4096)
        assert not running.ends


def test_a_sensor_that_is_pulled_out_is_told_and_found_again(
    iotcore: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    outside = Outside(tmp_path / "stand_in")
    outside["i2c-76"] = bme280()
    sensors: Sensors = [
        {"kind": "bme280", "name": "air", "period": 0.2},
        {"kind": "sht3x", "name": "late", "period": 0.2},  # which is not there at the start
        {"kind": "chip_temperature", "period": 0.2},
    ]
    with device("esp32", tmp_path, iotcore, sensors) as running:
        running.said("sensor late: OSError: [Errno 19] ENODEV")
        at_desk.until(reads(at_desk, "air/temperature", 25.08))
        del outside["i2c-76"]
        running.said("sensor air: OSError")
        at_desk.until(lambda: any("sensor air: OSError" in event for event in at_desk.events))
        others = len(at_desk.dut.readings["chip_temperature"])
        at_desk.until(lambda: len(at_desk.dut.readings["chip_temperature"]) > others + 3)
        outside["i2c-76"] = {**bme280(), "stuck": True}  # a bus that is held down
        outside["i2c-44"] = sht3x(20, 50)
        running.said("sensor late: works again")
        outside["i2c-76"] = bme280()
        at_desk.dut.readings["air/temperature"].clear()
        at_desk.until(reads(at_desk, "air/temperature", 25.08))
        running.said("sensor air: works again")
        assert not running.ends


def test_garbled_answers_are_told_and_not_published(
    iotcore: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    outside = Outside(tmp_path / "stand_in")
    garbled = sht3x(20, 50)["answers"]["2400"]
    outside["i2c-44"] = {"answers": {"2400": "00" + garbled[2:]}}
    outside["dht-4"] = "028c015fef"  # its sum would be ee
    outside["onewire-5"] = {HOT: "d0074b467fff0c1000", COLD: scratchpad(bytes.fromhex("50054b467fff0c10"))}
    sensors: Sensors = [
        {"kind": "sht3x", "name": "cellar"},
        {"kind": "dht22", "name": "porch", "pin": 4},
        {"kind": "ds18b20", "name": "hot", "pin": 5, "address": HOT},
        {"kind": "ds18b20", "name": "cold", "pin": 5, "address": COLD},
        {"kind": "ds18b20", "name": "which", "pin": 5},
        {"kind": "dht11", "name": "gone", "pin": 13},
    ]
    with device("esp32", tmp_path, iotcore, sensors, LARGE) as running:
        running.said("sensor cellar: ValueError: wrong check sum")
        running.said("sensor porch: ValueError: checksum error")
        running.said("sensor hot: OSError: CRC error")
        running.said("sensor cold: ValueError: it has lost its power and not measured")
        running.said(f"sensor which: ValueError: set address to one of {COLD}, {HOT}")
        running.said("sensor gone: OSError: [Errno 110] ETIMEDOUT")
        at_desk.until(lambda: at_desk.dut.status == "online")
        at_desk.watch.poll(300)
        assert not at_desk.dut.readings


def test_a_door_is_told_at_once_and_each_pulse_is_counted(
    iotcore: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    heard: list[tuple[str, str]] = []
    client = at_desk.watch._client
    client.subscribe(f"{PREFIX}/dut/sensor/door", lambda m: heard.append(("door", bytes(m.payload).decode())))
    at_desk.watch.poll(200)
    outside = Outside(tmp_path / "stand_in")
    outside["pin-13"] = "1"
    outside["pin-14"] = "1"
    sensors: Sensors = [
        {"kind": "digital", "name": "door", "pin": 13, "device_class": "door"},
        {"kind": "pulse", "name": "meter", "pin": 14, "period": 0.3, "save": 86400},
    ]
    with device("esp32", tmp_path, iotcore, sensors) as running:
        at_desk.until(lambda: heard == [("door", "ON")])
        at_desk.until(reads(at_desk, "meter/count", 0))
        outside["pin-13"] = "10"
        at_desk.until(lambda: heard[-1] == ("door", "OFF"), 3)
        outside["pin-13"] = "1010101"  # it bounces
        at_desk.until(lambda: heard[-1] == ("door", "ON"), 3)
        assert len(heard) == 3
        for _ in range(20):
            outside.pulses(14, 5)
            at_desk.watch.poll(20)
        at_desk.until(reads(at_desk, "meter/count", 100))
        assert not running.ends


def test_an_application_that_ends_writes_its_counts_before(iotcore: broker.Address, tmp_path: Path) -> None:
    outside = Outside(tmp_path / "stand_in")
    outside["pin-14"] = "1"
    sensors: Sensors = [{"kind": "pulse", "name": "meter", "pin": 14, "period": 0.2, "save": 86400}]
    with desk(iotcore) as here:
        with device("esp32", tmp_path, iotcore, sensors) as running:
            here.until(reads(here, "meter/count", 0))
            outside.pulses(14, 7)
            here.until(reads(here, "meter/count", 7))
            running.interrupt()  # Ctrl-C, as a person at the console
            running.wait()
            assert (tmp_path / "pulse-meter").read_text() == "7\n"
        here.dut.readings.clear()
        with device("esp32", tmp_path, iotcore, sensors):
            here.until(reads(here, "meter/count", 7))


def test_a_device_that_hangs_is_reset_by_its_watchdog(
    iotcore: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    """The hang: a driver that never returns."""
    sensors: Sensors = [{"kind": "chip_temperature", "period": 0.5}]
    (tmp_path / "esp32.py").write_text(
        "import simulated_io\n"
        "def raw_temperature():\n"
        "    while simulated_io.text('hang') and not simulated_io.text('hung'):\n"
        "        pass\n"
        "    return 100\n"
    )
    with device("esp32", tmp_path, iotcore, sensors) as running:
        at_desk.until(lambda: "chip_temperature" in at_desk.dut.readings)
        running.outside["hang"] = "1"
        running.until(lambda: running.ends == [WATCHDOG], 40)
        running.outside["hung"] = "1"
        at_desk.until(lambda: at_desk.dut.health.get("reset") == "watchdog", 40)
        assert RESET not in running.ends


@pytest.mark.parametrize("key", BOARDS)
def test_what_is_remembered_outlives_deep_sleep_on_each_board(key: str, tmp_path: Path) -> None:
    code = """
import pins
kept = pins.remembered()
print(pins.reset_cause(), kept)
if not kept:
    pins.remember(b"session 12345")
    pins.deep_sleep(50)
"""
    with Chip(tmp_path, ["-c", code], path=[image.cached(key)], chip=definition.load(key).chip) as running:
        assert running.wait() == 0
        # the RP2 wakes by a reset that it can't tell from one of the watchdog's
        cause = "watchdog" if key.startswith("rpi") else "deep sleep"
        assert list(running.lines) == ["power on b''", f"{cause} b'session 12345'"]
