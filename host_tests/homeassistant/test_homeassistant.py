"""MQTT discovery with the real Home Assistant: entities, states, service calls, availability and removal."""

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

# one pytest worker runs all of these tests, because they share one Home Assistant
pytestmark = [pytest.mark.xdist_group("homeassistant"), pytest.mark.timeout(240)]


def settings(name: str, address: broker.Address, **fields: Any) -> dict[str, Any]:
    return {**host_config(name, address, PREFIX), "discovery": "homeassistant", **fields}


@pytest.fixture(scope="module")
def demo_devices(
    home_assistant: HomeAssistant, mosquitto: broker.Address, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, SimulatedDevice]]:
    """The devices of `make demo`, with discovery enabled."""
    folder = tmp_path_factory.mktemp("demo")
    running = {}
    try:
        for name in command.DEVICE_NAMES:
            running[name] = SimulatedDevice(folder / name, settings(name, mosquitto))
        yield running
    finally:
        for device in running.values():
            device.stop()


# sensors of each demo device: (name, unit, device class, state class, whether it is diagnostic)
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


def test_every_entity_of_the_demo_devices_appears_with_its_attributes(
    home_assistant: HomeAssistant, mosquitto: broker.Address, demo_devices: dict[str, SimulatedDevice]
) -> None:
    kinds = {sensor["kind"] for sensor in host_config("any", mosquitto, PREFIX)["sensors"]}
    expected = [name for name in SENSORS if name in kinds or name.startswith("health_")]
    assert kinds <= set(SENSORS)

    def all_have_a_state() -> bool:
        states = home_assistant.states()
        wanted = [f"sensor.{device}_{name}" for device in command.DEVICE_NAMES for name in expected]
        wanted += [f"switch.{device}_{name}" for device in command.DEVICE_NAMES for name in SWITCHES]
        return all(
            states.get(entity, {}).get("state") not in (None, "unknown", "unavailable")
            for entity in wanted
            if not entity.endswith("_reset")  # always "unknown": a host has no reset cause
        )

    home_assistant.wait_until(all_have_a_state)
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
    # there are no other entities
    assert len([entity for entity in registry if "kitchen" in entity]) == len(expected) + len(SWITCHES)
    known = {device["name"]: device for device in home_assistant.send_command("config/device_registry/list")}
    assert known["kitchen"]["manufacturer"] == "umqtt5"
    assert known["kitchen"]["sw_version"].startswith("MicroPython 1.")


def test_a_sensor_reading_becomes_the_state_of_its_entity(
    home_assistant: HomeAssistant, demo_devices: dict[str, SimulatedDevice]
) -> None:
    def uptime() -> float:
        return float(Path("/proc/uptime").read_text().split()[0])

    before = uptime()
    home_assistant.wait_until(lambda: home_assistant.numeric_state("sensor.cellar_uptime") > before + 1)
    assert home_assistant.numeric_state("sensor.cellar_uptime") <= uptime()
    home_assistant.wait_until(lambda: home_assistant.numeric_state("sensor.cellar_health_heap_free") > 0)


def test_turning_a_switch_in_home_assistant_sets_the_output_and_shows_the_confirmed_state(
    home_assistant: HomeAssistant, demo_devices: dict[str, SimulatedDevice]
) -> None:
    home_assistant.wait_for_state("switch.roof_relay", "off")
    for service, state in (("turn_on", "on"), ("turn_off", "off"), ("toggle", "on")):
        home_assistant.call_service(f"switch.{service}", "switch.roof_relay")
        home_assistant.wait_for_state("switch.roof_relay", state)
        assert demo_devices["roof"].read_output("relay") == state.upper()
    assert demo_devices["roof"].read_output("lamp") == "OFF"


def test_entities_are_unavailable_while_their_device_is_offline(
    home_assistant: HomeAssistant, mosquitto: broker.Address, demo_devices: dict[str, SimulatedDevice]
) -> None:
    home_assistant.wait_for_state("switch.cellar_lamp", "off")
    device = demo_devices["cellar"]
    device._process.kill()
    device.wait(10)
    home_assistant.wait_for_state("switch.cellar_lamp", "unavailable")
    assert home_assistant.state("sensor.cellar_load") == "unavailable"
    demo_devices["cellar"] = SimulatedDevice(device.folder, settings("cellar", mosquitto))
    home_assistant.wait_for_state("switch.cellar_lamp", "off")


