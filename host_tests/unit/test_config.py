"""Validation of config.json: defaults, missing and unknown fields, types, pins, paths in error messages."""

import json
import os

from app.config import config
from helper import raises

PATH = "test-config.json"


class Pins:
    """The attributes of a board that the validation reads."""

    WIFI = False
    READINGS = {"load": None, "uptime": None}
    OUTPUTS = {"lamp": 2}
    BUSES = {"i2c": (0, 22, 21)}
    ATTENUATIONS = {"0": 1, "11": 2.45}
    INPUT_PINS = "0-5 12-19 32-39"
    OUTPUT_PINS = "0-5 12-19 32-33"
    ANALOG_PINS = "32-39"
    WAKE_PINS = "0 2 4 32-39"
    PIN_RESTRICTIONS = {
        "6-11": "the flash is wired to it",
        "34-39": "it is input only",
        "0-31": "its ADC cannot measure here",
    }


class Board(Pins):
    WIFI = True


class TwoOutputs(Pins):
    OUTPUTS = {"lamp": 2, "relay": 4}


GOOD = {"device": "kitchen", "broker": {"host": "b"}}


def load(settings, pins=Pins):
    with open(PATH, "w") as file:
        file.write(settings if isinstance(settings, str) else json.dumps(settings))
    try:
        return config.load(PATH, pins)
    finally:
        os.remove(PATH)


def line(settings, pins=Pins):
    """Return the error message of this config without the file name; it must be one line."""
    text = str(raises(config.ConfigError, load, settings, pins))
    assert text.startswith(PATH + ": ") and "\n" not in text
    return text[len(PATH) + 2 :]


def changed(**fields):
    settings = dict(GOOD)
    settings.update(fields)
    return settings


def test_defaults_are_filled_in():
    settings = load(changed(sensors=[{"kind": "load"}], actuators=[{"name": "l", "pin": "lamp"}]))
    assert settings["broker"] == {
        "host": "b",
        "port": None,  # the default of the client: 1883, or 8883 with TLS
        "user": None,
        "password": None,
        "keep_alive": 30,
        "will_delay": 0,
        "tls": None,
    }
    assert settings["prefix"] == "umqtt5"
    assert settings["sensors"] == [
        {
            "kind": "load",
            "name": "load",
            "period": 10,
            "smoothing": 0,
            "dead_band": None,  # each reading is published
            "max_silence": 3600,
            "precision": None,  # the default of the sensor kind
            "qos": 0,
            "expiry": None,
            "retain": False,
        }
    ]
    actuator = settings["actuators"][0]
    assert actuator["kind"] == "switch" and actuator["max_on"] == 0 and actuator["interlock"] == []
    assert actuator["inverted"] is False and actuator["safe"] == "HOLD"


def test_a_missing_file_is_reported():
    text = str(raises(config.ConfigError, config.load, "nowhere.json", Pins))
    assert text.startswith("nowhere.json: file not found")


def test_a_file_that_is_not_a_json_object_is_refused():
    assert line("{").startswith("not JSON")
    assert line("").startswith("not JSON")
    assert line([]).startswith("expected an object")


def test_missing_fields_are_named():
    assert line({"broker": {"host": "b"}}).startswith("device: missing, expected 1 to 23")
    assert line({"device": "d"}).startswith("broker: missing")
    assert line(changed(broker={})) == "broker.host: missing, expected a host name or an IP address"
    assert line(changed(sensors=[{"period": 1}])).startswith("sensors[0].kind: missing")
    assert line(changed(), Board).startswith("wifi: missing, expected an object with ssid")


def test_an_unknown_field_is_reported_with_the_known_fields():
    assert line(changed(hots=1)).startswith("hots: unknown, expected one of actuators, backlog, broker")
    assert line(changed(broker={"host": "b", "prot": 1})).startswith(
        "broker.prot: unknown, expected one of host"
    )


def test_an_unknown_kind_is_reported_with_the_known_kinds():
    assert line(changed(sensors=[{"kind": "load"}, {"kind": "dht99"}])) == (
        'sensors[1].kind: "dht99", expected one of analog, battery, bme280, dht11, dht22, digital, '
        "ds18b20, heap_free, load, pulse, sht3x, uptime"
    )
    actuators = [{"name": "x", "pin": "lamp", "kind": "laser"}]
    assert line(changed(actuators=actuators)) == (
        'actuators[0].kind: "laser", expected one of light, pixels, servo, switch, valve'
    )
    assert line(changed(actuators=[{"name": "x", "pin": "moon"}])) == (
        'actuators[0].pin: "moon", expected one of lamp'
    )


