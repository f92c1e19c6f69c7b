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
from tools.vm.device import SimulatedDevice, host_config

PREFIX = "home"

# one Home Assistant for all of them, also where several run at a time
pytestmark = [pytest.mark.xdist_group("homeassistant"), pytest.mark.timeout(240)]


def settings(name: str, address: broker.Address, **fields: Any) -> dict[str, Any]:
    return {**host_config(name, address, PREFIX), "discovery": "homeassistant", **fields}


@pytest.fixture(scope="module")
def demo_devices(
    home_assistant: HomeAssistant, mosquitto: broker.Address, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, SimulatedDevice]]:
    """The devices of `make demo`, announced."""
    folder = tmp_path_factory.mktemp("demo")
    running = {}
    try:
        for name in command.DEVICE_NAMES:
            running[name] = SimulatedDevice(folder / name, settings(name, mosquitto))
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
    "health_heap_free_min": ("Health heap free min", "B", "data_size", "measurement", True),
    "health_stall": ("Health stall", "ms", "duration", "measurement", True),
    "health_connects": ("Health connects", None, None, "total_increasing", True),
    "health_reset": ("Health reset", None, None, None, True),
}
SWITCHES = {"lamp": "Lamp", "relay": "Relay"}


def test_every_entity_of_the_demo_appears(
    home_assistant: HomeAssistant, mosquitto: broker.Address, demo_devices: dict[str, SimulatedDevice]
) -> None:
    kinds = {sensor["kind"] for sensor in host_config("any", mosquitto, PREFIX)["sensors"]}
    expected = [name for name in SENSORS if name in kinds or name.startswith("health_")]
    assert kinds <= set(SENSORS)

    def shown() -> bool:
        states = home_assistant.states()
        wanted = [f"sensor.{device}_{name}" for device in command.DEVICE_NAMES for name in expected]
        wanted += [f"switch.{device}_{name}" for device in command.DEVICE_NAMES for name in SWITCHES]
        return all(
            states.get(one, {}).get("state") not in (None, "unknown", "unavailable")
            for one in wanted
            if not one.endswith("_reset")  # the host does not know why: it says unknown
        )

    home_assistant.wait_until(shown)
    states, registry = home_assistant.states(), home_assistant.registry()
    for device in command.DEVICE_NAMES:
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
    known = {device["name"]: device for device in home_assistant.ask("config/device_registry/list")}
    assert known["kitchen"]["manufacturer"] == "umqtt5"
    assert known["kitchen"]["sw_version"].startswith("MicroPython 1.")


def test_a_reading_arrives_as_its_state(
    home_assistant: HomeAssistant, demo_devices: dict[str, SimulatedDevice]
) -> None:
    def uptime() -> float:
        return float(Path("/proc/uptime").read_text().split()[0])

    before = uptime()
    home_assistant.wait_until(lambda: home_assistant.number("sensor.cellar_uptime") > before + 1)
    assert home_assistant.number("sensor.cellar_uptime") <= uptime()
    home_assistant.wait_until(lambda: home_assistant.number("sensor.cellar_health_heap_free") > 0)


def test_a_switch_that_is_flipped_there_switches_and_shows_what_was_confirmed(
    home_assistant: HomeAssistant, demo_devices: dict[str, SimulatedDevice]
) -> None:
    home_assistant.shows("switch.roof_relay", "off")
    for service, state in (("turn_on", "on"), ("turn_off", "off"), ("toggle", "on")):
        home_assistant.call(f"switch.{service}", "switch.roof_relay")
        home_assistant.shows("switch.roof_relay", state)
        assert demo_devices["roof"].read_output("relay") == state.upper()
    assert demo_devices["roof"].read_output("lamp") == "OFF"


def test_a_device_that_dies_is_unavailable(
    home_assistant: HomeAssistant, mosquitto: broker.Address, demo_devices: dict[str, SimulatedDevice]
) -> None:
    home_assistant.shows("switch.cellar_lamp", "off")
    device = demo_devices["cellar"]
    device._process.kill()
    device.wait(10)
    home_assistant.shows("switch.cellar_lamp", "unavailable")
    assert home_assistant.state("sensor.cellar_load") == "unavailable"
    demo_devices["cellar"] = SimulatedDevice(device.folder, settings("cellar", mosquitto))
    home_assistant.shows("switch.cellar_lamp", "off")