def test_entities_removed_from_the_config_disappear_and_the_others_stay(
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


def test_a_light_has_a_brightness_and_a_valve_obeys_its_interlock(
    home_assistant: HomeAssistant, mosquitto: broker.Address, tmp_path: Path
) -> None:
    actuators = [
        {"kind": "light", "name": "ceiling", "pin": "lamp", "fade": 0},
        {"kind": "valve", "name": "water", "pin": "relay", "interlock": ["ceiling"]},
    ]
    with SimulatedDevice(tmp_path, settings("garden", mosquitto, actuators=actuators, sensors=[])) as device:
        home_assistant.wait_for_state("light.garden_ceiling", "off")
        home_assistant.call_service("light.turn_on", "light.garden_ceiling", brightness=128)
        home_assistant.wait_for_state("light.garden_ceiling", "on")
        assert home_assistant.states()["light.garden_ceiling"]["attributes"]["brightness"] == 128
        assert int(device.read_output("lamp")) == 128 * 128 * 65535 // 65025
        assert home_assistant.state("valve.garden_water") == "closed"
        # the interlock refuses the command, and the valve is still shown as closed
        home_assistant.call_service("valve.open_valve", "valve.garden_water")
        home_assistant.wait_until(lambda: any("command to water" in line for line in device.console_lines))
        assert home_assistant.state("valve.garden_water") == "closed" and device.read_output("relay") == "OFF"
        home_assistant.call_service("light.turn_off", "light.garden_ceiling")
        home_assistant.wait_for_state("light.garden_ceiling", "off")
        home_assistant.call_service("valve.open_valve", "valve.garden_water")
        home_assistant.wait_for_state("valve.garden_water", "open")
        assert device.read_output("relay") == "ON"
        home_assistant.call_service("valve.close_valve", "valve.garden_water")
        home_assistant.wait_for_state("valve.garden_water", "closed")


def test_pixels_a_servo_and_a_contact_appear_as_light_number_and_binary_sensor(
    home_assistant: HomeAssistant, mosquitto: broker.Address, tmp_path: Path
) -> None:
    actuators = [
        {"kind": "pixels", "name": "strip", "pin": "lamp", "count": 8},
        {"kind": "servo", "name": "flap", "pin": "relay", "low": 10, "high": 90},
    ]
    sensors = [{"kind": "digital", "name": "door", "pin": "door", "device_class": "door", "pull": "down"}]
    config = settings("shed", mosquitto, actuators=actuators, sensors=sensors)
    with SimulatedDevice(tmp_path, config) as device:
        home_assistant.wait_for_state("binary_sensor.shed_door", "off")
        (tmp_path / "door").write_text("1")
        home_assistant.wait_for_state("binary_sensor.shed_door", "on")
        assert home_assistant.states()["binary_sensor.shed_door"]["attributes"]["device_class"] == "door"
        home_assistant.wait_for_state("number.shed_flap", "unknown")  # no command yet
        assert home_assistant.states()["number.shed_flap"]["attributes"]["min"] == 10
        assert home_assistant.states()["number.shed_flap"]["attributes"]["max"] == 90
        home_assistant.call_service("number.set_value", "number.shed_flap", value=45)
        home_assistant.wait_for_state("number.shed_flap", "45")
        home_assistant.call_service(
            "light.turn_on", "light.shed_strip", rgb_color=[255, 128, 0], brightness=255
        )
        home_assistant.wait_for_state("light.shed_strip", "on")
        assert home_assistant.states()["light.shed_strip"]["attributes"]["rgb_color"] == [255, 128, 0]
        assert device.read_output("lamp") == "255 128 0"


def test_home_assistant_logged_no_mqtt_warning_or_error(home_assistant: HomeAssistant) -> None:
    """Runs last, so it checks the log of all tests in this module."""
    log = home_assistant.log.read_text(errors="replace")
    problems = re.findall(r".*(?:WARNING|ERROR).*\[homeassistant\.components\.mqtt.*", log)
    assert not problems