def test_wrong_types_and_values_are_refused():
    for broker in ({"host": 5}, {"host": ""}, {"host": "b", "port": "1883"}, {"host": "b", "port": 0}):
        assert ", expected " in line(changed(broker=broker))
    assert line(changed(broker={"host": "b", "port": 70000})) == "broker.port: 70000, expected a port number"
    assert line(changed(broker={"host": "b", "port": True})).startswith("broker.port: true, expected")
    assert line(changed(device="a b")).startswith('device: "a b", expected 1 to 23 letters')
    assert line(changed(device="x" * 24)).startswith("device: ")
    assert line(changed(prefix="a/#")) == 'prefix: "a/#", expected a topic without + and #'
    assert line(changed(discovery="+")) == (
        'discovery: "+", expected a topic without + and #, such as homeassistant'
    )
    assert line(changed(discovery=True)).startswith("discovery: true, expected a topic")
    assert line(changed(broker={"host": "b", "will_delay": -1})).startswith("broker.will_delay: -1, expected")
    assert line(changed(sensors="load")).startswith('sensors: "load", expected a list')
    assert line(changed(sensors=["load"])) == 'sensors[0]: "load", expected an object'
    assert line(changed(sensors=[{"kind": "load", "period": 0}])).startswith(
        "sensors[0].period: 0, expected seconds"
    )
    assert line(changed(actuators=["x"])) == 'actuators[0]: "x", expected an object'


def test_two_sensors_with_the_same_name_are_refused():
    assert line(changed(sensors=[{"kind": "load"}, {"kind": "uptime", "name": "load"}])) == (
        'sensors[1].name: "load", expected a name that is not used yet'
    )


def test_wifi_is_accepted_only_if_the_board_has_it():
    wifi = {"ssid": "home", "password": "secret word"}
    assert load(changed(wifi=wifi), Board)["wifi"] == dict(wifi, power_save=False)
    assert "this board has no Wi-Fi" in line(changed(wifi=wifi))
    assert line(changed(wifi={"password": "x"}), Board).startswith("wifi.ssid: missing")


def test_a_sleep_mode_is_accepted_only_if_the_board_can_sleep():
    class Sleeper(Pins):
        @staticmethod
        def light_sleep(ms):
            pass

    assert load(changed(power={"mode": "light"}), Sleeper)["power"]["period"] == 300
    assert load(changed())["power"]["mode"] == "on"
    assert line(changed(power={"mode": "deep"}), Sleeper) == (
        'power.mode: "deep", expected on: this board cannot sleep'
    )
    assert line(changed(power={"mode": "off"})) == 'power.mode: "off", expected on, light or deep'
    assert line(changed(power={"period": 0})).startswith("power.period: 0, expected seconds")


def test_the_backlog_fields_are_checked():
    assert load(changed())["backlog"] == {"keep": 50, "policy": "oldest", "on_flash": False}
    assert line(changed(backlog={"policy": "random"})) == (
        'backlog.policy: "random", expected one of newest, oldest, thin'
    )


def test_each_kind_of_actuator_has_its_fields():
    def said(*actuators):
        return line(changed(actuators=list(actuators)))

    a = {"name": "a", "pin": "lamp"}
    assert said(dict(a, fade=1)).startswith("actuators[0].fade: unknown, expected one of interlock, inverted")
    assert said(dict(a, kind="light", fade=61)) == "actuators[0].fade: 61, expected seconds, 0 to 60"
    assert said(dict(a, inverted=1)).startswith("actuators[0].inverted: 1, expected true if")
    assert said(dict(a, safe="MAYBE")).startswith("actuators[0].safe")
    assert said(dict(a, safe="NO")) == 'actuators[0].safe: "NO", expected one of HOLD, OFF, ON'
    assert said(dict(a, interlock=["b"])) == (
        'actuators[0].interlock: "b", expected the name of another actuator'
    )
    assert said(dict(a, interlock=["a"])).startswith('actuators[0].interlock: "a"')
    both = [dict(a, interlock=["b"]), {"name": "b", "pin": "relay", "kind": "valve"}]
    load(changed(actuators=both), TwoOutputs)


