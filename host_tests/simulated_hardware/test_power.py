"""Sleeping devices: deep and light sleep, wake-up by pins, commands and messages while they sleep."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tests.conftest import require_mosquitto
from host_tests.device.observer import PREFIX, Observer, observe
from host_tests.simulated_hardware import ASLEEP, SimulatedChip
from host_tests.simulated_hardware.test_board import simulated_device
from tools import broker
from tools.board import definition
from tools.bundle import image

CHIPS = ("esp32", "rpi_pico_w")
SENSORS = [{"kind": "chip_temperature"}]
ACTUATORS = [{"name": "lamp", "pin": "lamp", "safe": "OFF"}]


@pytest.fixture
def observer(mosquitto: broker.Address) -> Iterator[Observer]:
    with observe(mosquitto) as started:
        yield started


def power(mode: str, **more: Any) -> dict[str, Any]:
    return {"mode": mode, "period": 2, "awake": 15, "linger": 0.2, **more}


def reading_count(observer: Observer) -> int:
    return len(observer.dut.readings.get("chip_temperature", ()))


def has_slept(running: SimulatedChip, times: int) -> bool:
    return running.exit_codes.count(ASLEEP) >= times


@pytest.mark.parametrize("key", CHIPS)
def test_a_sleeping_device_wakes_measures_publishes_and_sleeps_again(
    key: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with simulated_device(key, tmp_path, mosquitto, list(SENSORS), power=power("deep")) as running:
        observer.wait_until(lambda: reading_count(observer) >= 3 and has_slept(running, 3), 60)
        assert set(running.exit_codes) == {ASLEEP}
        assert all(0 < ms <= 2000 for ms in running.requested_sleeps_ms)
        # a sleep does not count as a crash, and a wake-up does not write to flash
        assert not (tmp_path / "crash_count").exists() and not (tmp_path / "crash.txt").exists()
        observer.wait_until(lambda: (observer.dut.health.get("cycles") or 0) >= 2, 30)
        assert 0 < observer.dut.health["awake"] < 15000
        assert observer.dut.status == "online"  # the broker never published its will
        assert observer.dut.health["reset"] == "deep sleep"


RP2_MEMORY = """
import machine, pins, struct
print(pins.reset_cause(), pins.woke_by_pin(), pins.read_rtc_memory())
words = machine.mem_backup()
state = bytes(range(%d))
pins.write_rtc_memory(state)
print(pins.read_rtc_memory() == state, len(words))
for i in range(len(words)):
    for bit in range(32):
        words[i] = words[i] ^ 1 << bit
        if pins.read_rtc_memory() == state and not (i == 0 and bit in (6, 7)):  # the flags have no checksum
            print("not detected: bit", bit, "of word", i)
        words[i] = words[i] ^ 1 << bit
print(pins.read_rtc_memory() == state)
"""


@pytest.mark.parametrize("key", ["rpi_pico_w", "rpi_pico2_w"])
def test_the_backup_memory_of_an_rp2_holds_the_state_and_detects_damage(key: str, tmp_path: Path) -> None:
    size = 12
    assert struct.calcsize("<BIIH") <= size  # `_STATE_FORMAT` of app.power
    code = RP2_MEMORY % size
    chip = definition.load_board(key).chip
    with SimulatedChip(tmp_path, ["-c", code], path=[image.build_image(key)], chip=chip) as running:
        assert running.wait() == 0, list(running.lines)
        assert list(running.lines) == ["power on False b''", "True 4", "True"]


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        ("machine.reset()", "reset"),
        ("machine.WDT(timeout=100); time.sleep(9)", "watchdog"),
        ("pins.deep_sleep(10)", "deep sleep"),
        # the watchdog that resets a sleeping board is not a deep sleep
        ("machine.WDT(timeout=100); pins.deep_sleep(9000)", "watchdog"),
    ],
)
def test_a_pico_reports_the_watchdog_a_reset_and_a_deep_sleep_apart(
    end: str, cause: str, tmp_path: Path
) -> None:
    code = f"""
import machine, pins, time
print(pins.reset_cause(), pins.read_rtc_memory())
if machine.reset_cause() == machine.PWRON_RESET:
    pins.write_rtc_memory(b"state")
    {end}
