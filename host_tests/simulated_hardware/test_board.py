"""The complete device on each board with simulated sensors: the real VM, simulated hardware and a broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from host_tests.device.observer import PREFIX, Observer, observe
from host_tests.simulated_hardware import HEAP, RESET, WATCHDOG, SimulatedChip, SimulatedIO
from host_tests.simulated_hardware.sensor_data import bme280, dht, scratchpad, sht3x
from tools import broker
from tools.board import definition
from tools.bundle import image

BOARDS = [key for key in definition.list_boards() if key != "host"]
HOT, COLD = "28ff641e0f5c7a31", "28ff4c9a0f5c7a02"
Sensors = list[dict[str, Any]]


LARGE_HEAP = "272k"  # for the drivers of all sensors at once


@contextmanager
def simulated_device(
    key: str, folder: Path, address: broker.Address, sensors: Sensors, heap: str = HEAP, **more: Any
) -> Iterator[SimulatedChip]:
    """Run the application on a simulated board with these sensors; `more` are additional config settings."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "device": "dut",
        "prefix": PREFIX,
        "broker": {"host": address.host, "port": address.port},
        "wifi": {"ssid": "home", "password": "secret word"},
        "sensors": sensors,
        "health": 0.5,
        "ntp": [],
        **more,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    with SimulatedChip(
        folder, path=[image.build_image(key)], chip=definition.load_board(key).chip, heap=heap
    ) as running:
        yield running


@pytest.fixture
def observer(iotcore: broker.Address) -> Iterator[Observer]:
    with observe(iotcore) as observer:
        yield observer


def last(observer: Observer, name: str) -> float | None:
    values = observer.dut.readings.get(name)
    return values[-1] if values else None


def reads(observer: Observer, name: str, wanted: float, tolerance: float = 0.01) -> Callable[[], bool]:
    """Return a condition: the last reading of `name` is `wanted`, within the tolerance."""

    def is_met() -> bool:
        value = last(observer, name)
        return value is not None and abs(value - wanted) <= tolerance

    return is_met


PINS = {  # (pin for a digital sensor, pin for an analog sensor)
    "esp32": (4, 34),
    "esp32_s3": (6, 7),
    "esp32_c3": (6, 3),
    "rpi_pico_w": (6, 26),
    "rpi_pico2_w": (6, 27),
}
PORCH = {"esp32": 5, "esp32_s3": 5, "esp32_c3": 7, "rpi_pico_w": 7, "rpi_pico2_w": 7}  # pin for a DHT sensor


