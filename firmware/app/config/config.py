"""Reads `config.json` and checks it field by field, before anything is switched on."""

import json
import os

from actuators.schema import FIELDS as ACTUATORS
from sensors import KINDS
from sensors import load_module as load_sensor_module

from .schema import FIELDS, REQUIRED


class ConfigError(Exception):
    """One line for a person: the file, the field, what was expected."""


def load(path, pins):
    """The config as a dict with every default filled in. Raises ConfigError.

    `pins` is the board's module, which knows the sensors, outputs and radio that there are.
    """
    try:
        with open(path) as file:
            config = json.load(file)
    except OSError:
        raise ConfigError("%s: not there; copy docs/config.example.json" % path)
    except ValueError:
        raise ConfigError("%s: not JSON; check commas, quotes and brackets" % path)
    if not isinstance(config, dict):
        raise ConfigError("%s: expected an object with device and broker" % path)
    _fields(path, "", config)
    _name(path, "device", config["device"])
    for field in ("prefix", "discovery"):
        topic = config[field]
        if topic and ("+" in topic or "#" in topic or "\n" in topic):
            _fail(path, field, topic, FIELDS[""][field][4])
    _fields(path, "broker.", config["broker"])
    if config["broker"]["tls"] is not None:
        _tls(path, config["broker"]["tls"])
    _wifi(path, config["wifi"], pins)
    config["backlog"] = config["backlog"] or {}
    _fields(path, "backlog.", config["backlog"])
    _one_of(path, "backlog.policy", config["backlog"], "policy", ("newest", "oldest", "thin"))
    if config["update"] is not None:
        _update(path, config["update"])
    config["power"] = config["power"] or {}
    _power(path, config["power"], pins)
    _sensors(path, config["sensors"], config["power"]["mode"], pins)
    _actuators(path, config["actuators"], pins)
    return config


def _fail(path, field, value, expected):
    secret = field[-8:] == "password" or field == "update.key"
    shown = "..." if secret else json.dumps(value)
    raise ConfigError("%s: %s: %s, expected %s" % (path, field, shown, expected))


def _fields(path, where, found, table=None):
    """Check the fields of one object and fill in its defaults."""
    table = table or FIELDS[where]
    for field in found:
        if field not in table:
            known = ", ".join(sorted(table))
            raise ConfigError("%s: %s%s: unknown, expected one of %s" % (path, where, field, known))
    for field in table:
        kind, default, low, high, expected = table[field]
        value = found.get(field)
        if value is None:
            if default is REQUIRED:
                raise ConfigError("%s: %s%s: missing, expected %s" % (path, where, field, expected))
            found[field] = list(default) if kind is list else default
            continue
        right = isinstance(value, (int, float) if kind is float else kind)
        if not right or isinstance(value, bool) and kind is not bool:
            _fail(path, where + field, value, expected)
        if kind not in (dict, bool, object):
            size = len(value) if kind in (str, list) else value
            if not low <= size <= high:
                _fail(path, where + field, value, expected)


def _name(path, field, name):
    for c in name:
        if not (c.isalpha() or c.isdigit() or c in "-_") or ord(c) > 127:
            _fail(path, field, name, FIELDS[""]["device"][4])


def _one_of(path, field, found, key, known):
    if isinstance(found, dict) and key in found and found[key] not in known:
        _fail(path, field, found[key], "one of " + ", ".join(sorted(known)))


def _list(path, what, found, fields, key, known):
    """Check a list of sensors or actuators; `key` has to be `known` to the board.

    `fields(kind)` is the table of a kind.
    """
    names = set()
    for index, item in enumerate(found):
        where = "%s[%d]" % (what, index)
        if not isinstance(item, dict):
            _fail(path, where, item, "an object")
        _fields(path, where + ".", item, fields(item.get("kind")))
        _one_of(path, where + "." + key, item, key, known)
        if item["name"] is None:
            item["name"] = item["kind"]
        _name(path, where + ".name", item["name"])
        if item["name"] in names:
            _fail(path, where + ".name", item["name"], "a name that no other has")
        names.add(item["name"])
    return names


def _actuators(path, found, pins):
    for index, item in enumerate(found):
        _one_of(path, "actuators[%d].kind" % index, item, "kind", ACTUATORS)
    names = _list(path, "actuators", found, lambda kind: ACTUATORS[kind or "switch"], "pin", pins.OUTPUTS)
    for index, item in enumerate(found):
        where = "actuators[%d]." % index
        _one_of(path, where + "safe", item, "safe", ("ON", "OFF", "HOLD"))
        for other in item["interlock"]:
            if other not in names or other == item["name"]:
                _fail(path, where + "interlock", other, "the name of another actuator")


