"""Home Assistant discovery: the messages of the device, in a heap of 176 KB, with a real broker."""

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


class DiscoveryListener:
    """Receives the discovery messages of all devices. First deletes the retained one of an earlier test."""

    def __init__(self, address: broker.Address) -> None:
        self.client = Client(address.host, address.port, client_id="home", rx=16384, tx=1024)
        self.payloads: dict[str, str] = {}  # the last discovery message, by device
        self.count = 0  # number of messages received
        self.client.subscribe("homeassistant/device/+/config", self._on_discovery, qos=1)
        self.client.connect()
        self.client.publish("homeassistant/device/dut/config", b"", qos=1, retain=True)
        self.wait_until(lambda: self.payloads.get("dut") == "")
        self.count = 0

    def _on_discovery(self, message: Any) -> None:
        self.count += 1
        self.payloads[message.topic.split("/")[2]] = message.payload.decode()

    def wait_until(self, condition: Callable[[], object], timeout: float = 30) -> None:
        """Poll until `condition()` is true. Raises AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.payloads
            self.client.poll(50)

    def entities(self, device: str = "dut") -> dict[str, Any]:
        """Return the entities in the discovery message of a device, by key; {} if there is none."""
        with suppress(KeyError, ValueError):
            entities: dict[str, Any] = json.loads(self.payloads[device])["cmps"]
            return entities
        return {}

    def __enter__(self) -> DiscoveryListener:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()


def settings(address: broker.Address, **fields: Any) -> dict[str, Any]:
    config = host_config("dut", address, PREFIX, 0.3)
    return {**config, "health": 0.5, "discovery": "homeassistant", **fields}


def test_the_device_publishes_its_discovery_message_and_frees_the_heap_for_it(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with DiscoveryListener(any_broker) as home, SimulatedDevice(tmp_path, settings(any_broker)) as running:
        home.wait_until(lambda: "sensor/load" in home.entities())
        assert {"sensor/uptime", "switch/lamp", "switch/relay", "sensor/health/heap_free"} <= set(
            home.entities()
        )
        assert len(home.payloads["dut"]) > 1024  # longer than the send buffer of the device
        observer.wait_until(lambda: observer.dut.health.get("uptime", 0) >= 2)
        before = observer.dut.health["heap_used"]
        for _ in range(3):  # Home Assistant publishes this birth message when it starts
            home.count = 0
            home.client.publish("homeassistant/status", b"online", qos=1)
            home.wait_until(lambda: home.count)
        uptime = observer.dut.health["uptime"]
        observer.wait_until(lambda: observer.dut.health["uptime"] > uptime + 1)
        assert observer.dut.health["heap_used"] - before < 1024
        assert observer.dut.health["connects"] == 1
        assert not [line for line in running.console_lines if "discovery" in line]


def test_removed_entities_are_withdrawn_and_all_of_them_if_discovery_is_off(
    any_broker: broker.Address, tmp_path: Path
) -> None:
    first = settings(any_broker)
    with DiscoveryListener(any_broker) as home:
        with SimulatedDevice(tmp_path, first):
            home.wait_until(
                lambda: "switch/relay" in home.entities() and (tmp_path / "discovery.sent").exists()
            )
        with SimulatedDevice(tmp_path, dict(first, actuators=first["actuators"][:1])):
            home.wait_until(lambda: home.entities().get("switch/relay") == {"p": "switch"})
            # deleted when the broker has acknowledged the message
            home.wait_until(lambda: not (tmp_path / "discovery.new").exists())
        with SimulatedDevice(tmp_path, dict(first, actuators=[], discovery=None)):
            home.wait_until(lambda: home.payloads.get("dut") == "")
            home.wait_until(lambda: not (tmp_path / "discovery.sent").exists())


def test_a_sleeping_device_publishes_discovery_once_and_its_readings_expire(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    power = {"mode": "deep", "period": 2, "awake": 15, "linger": 0.2}
    options = {"power": power, "discovery": "homeassistant"}
    sensors = [{"kind": "chip_temperature"}]
    with (
        DiscoveryListener(mosquitto) as home,
        simulated_device("esp32", tmp_path, mosquitto, sensors, **options) as running,
    ):
        home.wait_until(lambda: running.exit_codes.count(ASLEEP) >= 3, 60)
        assert home.count == 1
        expires = home.entities()["sensor/chip_temperature"]["exp_aft"]
        # two sleep periods, the time awake and 30 s of reserve, so that readings survive one missed wake-up
        assert expires == 2 * 2 + 15 + 30


def test_readings_are_published_again_when_home_assistant_starts(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    quiet = {"kind": "disk_free", "period": 0.2, "dead_band": 1e6}  # published at the start, then hourly
    with (
        DiscoveryListener(any_broker) as home,
        SimulatedDevice(tmp_path, settings(any_broker, sensors=[quiet])),
    ):
        home.wait_until(lambda: home.entities())
        observer.wait_until(lambda: len(observer.dut.readings.get("disk_free", ())) == 2)
        home.client.publish("homeassistant/status", b"online", qos=1)
        observer.wait_until(lambda: len(observer.dut.readings["disk_free"]) == 3)


def test_a_refused_discovery_message_is_reported_and_the_device_continues(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {PREFIX}/dut/#\n")
    with broker.Mosquitto(f"acl_file {acl}") as strict:
        with SimulatedDevice(tmp_path / "device", settings(strict.address)) as running:
            assert "Not authorized (0x87)" in wait_for_line(running, "dut: discovery: ")
            assert running.is_running


def test_the_will_is_published_only_after_its_delay(mosquitto: broker.Address, tmp_path: Path) -> None:
    config = settings(mosquitto, discovery=None)
    config["broker"]["will_delay"] = 3600
    with observe(mosquitto) as observer:
        with SimulatedDevice(tmp_path, config) as running:
            observer.wait_until(lambda: observer.dut.status == "online")
            running._process.kill()
            running.wait(10)
            observer.monitor.poll(1500)
            assert observer.dut.status == "online"
        observer.dut.health.clear()
        config["broker"]["will_delay"] = 1
        with SimulatedDevice(tmp_path, config) as running:
            observer.wait_until(lambda: observer.dut.health)
            running._process.kill()
            observer.wait_until(lambda: observer.dut.status == "offline")
