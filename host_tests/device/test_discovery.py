"""A device that announces itself, in its 128 KB heap, before a broker and without Home Assistant."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from host_tests.device.observer import PREFIX, Observer, observe, wait_for_line
from host_tests.simulated_hardware import ASLEEP
from host_tests.simulated_hardware.test_board import simulated_device
from tools import broker
from tools.vm.device import SimulatedDevice, host_config
from umqtt5 import Client


class Listener:
    """What comes below `homeassistant/`; what was retained by devices before is taken away."""

    def __init__(self, address: broker.Address) -> None:
        self.client = Client(address.host, address.port, client_id="home", rx=16384, tx=1024)
        self.found: dict[str, str] = {}
        self.count = 0
        self.client.subscribe("homeassistant/device/+/config", self._take, qos=1)
        self.client.connect()
        self.client.publish("homeassistant/device/dut/config", b"", qos=1, retain=True)
        self.wait_until(lambda: self.found.get("dut") == "")
        self.count = 0

    def _take(self, message: Any) -> None:
        self.count += 1
        self.found[message.topic.split("/")[2]] = message.payload.decode()

    def wait_until(self, condition: Callable[[], object], timeout: float = 30) -> None:
        ends = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < ends, self.found
            self.client.poll(50)

    def entities(self, device: str = "dut") -> dict[str, Any]:
        """What is announced of a device, by key."""
        with suppress(KeyError, ValueError):
            found: dict[str, Any] = json.loads(self.found[device])["cmps"]
            return found
        return {}

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()


def settings(address: broker.Address, **fields: Any) -> dict[str, Any]:
    made = host_config("dut", address, PREFIX, 0.3)
    return {**made, "health": 0.5, "discovery": "homeassistant", **fields}


def test_it_is_announced_and_what_that_took_is_given_back(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with Listener(any_broker) as home, SimulatedDevice(tmp_path, settings(any_broker)) as running:
        home.wait_until(lambda: "sensor/load" in home.entities())
        assert {"sensor/uptime", "switch/lamp", "switch/relay", "sensor/health/heap_free"} <= set(
            home.entities()
        )
        assert len(home.found["dut"]) > 1024  # more than its buffer holds
        observer.wait_until(lambda: observer.dut.health.get("uptime", 0) >= 2)
        before = observer.dut.health["heap_used"]
        for _ in range(3):  # Home Assistant starts
            home.count = 0
            home.client.publish("homeassistant/status", b"online", qos=1)
            home.wait_until(lambda: home.count)
        uptime = observer.dut.health["uptime"]
        observer.wait_until(lambda: observer.dut.health["uptime"] > uptime + 1)
        assert observer.dut.health["heap_used"] - before < 1024
        assert observer.dut.health["connects"] == 1
        assert not [line for line in running.console_lines if "discovery" in line]


def test_what_is_gone_is_withdrawn_and_all_where_it_is_switched_off(
    any_broker: broker.Address, tmp_path: Path
) -> None:
    first = settings(any_broker)
    with Listener(any_broker) as home:
        with SimulatedDevice(tmp_path, first):
            home.wait_until(
                lambda: "switch/relay" in home.entities() and (tmp_path / "discovery.sent").exists()
            )
        with SimulatedDevice(tmp_path, dict(first, actuators=first["actuators"][:1])):
            home.wait_until(lambda: home.entities().get("switch/relay") == {"p": "switch"})
            home.wait_until(lambda: not (tmp_path / "discovery.new").exists())  # it knows that it has arrived
        with SimulatedDevice(tmp_path, dict(first, actuators=[], discovery=None)):
            home.wait_until(lambda: home.found.get("dut") == "")
            home.wait_until(lambda: not (tmp_path / "discovery.sent").exists())


def test_one_that_sleeps_is_announced_once_and_its_readings_expire(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    power = {"mode": "deep", "period": 2, "awake": 15, "linger": 0.2}
    options = {"power": power, "discovery": "homeassistant"}
    sensors = [{"kind": "chip_temperature"}]
    with (
        Listener(mosquitto) as home,
        simulated_device("esp32", tmp_path, mosquitto, sensors, **options) as running,
    ):
        home.wait_until(lambda: running.exit_codes.count(ASLEEP) >= 3, 60)
        assert home.count == 1
        expires = home.entities()["sensor/chip_temperature"]["exp_aft"]
        assert expires == 2 * 2 + 15 + 30  # it may miss one wake


def test_readings_are_told_again_when_home_assistant_has_started(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    quiet = {"kind": "disk_free", "period": 0.2, "dead_band": 1e6}  # told once, and then in an hour
    with Listener(any_broker) as home, SimulatedDevice(tmp_path, settings(any_broker, sensors=[quiet])):
        home.wait_until(lambda: home.entities())
        observer.wait_until(lambda: len(observer.dut.readings.get("disk_free", ())) == 2)
        home.client.publish("homeassistant/status", b"online", qos=1)
        observer.wait_until(lambda: len(observer.dut.readings["disk_free"]) == 3)


def test_a_broker_that_does_not_allow_it_is_told_of_and_the_device_goes_on(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic readwrite {PREFIX}/dut/#\n")
    with broker.Mosquitto(f"acl_file {rules}") as strict:
        with SimulatedDevice(tmp_path / "device", settings(strict.address)) as running:
            assert "Not authorized (0x87)" in wait_for_line(running, "dut: discovery: ")
            assert running.is_running


def test_a_delayed_will_lets_a_short_absence_pass(mosquitto: broker.Address, tmp_path: Path) -> None:
    made = settings(mosquitto, discovery=None)
    made["broker"]["will_delay"] = 3600
    with observe(mosquitto) as observer:
        with SimulatedDevice(tmp_path, made) as running:
            observer.wait_until(lambda: observer.dut.status == "online")
            running._process.kill()
            running.wait(10)
            observer.monitor.poll(1500)
            assert observer.dut.status == "online"
        observer.dut.health.clear()
        made["broker"]["will_delay"] = 1
        with SimulatedDevice(tmp_path, made) as running:
            observer.wait_until(lambda: observer.dut.health)
            running._process.kill()
            observer.wait_until(lambda: observer.dut.status == "offline")