def sensor(**fields):
    """Return the error message of a config with this sensor, without `sensors[0].`."""
    text = line(changed(sensors=[fields]))
    assert text.startswith("sensors[0].")
    return text[len("sensors[0].") :]


def test_each_kind_of_sensor_has_its_fields():
    checked = load(changed(sensors=[{"kind": "ds18b20", "pin": 4}, {"kind": "bme280", "name": "air"}]))
    wire, air = checked["sensors"]
    assert wire["address"] is None and "bus" not in wire
    assert air["bus"] == "i2c" and air["address"] is None
    assert sensor(kind="bme280", pin=4).startswith("pin: unknown, expected one of address, bus, dead_band")
    assert sensor(kind="dht22") == "pin: missing, expected a pin"
    assert sensor(kind="bme280", address=0x20) == "address: 32, expected 118 or 119"
    assert sensor(kind="bme280", bus="spi") == 'bus: "spi", expected i2c'
    assert sensor(kind="dht22", pin=4, period=0.5) == "period: 0.5, expected seconds, 2 to 86400"
    assert sensor(kind="digital", pin=4, pull="left") == 'pull: "left", expected one of down, none, up'
    assert sensor(kind="ds18b20", pin=4, address="x" * 16).endswith("expected 16 hexadecimal digits")
    assert sensor(kind="analog", pin=34, attenuation="7") == 'attenuation: "7", expected one of 0, 11'
    assert sensor(kind="load", qos=3) == "qos: 3, expected 0, 1 or 2"
    assert sensor(kind="load", smoothing=1) == "smoothing: 1, expected a number, 0 (none) to 0.99"
    assert sensor(kind="load", retain=1) == "retain: 1, expected true or false"


def test_an_unsuitable_pin_is_refused_with_a_reason():
    assert sensor(kind="digital", pin=6) == (
        "pin: GPIO 6 cannot be an input: the flash is wired to it; expected one of 0-5 12-19 32-39"
    )
    assert sensor(kind="dht22", pin=35) == (
        "pin: GPIO 35 cannot be an output: it is input only; expected one of 0-5 12-19 32-33"
    )
    assert sensor(kind="analog", pin=4) == (
        "pin: GPIO 4 cannot measure a voltage: its ADC cannot measure here; expected one of 32-39"
    )
    assert sensor(kind="digital", pin=60) == "pin: 60, expected one of 0-5 12-19 32-39"
    assert sensor(kind="digital", pin=True) == "pin: true, expected a pin"
    for pin in ("moon", 1.5, [], {}):
        assert "expected a GPIO number, one of 0-5 12-19 32-39" in sensor(kind="digital", pin=pin)
    load(changed(sensors=[{"kind": "digital", "pin": "lamp"}]))  # the name of a pin of the board


def test_one_digital_input_can_wake_the_board_from_deep_sleep():
    class Sleeps(Pins):
        deep_sleep = None

    door = {"kind": "digital", "name": "door", "pin": 4, "wake": True}
    power = {"mode": "deep"}
    assert load(changed(sensors=[door], power=power), Sleeps)["sensors"][0]["wake"] is True
    for mode in ({}, {"power": {"mode": "on"}}):
        text = line(changed(sensors=[door], **mode), Sleeps)
        assert text == 'sensors[0].wake: true, expected false: power.mode is not "deep"'
    other = dict(door, name="window", pin=2)
    text = line(changed(sensors=[door, other], power=power), Sleeps)
    assert text == "sensors[1].wake: true, expected false: another sensor wakes the board"
    text = line(changed(sensors=[dict(door, pin=5)], power=power), Sleeps)
    assert text == "sensors[0].pin: 5, expected one of 0 2 4 32-39 to wake the board"


def test_on_the_host_a_pin_is_a_file_name():
    class Host(Pins):
        BUSES: dict = {}
        INPUT_PINS = OUTPUT_PINS = ANALOG_PINS = "any"

    load(changed(sensors=[{"kind": "digital", "pin": "door"}]), Host)
    for pin in (4, "", "../x", "config.json"):
        text = line(changed(sensors=[{"kind": "digital", "pin": pin}]), Host)
        assert text.endswith("expected the name of a file, 1 to 23 characters without /")
    text = line(changed(sensors=[{"kind": "sht3x"}]), Host)
    assert text == 'sensors[0].bus: "i2c", expected no sensor with a bus: this board has no bus'
