import json
import os

from app import config
from helper import raises

PATH = "test-config.json"


class Pins:
    """What the check asks of a board."""

    WIFI = False
    READINGS = {"load": None, "uptime": None}
    OUTPUTS = {"lamp": 1}


class Board(Pins):
    WIFI = True


GOOD = {"device": "kitchen", "broker": {"host": "b"}}


def load(settings, pins=Pins):
    with open(PATH, "w") as file:
        file.write(settings if isinstance(settings, str) else json.dumps(settings))
    try:
        return config.load(PATH, pins)
    finally:
        os.remove(PATH)


def line(settings, pins=Pins):
    """The one line that this config gets; it names the file."""
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
        "port": None,  # the client's own: 1883, or 8883 with TLS
        "user": None,
        "password": None,
        "keep_alive": 30,
        "tls": None,
    }
    assert settings["prefix"] == "umqtt5"
    assert settings["sensors"] == [{"kind": "load", "name": "load", "period": 10}]
    actuator = settings["actuators"][0]
    assert actuator["kind"] == "switch" and actuator["max_on"] == 0 and actuator["interlock"] == []
    assert actuator["inverted"] is False and actuator["safe"] == "HOLD"


def test_no_file():
    text = str(raises(config.ConfigError, config.load, "nowhere.json", Pins))
    assert text.startswith("nowhere.json: not there")


def test_what_is_no_config_at_all():
    assert line("{").startswith("not JSON")
    assert line("").startswith("not JSON")
    assert line([]).startswith("expected an object")


def test_missing_fields_are_named():
    assert line({"broker": {"host": "b"}}).startswith("device: missing, expected 1 to 23")
    assert line({"device": "d"}).startswith("broker: missing")
    assert line(changed(broker={})) == "broker.host: missing, expected a host name or an address"
    assert line(changed(sensors=[{"period": 1}])).startswith("sensors[0].kind: missing")
    assert line(changed(), Board).startswith("wifi: missing, expected an object with ssid")


def test_unknown_fields_are_named_with_those_there_are():
    assert line(changed(hots=1)).startswith("hots: unknown, expected one of actuators, broker, device")
    assert line(changed(broker={"host": "b", "prot": 1})).startswith(
        "broker.prot: unknown, expected one of host"
    )


def test_an_unknown_kind_is_named_with_those_there_are():
    assert line(changed(sensors=[{"kind": "load"}, {"kind": "dht99"}])) == (
        'sensors[1].kind: "dht99", expected one of load, uptime'
    )
    actuators = [{"name": "x", "pin": "lamp", "kind": "laser"}]
    assert line(changed(actuators=actuators)) == (
        'actuators[0].kind: "laser", expected one of light, pixels, servo, switch, valve'
    )
    assert line(changed(actuators=[{"name": "x", "pin": "moon"}])) == (
        'actuators[0].pin: "moon", expected one of lamp'
    )


def test_wrong_types_and_values():
    for broker in ({"host": 5}, {"host": ""}, {"host": "b", "port": "1883"}, {"host": "b", "port": 0}):
        assert ", expected " in line(changed(broker=broker))
    assert line(changed(broker={"host": "b", "port": 70000})) == "broker.port: 70000, expected a port number"
    assert line(changed(broker={"host": "b", "port": True})).startswith("broker.port: true, expected")
    assert line(changed(device="a b")).startswith('device: "a b", expected 1 to 23 letters')
    assert line(changed(device="x" * 24)).startswith("device: ")
    assert line(changed(prefix="a/#")) == 'prefix: "a/#", expected a topic without + and #'
    assert line(changed(sensors="load")).startswith('sensors: "load", expected a list')
    assert line(changed(sensors=["load"])) == 'sensors[0]: "load", expected an object'
    assert line(changed(sensors=[{"kind": "load", "period": 0}])).startswith(
        "sensors[0].period: 0, expected seconds"
    )
    assert line(changed(actuators=["x"])) == 'actuators[0]: "x", expected an object'


def test_two_of_the_same_name():
    assert line(changed(sensors=[{"kind": "load"}, {"kind": "uptime", "name": "load"}])) == (
        'sensors[1].name: "load", expected a name that no other has'
    )


def test_a_radio_only_where_the_board_has_one():
    wifi = {"ssid": "home", "password": "secret"}
    assert load(changed(wifi=wifi), Board)["wifi"] == wifi
    assert "this board has none" in line(changed(wifi=wifi))
    assert line(changed(wifi={"password": "x"}), Board).startswith("wifi.ssid: missing")


def test_actuators_have_the_fields_of_their_kind():
    def said(*actuators):
        return line(changed(actuators=list(actuators)))

    a = {"name": "a", "pin": "lamp"}
    assert said(dict(a, fade=1)).startswith("actuators[0].fade: unknown, expected one of interlock, inverted")
    assert said(dict(a, kind="light", fade=61)) == "actuators[0].fade: 61, expected seconds, 0 to 60"
    assert said(dict(a, inverted=1)).startswith("actuators[0].inverted: 1, expected true where")
    assert said(dict(a, safe="MAYBE")).startswith("actuators[0].safe")
    assert said(dict(a, safe="NO")) == 'actuators[0].safe: "NO", expected one of HOLD, OFF, ON'
    assert said(dict(a, interlock=["b"])) == (
        'actuators[0].interlock: "b", expected the name of another actuator'
    )
    assert said(dict(a, interlock=["a"])).startswith('actuators[0].interlock: "a"')
    load(changed(actuators=[dict(a, interlock=["b"]), {"name": "b", "pin": "lamp", "kind": "valve"}]))