"""
    path = [image.build_image("rpi_pico_w")]
    with SimulatedChip(tmp_path, ["-c", code], path=path, chip="rp2040") as running:
        assert running.wait() == 0, list(running.lines)
        assert list(running.lines) == ["power on b''", f"{cause} b'state'"]


def test_a_pico_with_an_older_micropython_runs_without_a_backup_memory(tmp_path: Path) -> None:
    code = """
import machine
del machine.mem_backup
import pins
pins.write_rtc_memory(b"state")
print(pins.reset_cause(), pins.woke_by_pin(), pins.read_rtc_memory())
if machine.reset_cause() == machine.PWRON_RESET:
    pins.deep_sleep(10)
"""
    path = [image.build_image("rpi_pico_w")]
    with SimulatedChip(tmp_path, ["-c", code], path=path, chip="rp2040") as running:
        assert running.wait() == 0, list(running.lines)
        assert list(running.lines) == ["power on False b''", "reset False b''"]


def test_a_deep_sleep_of_a_pico_is_as_long_as_asked_if_interrupts_end_its_light_sleeps(
    tmp_path: Path,
) -> None:
    """`lightsleep` returns at once while an interrupt of USB or of the radio is pending."""
    code = """
import machine, pins, time
if machine.reset_cause() == machine.PWRON_RESET:
    machine.lightsleep = lambda ms: None
    naps = []
    before = time.ticks_ms()
    machine.deepsleep = lambda ms: print(time.ticks_diff(time.ticks_ms(), before) + ms, len(naps))
    pins.deep_sleep(5600, lambda: naps.append(1))
