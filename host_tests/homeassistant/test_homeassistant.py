"""Devices in the real Home Assistant: what appears there, and what its switches do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tests.homeassistant.server import HomeAssistant
from tools import broker
from tools.demo import command
from tools.vm.device import Device, config

PREFIX = "home"

# one Home Assistant for all of them, also where several run at a time
pytestmark = [pytest.mark.xdist_group("homeassistant"), pytest.mark.timeout(240)]


def settings(name: str, address: broker.Address, **fields: Any) -> dict[str, Any]:
    return {**config(name, address, PREFIX), "discovery": "homeassistant", **fields}


@pytest.fixture(scope="module")
def demo_devices(
    home: HomeAssistant, mosquitto: broker.Address, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Device]]:
    """The devices of `make demo`, announced."""
    folder = tmp_path_factory.mktemp("demo")
    running = {}
    try:
        for name in command.NAMES:
            running[name] = Device(folder / name, settings(name, mosquitto))
        yield running
    finally:
        for device in running.values():
            device.stop()


# of each device of the demo: name, unit, device class, state class, whether it is diagnostic
SENSORS = {
    "load": ("Load", None, None, "measurement", False),
    "memory_available": ("Memory available", "MiB", "data_size", "measurement", False),
    "disk_free": ("Disk free", "GB", "data_size", "measurement", False),
    "uptime": ("Uptime", "s", "duration", "measurement", False),
    "cpu_temperature": ("Cpu temperature", "°C", "temperature", "measurement", False),
    "health_uptime": ("Health uptime", "s", "duration", "total_increasing", True),
    "health_heap_free": ("Health heap free", "B", "data_size", "measurement", True),
    "health_heap_least": ("Health heap least", "B", "data_size", "measurement", True),
    "health_stall": ("Health stall", "ms", "duration", "measurement", True),
    "health_connects": ("Health connects", None, None, "total_increasing", True),
    "health_reset": ("Health reset", None, None, None, True),
}
SWITCHES = {"lamp": "Lamp", "relay": "Relay"}


def test_every_entity_of_the_demo_appears(
    home: HomeAssistant, mosquitto: broker.Address, demo_devices: dict[str, Device]
) -> None:
    kinds = {sensor["kind"] for sensor in config("any", mosquitto, PREFIX)["sensors"]}
    expected = [name for name in SENSORS if name in kinds or name.startswith("health_")]
    assert kinds <= set(SENSORS)

    def shown() -> bool:
        states = home.states()
        wanted = [f"sensor.{device}_{name}" for device in command.NAMES for name in expected]
        wanted += [f"switch.{device}_{name}" for device in command.NAMES for name in SWITCHES]
        return all(
            states.get(one, {}).get("state") not in (None, "unknown", "unavailable")
            for one in wanted
            if not one.endswith("_reset")  # the host does not know why: it says unknown
        )

    home.until(shown)
    states, registry = home.states(), home.registry()
    for device in command.NAMES:
        for name in expected:
            title, unit, device_class, state_class, diagnostic = SENSORS[name]
            attributes = states[f"sensor.{device}_{name}"]["attributes"]
            assert attributes["friendly_name"] == f"{device} {title}"
            assert attributes.get("unit_of_measurement") == unit
            assert attributes.get("device_class") == device_class
            assert attributes.get("state_class") == state_class
            category = registry[f"sensor.{device}_{name}"]["entity_category"]
            assert category == ("diagnostic" if diagnostic else None)
        for name, title in SWITCHES.items():
            assert states[f"switch.{device}_{name}"]["attributes"]["friendly_name"] == f"{device} {title}"
    # and nothing else
    assert len([one for one in registry if "kitchen" in one]) == len(expected) + len(SWITCHES)
    known = {device["name"]: device for device in home.ask("config/device_registry/list")}
    assert known["kitchen"]["manufacturer"] == "umqtt5"
    assert known["kitchen"]["sw_version"].startswith("MicroPython 1.")


def test_a_reading_arrives_as_its_state(home: HomeAssistant, demo_devices: dict[str, Device]) -> None:
    def uptime() -> float:
        return float(Path("/proc/uptime").read_text().split()[0])

    before = uptime()
    home.until(lambda: home.number("sensor.cellar_uptime") > before + 1)
    assert home.number("sensor.cellar_uptime") <= uptime()
    home.until(lambda: home.number("sensor.cellar_health_heap_free") > 0)


def test_a_switch_that_is_flipped_there_switches_and_shows_what_was_confirmed(
    home: HomeAssistant, demo_devices: dict[str, Device]
) -> None:
    home.shows("switch.roof_relay", "off")
    for service, state in (("turn_on", "on"), ("turn_off", "off"), ("toggle", "on")):
        home.call(f"switch.{service}", "switch.roof_relay")
        home.shows("switch.roof_relay", state)
        assert demo_devices["roof"].output("relay") == state.upper()
    assert demo_devices["roof"].output("lamp") == "OFF"


def test_a_device_that_dies_is_unavailable(
    home: HomeAssistant, mosquitto: broker.Address, demo_devices: dict[str, Device]
) -> None:
    home.shows("switch.cellar_lamp", "off")
    device = demo_devices["cellar"]
    device._process.kill()
    device.wait(10)
    home.shows("switch.cellar_lamp", "unavailable")
    assert home.state("sensor.cellar_load") == "unavailable"
    demo_devices["cellar"] = Device(device.folder, settings("cellar", mosquitto))
    home.shows("switch.cellar_lamp", "off")


def test_what_is_withdrawn_is_gone_and_the_rest_is_not(
    home: HomeAssistant, mosquitto: broker.Address, tmp_path: Path
) -> None:
    first = settings("attic", mosquitto)
    with Device(tmp_path, first):
        home.until(lambda: {"sensor.attic_load", "switch.attic_relay"} <= set(home.registry()))
    fewer = dict(first, sensors=first["sensors"][1:], actuators=first["actuators"][:1])
    with Device(tmp_path, fewer):
        home.until(lambda: not {"sensor.attic_load", "switch.attic_relay"} & set(home.registry()))
        assert {"sensor.attic_uptime", "switch.attic_lamp"} <= set(home.registry())
        assert "sensor.attic_load" not in home.states()
    without = dict(fewer, discovery=None)
    with Device(tmp_path, without):
        home.until(lambda: not any("attic" in entity for entity in home.registry()))


def test_a_light_and_a_valve(home: HomeAssistant, mosquitto: broker.Address, tmp_path: Path) -> None:
    actuators = [
        {"kind": "light", "name": "ceiling", "pin": "lamp", "fade": 0},
        {"kind": "valve", "name": "water", "pin": "relay", "interlock": ["ceiling"]},
    ]
    with Device(tmp_path, settings("garden", mosquitto, actuators=actuators, sensors=[])) as device:
        home.shows("light.garden_ceiling", "off")
        home.call("light.turn_on", "light.garden_ceiling", brightness=128)
        home.shows("light.garden_ceiling", "on")
        assert home.states()["light.garden_ceiling"]["attributes"]["brightness"] == 128
        assert int(device.output("lamp")) == 128 * 128 * 65535 // 65025
        assert home.state("valve.garden_water") == "closed"
        # refused by its interlock: what is shown is what is
        home.call("valve.open_valve", "valve.garden_water")
        home.until(lambda: any("command to water" in line for line in device.lines))
        assert home.state("valve.garden_water") == "closed" and device.output("relay") == "OFF"
        home.call("light.turn_off", "light.garden_ceiling")
        home.shows("light.garden_ceiling", "off")
        home.call("valve.open_valve", "valve.garden_water")
        home.shows("valve.garden_water", "open")
        assert device.output("relay") == "ON"
        home.call("valve.close_valve", "valve.garden_water")
        home.shows("valve.garden_water", "closed")


def test_pixels_a_servo_and_a_contact(home: HomeAssistant, mosquitto: broker.Address, tmp_path: Path) -> None:
    actuators = [
        {"kind": "pixels", "name": "strip", "pin": "lamp", "count": 8},
        {"kind": "servo", "name": "flap", "pin": "relay", "low": 10, "high": 90},
    ]
    sensors = [{"kind": "digital", "name": "door", "pin": "door", "device_class": "door", "pull": "down"}]
    asked = settings("shed", mosquitto, actuators=actuators, sensors=sensors)
    with Device(tmp_path, asked) as device:
        home.shows("binary_sensor.shed_door", "off")
        (tmp_path / "door").write_text("1")
        home.shows("binary_sensor.shed_door", "on")
        assert home.states()["binary_sensor.shed_door"]["attributes"]["device_class"] == "door"
        home.shows("number.shed_flap", "unknown")  # it has not been told yet
        assert home.states()["number.shed_flap"]["attributes"]["min"] == 10
        assert home.states()["number.shed_flap"]["attributes"]["max"] == 90
        home.call("number.set_value", "number.shed_flap", value=45)
        home.shows("number.shed_flap", "45")
        home.call("light.turn_on", "light.shed_strip", rgb_color=[255, 128, 0], brightness=255)
        home.shows("light.shed_strip", "on")
        assert home.states()["light.shed_strip"]["attributes"]["rgb_color"] == [255, 128, 0]
        assert device.output("lamp") == "255 128 0"


def test_it_had_nothing_to_complain_of(home: HomeAssistant) -> None:
    """The last one here: whatever the others sent, it understood."""
    text = home.log.read_text(errors="replace")
    complaints = re.findall(r".*(?:WARNING|ERROR).*\[homeassistant\.components\.mqtt.*", text)
    assert not complaints
