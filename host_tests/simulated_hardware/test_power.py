"""Devices that sleep, on the real VM with the simulated hardware, at a broker that keeps their sessions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tests.device.observer import PREFIX, Observer, observe
from host_tests.simulated_hardware import ASLEEP, SimulatedChip
from host_tests.simulated_hardware.test_board import simulated_device
from tools import broker

CHIPS = ("esp32", "rpi_pico_w")
SENSORS = [{"kind": "chip_temperature"}]
ACTUATORS = [{"name": "lamp", "pin": "lamp", "safe": "OFF"}]


@pytest.fixture
def observer(mosquitto: broker.Address) -> Iterator[Observer]:
    with observe(mosquitto) as one:
        yield one


def power(mode: str, **more: Any) -> dict[str, Any]:
    return {"mode": mode, "period": 2, "awake": 15, "linger": 0.2, **more}


def readings(observer: Observer) -> int:
    return len(observer.dut.readings.get("chip_temperature", ()))


def slept(running: SimulatedChip, times: int) -> bool:
    return running.exit_codes.count(ASLEEP) >= times


@pytest.mark.parametrize("key", CHIPS)
def test_it_wakes_measures_publishes_and_sleeps(
    key: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with simulated_device(key, tmp_path, mosquitto, list(SENSORS), power=power("deep")) as running:
        observer.wait_until(lambda: readings(observer) >= 3 and slept(running, 3), 60)
        assert set(running.exit_codes) == {ASLEEP}
        assert all(0 < ms <= 2000 for ms in running.requested_sleeps_ms)
        # of an orderly sleep nothing is counted as a crash, and flash is not written at each wake
        assert not (tmp_path / "start_count").exists() and not (tmp_path / "crash.txt").exists()
        observer.wait_until(lambda: (observer.dut.health.get("cycles") or 0) >= 2, 30)
        assert 0 < observer.dut.health["awake"] < 15000
        assert observer.dut.status == "online"  # it was never told to be gone


def test_a_command_waits_for_it_at_the_broker_and_is_carried_out_once(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    settings = {"power": power("deep", period=3), "actuators": ACTUATORS}
    with simulated_device("esp32", tmp_path, mosquitto, list(SENSORS), **settings) as running:
        observer.wait_until(lambda: slept(running, 1), 60)  # its first sleep
        command = observer.monitor.command("dut", "lamp", '{"state": "ON", "for": 0.3}')
        observer.wait_until(lambda: command.response is not None, 60)
        assert command.response and command.response["ok"], command.response
        # and it does not sleep while the lamp is on
        observer.wait_until(lambda: observer.events[-1] == "dut: lamp is OFF", 30)
        ends = running.exit_codes.count(ASLEEP)
        observer.wait_until(lambda: slept(running, ends + 2), 60)
        assert observer.events.count("dut: lamp is ON") == 1


def test_will_of_a_sleeping_device_that_does_not_wake(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    """By its will, which waits for longer than it sleeps: twice the period, `awake`, half a minute."""
    heard: list[tuple[str, float]] = []
    topic = f"{PREFIX}/dut/status"
    observer.monitor._client.subscribe(
        topic, lambda m: heard.append((bytes(m.payload).decode(), time.monotonic()))
    )
    settings = power("deep", period=1, awake=1)
    with simulated_device("esp32", tmp_path, mosquitto, list(SENSORS), power=settings) as running:
        observer.wait_until(lambda: slept(running, 3), 60)
    gone = time.monotonic()
    observer.wait_until(lambda: heard and heard[-1][0] == "offline", 90)
    assert 20 < heard[-1][1] - gone < 60


def test_what_it_could_not_deliver_is_told_with_its_time_when_there_is_a_broker_again(tmp_path: Path) -> None:
    if not broker.find_mosquitto():
        pytest.skip("no mosquitto")
    late: list[list[Any]] = []
    settings = {"power": power("deep", period=1, awake=2), "backlog": {"on_flash": True}}
    with broker.Mosquitto() as server:
        server.stop()
        with simulated_device("esp32", tmp_path, server.address, list(SENSORS), **settings) as running:
            running.wait_until(lambda: slept(running, 3), 60)
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
def test_in_light_sleep_what_is_in_ram_stays(
    key: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    sensors: list[dict[str, Any]] = [{"kind": "chip_temperature"}]
    with simulated_device(key, tmp_path, mosquitto, sensors, power=power("light")) as running:
        observer.wait_until(lambda: readings(observer) >= 3, 60)
        observer.wait_until(lambda: (observer.dut.health.get("cycles") or 0) >= 2, 30)
        assert not running.exit_codes
        assert observer.dut.health["connects"] >= 3  # the session is resumed each time
        assert observer.dut.status == "online"


def test_a_watchdog_does_not_bite_in_a_long_light_sleep(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with simulated_device(
        "rpi_pico_w", tmp_path, mosquitto, list(SENSORS), power=power("light", period=12)
    ) as running:
        observer.wait_until(lambda: readings(observer) >= 2, 60)
        assert not running.exit_codes


WAKING = [{"kind": "digital", "name": "door", "pin": 4, "wake": True}]


def asleep(running: SimulatedChip) -> bool:
    return running.asleep or "asleep" in running.io


def door(observer: Observer) -> list[str]:
    """What is told of the door, as it comes."""
    told: list[str] = []
    topic = f"{PREFIX}/dut/sensor/door"
    observer.monitor._client.subscribe(topic, lambda m: told.append(bytes(m.payload).decode()))
    observer.monitor.poll(200)
    return told


@pytest.mark.parametrize("key", ["esp32", "esp32_c3", "rpi_pico_w"])
def test_a_door_that_opens_wakes_it_and_so_does_one_that_closes(
    key: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    told = door(observer)
    with simulated_device(key, tmp_path, mosquitto, list(WAKING), power=power("deep", period=600)) as running:
        running.io["pin-4"] = "1"
        observer.wait_until(lambda: told == ["ON"] and asleep(running), 30)
        running.io["pin-4"] = "10"
        observer.wait_until(lambda: told == ["ON", "OFF"] and asleep(running), 30)
        running.io["pin-4"] = "101"
        observer.wait_until(lambda: len(told) > 2 and asleep(running), 30)
        assert told == ["ON", "OFF", "ON"]


@pytest.mark.parametrize("key", ["esp32", "rpi_pico_w"])
def test_a_press_that_is_over_when_it_is_awake_is_told_too(
    key: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    told = door(observer)
    with simulated_device(key, tmp_path, mosquitto, list(WAKING), power=power("deep", period=600)) as running:
        running.io["pin-4"] = "1"
        observer.wait_until(lambda: told and asleep(running), 30)
        running.io.pulses(4, 1)
        observer.wait_until(lambda: len(told) == 3, 30)
        assert told == ["ON", "OFF", "ON"]


@pytest.mark.parametrize("mode", ["light", "deep"])
def test_pulses_do_not_wake_it_and_count_where_it_sleeps_lightly(
    mode: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    """On an RP2 any interrupt ends a sleep."""
    sensors = [{"kind": "pulse", "name": "rain", "pin": 4}]
    with simulated_device("rpi_pico_w", tmp_path, mosquitto, sensors, power=power(mode, period=8)) as running:
        observer.wait_until(lambda: observer.dut.readings.get("rain/count"), 30)
        observer.wait_until(lambda: asleep(running), 30)
        before = time.monotonic()
        running.io.pulses(4, 3)
        observer.wait_until(lambda: len(observer.dut.readings["rain/count"]) == 2, 30)
        assert time.monotonic() - before > 4
        assert list(observer.dut.readings["rain/count"]) == ([0, 3] if mode == "light" else [0, 0])