@pytest.mark.parametrize("key", BOARDS)
def test_each_board_reads_every_kind_of_sensor(
    key: str, iotcore: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    pin, analog = PINS[key]
    io = SimulatedIO(tmp_path / "sim")
    io["i2c-76"] = bme280()
    io["i2c-44"] = sht3x(-18.75, 25)
    io[f"adc-{analog}"] = 0.5
    io[f"dht-{PORCH[key]}"] = dht(-10.1, 65.2)
    io[f"onewire-{pin}"] = {HOT: scratchpad(bytes.fromhex("d0074b467fff0c10"))}
    io["wlan"] = {"ssid": "home", "password": "secret word", "rssi": -71}
    sensors: Sensors = [
        {"kind": "bme280", "name": "air"},
        {"kind": "sht3x", "name": "cellar"},
        {"kind": "dht22", "name": "porch", "pin": PORCH[key]},
        {"kind": "ds18b20", "name": "boiler", "pin": pin, "address": HOT},
        {"kind": "analog", "name": "tank", "pin": analog, "scale": 100, "unit": "%"},
        {"kind": "battery", "pin": analog, "divider": 8},
        {"kind": "chip_temperature"},
        {"kind": "wifi_signal"},
        {"kind": "heap_free"},
    ]
    with simulated_device(key, tmp_path, iotcore, sensors, LARGE_HEAP) as running:
        for name, wanted, tolerance in (
            ("air/temperature", 25.08, 0.001),
            ("air/pressure", 1006.53, 0.001),
            ("cellar/temperature", -18.75, 0.006),
            ("cellar/humidity", 25, 0.01),
            ("porch/temperature", -10.1, 0.001),
            ("porch/humidity", 65.2, 0.001),
            ("boiler", 125, 0),
            ("tank", 50, 0.05),  # an ADC of an RP2 has 12 bits: 0.8 mV
            ("battery/voltage", 4, 0.01),
            ("battery/level", 78, 1),
            ("chip_temperature", 40, 15),
            ("wifi_signal", -71, 0),
        ):
            observer.wait_until(reads(observer, name, wanted, tolerance), 30)
        observer.wait_until(lambda: (last(observer, "heap_free") or 0) > 4096)
        assert not running.exit_codes


def test_a_disconnected_sensor_is_reported_and_recovers(
    iotcore: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    io = SimulatedIO(tmp_path / "sim")
    io["i2c-76"] = bme280()
    sensors: Sensors = [
        {"kind": "bme280", "name": "air", "period": 0.2},
        {"kind": "sht3x", "name": "late", "period": 0.2},  # not connected at the start
        {"kind": "chip_temperature", "period": 0.2},
    ]
    with simulated_device("esp32", tmp_path, iotcore, sensors) as running:
        running.wait_for_line("sensor late: OSError: [Errno 19] ENODEV; on the bus: 0x76")
        observer.wait_until(reads(observer, "air/temperature", 25.08))
        del io["i2c-76"]
        running.wait_for_line("sensor air: OSError")
        observer.wait_until(lambda: any("sensor air: OSError" in event for event in observer.events))
        others = len(observer.dut.readings["chip_temperature"])
        observer.wait_until(lambda: len(observer.dut.readings["chip_temperature"]) > others + 3)
        io["i2c-76"] = {**bme280(), "stuck": True}  # the bus is held low
        io["i2c-44"] = sht3x(20, 50)
        running.wait_for_line("sensor late: works again")
        io["i2c-76"] = bme280()
        observer.dut.readings["air/temperature"].clear()
        observer.wait_until(reads(observer, "air/temperature", 25.08))
        running.wait_for_line("sensor air: works again")
        assert not running.exit_codes


def test_a_sensor_is_found_at_its_other_address_and_a_bus_that_hangs_is_named_and_freed(
    iotcore: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    io = SimulatedIO(tmp_path / "sim")
    io["i2c-77"] = bme280()
    sensors: Sensors = [{"kind": "bme280", "name": "air", "period": 0.2}]
    with simulated_device("esp32", tmp_path, iotcore, sensors, LARGE_HEAP) as running:
        observer.wait_until(reads(observer, "air/temperature", 25.08))
        io["pin-21"] = "0"
        io["i2c-77"] = {**bme280(), "stuck": True}
        running.wait_for_line("; the bus i2c hangs: SDA (GPIO 21) is held low")
        io["pin-21"] = "1"
        io["i2c-77"] = bme280()
        running.wait_for_line("sensor air: works again")
        assert not running.exit_codes


def test_corrupt_sensor_data_is_reported_and_not_published(
    iotcore: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    io = SimulatedIO(tmp_path / "sim")
    valid = sht3x(20, 50)["answers"]["2400"]
    io["i2c-44"] = {"answers": {"2400": "00" + valid[2:]}}
    io["dht-4"] = "028c015fef"  # the valid checksum is ee
    io["onewire-5"] = {HOT: "d0074b467fff0c1000", COLD: scratchpad(bytes.fromhex("50054b467fff0c10"))}
    sensors: Sensors = [
        {"kind": "sht3x", "name": "cellar"},
        {"kind": "dht22", "name": "porch", "pin": 4},
        {"kind": "ds18b20", "name": "hot", "pin": 5, "address": HOT},
        {"kind": "ds18b20", "name": "cold", "pin": 5, "address": COLD},
        {"kind": "ds18b20", "name": "which", "pin": 5},
        {"kind": "dht11", "name": "gone", "pin": 13},
    ]
    with simulated_device("esp32", tmp_path, iotcore, sensors, LARGE_HEAP) as running:
        running.wait_for_line("sensor cellar: ValueError: wrong checksum")
        running.wait_for_line("sensor porch: ValueError: checksum error")
        running.wait_for_line("sensor hot: OSError: CRC error")
        running.wait_for_line("sensor cold: ValueError: the sensor lost its power before it measured")
        running.wait_for_line(f"sensor which: ValueError: set address to one of {COLD}, {HOT}")
        running.wait_for_line("sensor gone: OSError")  # ETIMEDOUT, whose number depends on the port
        observer.wait_until(lambda: observer.dut.status == "online")
        observer.monitor.poll(300)
        assert not observer.dut.readings


def test_a_contact_is_published_at_once_and_each_pulse_is_counted(
    iotcore: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    received: list[tuple[str, str]] = []
    client = observer.monitor._client
    client.subscribe(
        f"{PREFIX}/dut/sensor/door", lambda m: received.append(("door", bytes(m.payload).decode()))
    )
    observer.monitor.poll(200)
    io = SimulatedIO(tmp_path / "sim")
    io["pin-13"] = "1"
    io["pin-14"] = "1"
    sensors: Sensors = [
        {"kind": "digital", "name": "door", "pin": 13, "device_class": "door"},
        {"kind": "pulse", "name": "meter", "pin": 14, "period": 0.3, "save": 86400},
    ]
    with simulated_device("esp32", tmp_path, iotcore, sensors) as running:
        observer.wait_until(lambda: received == [("door", "ON")])
        observer.wait_until(reads(observer, "meter/count", 0))
        io["pin-13"] = "10"
        observer.wait_until(lambda: received[-1] == ("door", "OFF"), 3)
        io["pin-13"] = "1010101"  # the contact bounces
        observer.wait_until(lambda: received[-1] == ("door", "ON"), 3)
        assert len(received) == 3
        for _ in range(20):
            io.pulses(14, 5)
            observer.monitor.poll(20)
        observer.wait_until(reads(observer, "meter/count", 100))
        assert not running.exit_codes


def test_a_stopped_application_saves_its_pulse_counts(iotcore: broker.Address, tmp_path: Path) -> None:
    io = SimulatedIO(tmp_path / "sim")
    io["pin-14"] = "1"
    sensors: Sensors = [{"kind": "pulse", "name": "meter", "pin": 14, "period": 0.2, "save": 86400}]
    with observe(iotcore) as observer:
        with simulated_device("esp32", tmp_path, iotcore, sensors) as running:
            observer.wait_until(reads(observer, "meter/count", 0))
            io.pulses(14, 7)
            observer.wait_until(reads(observer, "meter/count", 7))
            running.interrupt()  # Ctrl-C on the console
            running.wait_for_line("dut: stopped")
            assert (tmp_path / "pulse-meter").read_text() == "7\n"
        observer.dut.readings.clear()
        with simulated_device("esp32", tmp_path, iotcore, sensors):
            observer.wait_until(reads(observer, "meter/count", 7))


def test_the_watchdog_resets_a_device_that_hangs(
    iotcore: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    """The device hangs in a driver that does not return."""
    sensors: Sensors = [{"kind": "chip_temperature", "period": 0.5}]
    (tmp_path / "esp32.py").write_text(
        "import simulated_io\n"
        "def raw_temperature():\n"
        "    while simulated_io.read_text('hang') and not simulated_io.read_text('hung'):\n"
        "        pass\n"
        "    return 100\n"
    )
    with simulated_device("esp32", tmp_path, iotcore, sensors) as running:
        observer.wait_until(lambda: "chip_temperature" in observer.dut.readings)
        running.io["hang"] = "1"
        running.wait_until(lambda: running.exit_codes == [WATCHDOG], 40)
        running.io["hung"] = "1"
        observer.wait_until(lambda: observer.dut.health.get("reset") == "watchdog", 40)
        assert RESET not in running.exit_codes


@pytest.mark.parametrize("key", BOARDS)
def test_rtc_memory_survives_deep_sleep_on_each_board(key: str, tmp_path: Path) -> None:
    code = """
import pins
memory = pins.read_rtc_memory()
print(pins.reset_cause(), memory)
if not memory:
    pins.write_rtc_memory(b"session 1234")
    pins.deep_sleep(50)
"""
    with SimulatedChip(
        tmp_path, ["-c", code], path=[image.build_image(key)], chip=definition.load_board(key).chip
    ) as running:
        assert running.wait() == 0
        assert list(running.lines) == ["power on b''", "deep sleep b'session 1234'"]