"""
    path = [image.build_image("rpi_pico_w")]
    with SimulatedChip(tmp_path, ["-c", code], path=path, chip="rp2040") as running:
        assert running.wait() == 0, list(running.lines)
        ms, naps = running.lines[0].split()
        assert 5500 <= int(ms) <= 6500 and int(naps) <= 30


def test_a_command_waits_at_the_broker_while_the_device_sleeps_and_is_executed_once(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    settings = {"power": power("deep", period=3), "actuators": ACTUATORS}
    with simulated_device("esp32", tmp_path, mosquitto, list(SENSORS), **settings) as running:
        observer.wait_until(lambda: has_slept(running, 1), 60)  # its first sleep
        command = observer.monitor.command("dut", "lamp", '{"state": "ON", "for": 0.3}')
        observer.wait_until(lambda: command.response is not None, 60)
        assert command.response and command.response["ok"], command.response
        # the device does not sleep while the lamp is on
        observer.wait_until(lambda: observer.events[-1] == "dut: lamp is OFF", 30)
        sleeps = running.exit_codes.count(ASLEEP)
        observer.wait_until(lambda: has_slept(running, sleeps + 2), 60)
        assert observer.events.count("dut: lamp is ON") == 1


def test_the_will_reports_a_sleeping_device_that_does_not_wake(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    """The will delay is twice the period plus `awake` plus 30 seconds."""
    received: list[tuple[str, float]] = []
    topic = f"{PREFIX}/dut/status"
    observer.monitor._client.subscribe(
        topic, lambda m: received.append((bytes(m.payload).decode(), time.monotonic()))
    )
    settings = power("deep", period=1, awake=1)
    with simulated_device("esp32", tmp_path, mosquitto, list(SENSORS), power=settings) as running:
        observer.wait_until(lambda: has_slept(running, 3), 60)
    stopped = time.monotonic()
    observer.wait_until(lambda: received and received[-1][0] == "offline", 90)
    assert 20 < received[-1][1] - stopped < 60


def test_readings_taken_without_a_broker_are_sent_later_with_their_times(tmp_path: Path) -> None:
    require_mosquitto()
    late: list[list[Any]] = []
    settings = {"power": power("deep", period=1, awake=2), "backlog": {"on_flash": True}}
    with broker.Mosquitto() as server:
        server.stop()
        with simulated_device("esp32", tmp_path, server.address, list(SENSORS), **settings) as running:
            running.wait_until(lambda: has_slept(running, 3), 60)
            before = time.time()
            server.start()
            with observe(server.address) as observer:
                topic = f"{PREFIX}/dut/backlog"
                observer.monitor._client.subscribe(
                    topic, lambda m: late.extend(json.loads(bytes(m.payload))), qos=1
                )
                observer.wait_until(lambda: len(late) >= 3, 60)
    times = [when for _, when, _ in late]
    assert {name for name, _, _ in late} == {"chip_temperature"}
    assert times == sorted(times) and all(before - 60 < when <= before + 1 for when in times[:3])


@pytest.mark.parametrize("key", CHIPS)
def test_light_sleep_keeps_the_program_running_and_it_reconnects_after_each_sleep(
    key: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    sensors: list[dict[str, Any]] = [{"kind": "chip_temperature"}]
    with simulated_device(key, tmp_path, mosquitto, sensors, power=power("light")) as running:
        observer.wait_until(lambda: reading_count(observer) >= 3, 60)
        observer.wait_until(lambda: (observer.dut.health.get("cycles") or 0) >= 2, 30)
        assert not running.exit_codes
        assert observer.dut.health["connects"] >= 3  # it reconnects after each sleep
        assert observer.dut.status == "online"


def test_the_watchdog_does_not_reset_a_device_in_a_long_light_sleep(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with simulated_device(
        "rpi_pico_w", tmp_path, mosquitto, list(SENSORS), power=power("light", period=12)
    ) as running:
        observer.wait_until(lambda: reading_count(observer) >= 2, 60)
        assert not running.exit_codes


WAKE_SENSORS = [{"kind": "digital", "name": "door", "pin": 4, "wake": True}]


def asleep(running: SimulatedChip) -> bool:
    return running.asleep or "asleep" in running.io


def record_door(observer: Observer) -> list[str]:
    """Return a list to which the published states of the door are appended."""
    states: list[str] = []
    topic = f"{PREFIX}/dut/sensor/door"
    observer.monitor._client.subscribe(topic, lambda m: states.append(bytes(m.payload).decode()))
    observer.monitor.poll(200)
    return states


@pytest.mark.parametrize("key", ["esp32", "esp32_c3", "rpi_pico_w"])
def test_opening_and_closing_a_door_each_wake_the_device(
    key: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    states = record_door(observer)
    with simulated_device(
        key, tmp_path, mosquitto, list(WAKE_SENSORS), power=power("deep", period=600)
    ) as running:
        running.io["pin-4"] = "1"
        observer.wait_until(lambda: states == ["ON"] and asleep(running), 30)
        running.io["pin-4"] = "10"
        observer.wait_until(lambda: states == ["ON", "OFF"] and asleep(running), 30)
        running.io["pin-4"] = "101"
        observer.wait_until(lambda: len(states) > 2 and asleep(running), 30)
        assert states == ["ON", "OFF", "ON"]


@pytest.mark.parametrize("key", ["esp32", "rpi_pico_w"])
def test_a_press_that_ends_before_the_device_is_awake_is_published(
    key: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    states = record_door(observer)
    with simulated_device(
        key, tmp_path, mosquitto, list(WAKE_SENSORS), power=power("deep", period=600)
    ) as running:
        running.io["pin-4"] = "1"
        observer.wait_until(lambda: states and asleep(running), 30)
        running.io.pulses(4, 1)
        observer.wait_until(lambda: len(states) == 3, 30)
        assert states == ["ON", "OFF", "ON"]


@pytest.mark.parametrize("mode", ["light", "deep"])
def test_pulses_do_not_end_a_sleep_and_are_counted_in_light_sleep(
    mode: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    """On an RP2 any interrupt ends a sleep of `machine`, so the device has to sleep again."""
    sensors = [{"kind": "pulse", "name": "rain", "pin": 4}]
    with simulated_device("rpi_pico_w", tmp_path, mosquitto, sensors, power=power(mode, period=8)) as running:
        observer.wait_until(lambda: observer.dut.readings.get("rain/count"), 30)
        observer.wait_until(lambda: asleep(running), 30)
        before = time.monotonic()
        running.io.pulses(4, 3)
        observer.wait_until(lambda: len(observer.dut.readings["rain/count"]) == 2, 30)
        assert time.monotonic() - before > 4
        assert list(observer.dut.readings["rain/count"]) == ([0, 3] if mode == "light" else [0, 0])