def _sensors(path, found, mode, pins):
    woken = None
    known = KINDS.split() + list(pins.READINGS)
    for index, item in enumerate(found):
        _one_of(path, "sensors[%d].kind" % index, item, "kind", known)
    _list(path, "sensors", found, lambda kind: load_sensor_module(kind).FIELDS, "kind", known)
    for index, item in enumerate(found):
        where = "sensors[%d]." % index
        kind = load_sensor_module(item["kind"])
        for field, use in getattr(kind, "PIN_USES", {}).items():
            _pin(path, where + field, item[field], use, pins)
        for field, words in getattr(kind, "CHOICES", {}).items():
            _one_of(path, where + field, item, field, words)
        if "bus" in item and item["bus"] not in pins.BUSES:
            buses = ", ".join(sorted(pins.BUSES))
            _fail(path, where + "bus", item["bus"], buses or "no such sensor: this board has no bus")
        wrong = kind.check(item, pins) if hasattr(kind, "check") else None
        if wrong:
            _fail(path, where + wrong[0], item[wrong[0]], wrong[1])
        if item.get("wake"):
            if mode != "deep" or woken:
                _fail(path, where + "wake", True, "false: " + (woken or 'only from power.mode "deep"'))
            woken = "another sensor wakes it"
            _pin(path, where + "pin", item["pin"], "WAKE_PINS", pins)


_USES = {
    "INPUT_PINS": "an input",
    "OUTPUT_PINS": "an output",
    "ANALOG_PINS": "measured",
    "WAKE_PINS": "what wakes it",
}


def _pin(path, where, pin, use, pins):
    """A number of the chip's that can be used so, or a name of the board's."""
    pins_that_can = getattr(pins, use)
    named = isinstance(pin, str)
    if pins_that_can == "any":
        if named and 0 < len(pin) < 24 and "/" not in pin and pin not in ("config.json", "."):
            return
        _fail(path, where, pin, "the name of a file, 1 to 23 letters")
    number = pins.OUTPUTS.get(pin) if named else pin
    if not isinstance(number, int) or isinstance(number, bool):
        _fail(path, where, pin, "a number of one of its pins: " + pins_that_can)
    if not _within(number, pins_that_can):
        for numbers in pins.PIN_RESTRICTIONS:
            if _within(number, numbers) and not (
                use != "ANALOG_PINS" and "measure" in pins.PIN_RESTRICTIONS[numbers]
            ):
                raise ConfigError(
                    "%s: %s: GPIO %d can't be %s, for %s; expected one of %s"
                    % (path, where, number, _USES[use], pins.PIN_RESTRICTIONS[numbers], pins_that_can)
                )
        _fail(path, where, pin, "one of %s%s" % (pins_that_can, ", to wake it" if use == "WAKE_PINS" else ""))


def _within(number, numbers):
    """Whether it is one of these, such as "0-5 12 32-39"."""
    for part in numbers.split():
        low, _, high = part.partition("-")
        if int(low) <= number <= int(high or low):
            return True
    return False


def _tls(path, tls):
    """The files lie beside the config."""
    _fields(path, "broker.tls.", tls)
    if (tls["cert"] is None) != (tls["key"] is None):
        raise ConfigError("%s: broker.tls: cert and key go together" % path)
    folder = path[: path.rfind("/") + 1]
    for field in tls:
        if tls[field]:
            try:
                os.stat(folder + tls[field])
            except OSError:
                _fail(path, "broker.tls." + field, tls[field], FIELDS["broker.tls."][field][4])


def _update(path, update):
    _fields(path, "update.", update)
    try:
        bytes.fromhex(update["key"])
    except ValueError:  # the key itself is not shown
        raise ConfigError("%s: update.key: expected %s" % (path, FIELDS["update."]["key"][4]))


def _power(path, power, pins):
    _fields(path, "power.", power)
    if power["mode"] not in ("on", "light", "deep"):
        _fail(path, "power.mode", power["mode"], FIELDS["power."]["mode"][4])
    if power["mode"] != "on" and not hasattr(pins, power["mode"] + "_sleep"):
        _fail(path, "power.mode", power["mode"], "on: this board does not sleep")


def _wifi(path, wifi, pins):
    if wifi is None:
        if pins.WIFI:
            expected = FIELDS[""]["wifi"][4]
            raise ConfigError("%s: wifi: missing, expected %s" % (path, expected))
    elif not pins.WIFI:
        raise ConfigError("%s: wifi: this board has none, expected no such field" % path)
    else:
        _fields(path, "wifi.", wifi)