def test_what_is_withdrawn_is_gone_and_the_rest_is_not(
    home_assistant: HomeAssistant, mosquitto: broker.Address, tmp_path: Path
) -> None:
    first = settings("attic", mosquitto)
    with SimulatedDevice(tmp_path, first):
        home_assistant.wait_until(
            lambda: {"sensor.attic_load", "switch.attic_relay"} <= set(home_assistant.registry())
        )
    fewer = dict(first, sensors=first["sensors"][1:], actuators=first["actuators"][:1])
    with SimulatedDevice(tmp_path, fewer):
        home_assistant.wait_until(
            lambda: not {"sensor.attic_load", "switch.attic_relay"} & set(home_assistant.registry())
        )
        assert {"sensor.attic_uptime", "switch.attic_lamp"} <= set(home_assistant.registry())
        assert "sensor.attic_load" not in home_assistant.states()
    without = dict(fewer, discovery=None)
    with SimulatedDevice(tmp_path, without):
        home_assistant.wait_until(lambda: not any("attic" in entity for entity in home_assistant.registry()))


def test_a_light_and_a_valve(
    home_assistant: HomeAssistant, mosquitto: broker.Address, tmp_path: Path
) -> None:
    actuators = [
        {"kind": "light", "name": "ceiling", "pin": "lamp", "fade": 0},
        {"kind": "valve", "name": "water", "pin": "relay", "interlock": ["ceiling"]},
    ]
    with SimulatedDevice(tmp_path, settings("garden", mosquitto, actuators=actuators, sensors=[])) as device:
        home_assistant.shows("light.garden_ceiling", "off")
        home_assistant.call("light.turn_on", "light.garden_ceiling", brightness=128)
        home_assistant.shows("light.garden_ceiling", "on")
        assert home_assistant.states()["light.garden_ceiling"]["attributes"]["brightness"] == 128
        assert int(device.read_output("lamp")) == 128 * 128 * 65535 // 65025
        assert home_assistant.state("valve.garden_water") == "closed"
        # refused by its interlock: what is shown is what is
        home_assistant.call("valve.open_valve", "valve.garden_water")
        home_assistant.wait_until(lambda: any("command to water" in line for line in device.console_lines))
        assert home_assistant.state("valve.garden_water") == "closed" and device.read_output("relay") == "OFF"
        home_assistant.call("light.turn_off", "light.garden_ceiling")
        home_assistant.shows("light.garden_ceiling", "off")
        home_assistant.call("valve.open_valve", "valve.garden_water")
        home_assistant.shows("valve.garden_water", "open")
        assert device.read_output("relay") == "ON"
        home_assistant.call("valve.close_valve", "valve.garden_water")
        home_assistant.shows("valve.garden_water", "closed")


def test_pixels_a_servo_and_a_contact(
    home_assistant: HomeAssistant, mosquitto: broker.Address, tmp_path: Path
) -> None:
    actuators = [
        {"kind": "pixels", "name": "strip", "pin": "lamp", "count": 8},
        {"kind": "servo", "name": "flap", "pin": "relay", "low": 10, "high": 90},
    ]
    sensors = [{"kind": "digital", "name": "door", "pin": "door", "device_class": "door", "pull": "down"}]
    asked = settings("shed", mosquitto, actuators=actuators, sensors=sensors)
    with SimulatedDevice(tmp_path, asked) as device:
        home_assistant.shows("binary_sensor.shed_door", "off")
        (tmp_path / "door").write_text("1")
        home_assistant.shows("binary_sensor.shed_door", "on")
        assert home_assistant.states()["binary_sensor.shed_door"]["attributes"]["device_class"] == "door"
        home_assistant.shows("number.shed_flap", "unknown")  # it has not been told yet
        assert home_assistant.states()["number.shed_flap"]["attributes"]["min"] == 10
        assert home_assistant.states()["number.shed_flap"]["attributes"]["max"] == 90
        home_assistant.call("number.set_value", "number.shed_flap", value=45)
        home_assistant.shows("number.shed_flap", "45")
        home_assistant.call("light.turn_on", "light.shed_strip", rgb_color=[255, 128, 0], brightness=255)
        home_assistant.shows("light.shed_strip", "on")
        assert home_assistant.states()["light.shed_strip"]["attributes"]["rgb_color"] == [255, 128, 0]
        assert device.read_output("lamp") == "255 128 0"


def test_it_had_nothing_to_complain_of(home_assistant: HomeAssistant) -> None:
    """The last one here: whatever the others sent, it understood."""
    text = home_assistant.log.read_text(errors="replace")
    complaints = re.findall(r".*(?:WARNING|ERROR).*\[homeassistant\.components\.mqtt.*", text)
    assert not complaints
