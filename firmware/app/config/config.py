"""Reads `config.json` and checks each field, before the device switches anything on."""

import gc
import json
import os
import sys

from actuators.schema import FIELDS as _ACTUATOR_FIELDS
from sensors import KINDS, load_module

from .schema import FIELDS, REQUIRED

# for error messages: what a pin in each of the board's lists can do
_USES = {
    "INPUT_PINS": "be an input",
    "OUTPUT_PINS": "be an output",
    "ANALOG_PINS": "measure a voltage",
    "WAKE_PINS": "wake the board",
}


_MAX_SIZE = 24576  # bytes


class ConfigError(Exception):
    """An error in the config; the message is one line with the file, the field and the expected value."""


def load(path, pins):
    """Return the config as a dict with all defaults filled in. Raises ConfigError.

    `pins` is the board's module `pins`, which lists the pins, readings, outputs and buses of the board.
    """
    config = _read(path)
    gc.collect()
    if not isinstance(config, dict):
        raise ConfigError("%s: expected an object with device and broker" % path)
    _check_fields(path, "", config)
    _check_name(path, "device", config["device"])
    for key in ("prefix", "discovery"):
        topic = config[key]
        if topic and ("+" in topic or "#" in topic or "\n" in topic):
            _fail(path, key, topic, FIELDS[""][key][4])
    _check_fields(path, "broker.", config["broker"])
    if config["broker"]["tls"] is not None:
        _check_tls(path, config["broker"]["tls"])
    _check_wifi(path, config["wifi"], pins)
    _check_network_names(path, config)
    config["backlog"] = config["backlog"] or {}
    _check_fields(path, "backlog.", config["backlog"])
    _check_choice(path, "backlog.", config["backlog"], "policy", ("newest", "oldest", "thin"))
    if config["update"] is not None:
        _check_update(path, config["update"])
    config["power"] = config["power"] or {}
    _check_power(path, config["power"], pins)
    _check_sensors(path, config["sensors"], config["power"]["mode"], pins)
    _check_actuators(path, config["actuators"], pins)
    from ..config_hardware import find_conflict

    conflict = find_conflict(config, pins, _pin_uses, _is_listed)
    find_conflict = None
    _unload("config_hardware")
    if conflict:
        raise ConfigError("%s: %s" % (path, conflict))
    return config


def _read(path):
    """Return the content of the file, as `json.load` does."""
    try:
        size = os.stat(path)[6]
    except OSError:
        raise ConfigError("%s: file not found; copy docs/config.example.json" % path)
    if size > _MAX_SIZE:
        raise ConfigError("%s: %d bytes, expected at most %d" % (path, size, _MAX_SIZE))
    try:
        from ..config_text import check

        with open(path, "rb") as file:
            text = check(file.read())
        check = None
        _unload("config_text")
        return json.loads(text)
    except OSError as error:
        raise ConfigError("%s: cannot read the file: %s" % (path, error))
    except MemoryError:
        raise ConfigError("%s: too large for the memory of this board" % path)
    except ValueError as error:
        raise ConfigError("%s: %s" % (path, error))


def _unload(name):
    """Unload a module of the package `app` that is needed only once, to free its heap."""
    if sys.implementation.name == "micropython":
        package = sys.modules["app"]
        if sys.modules.pop("app." + name, None) and hasattr(package, name):
            delattr(package, name)
        gc.collect()


def _fail(path, key, value, text):
    """Raise ConfigError for a value that does not match the description `text`. Secrets are not shown."""
    # a text in place of an object is perhaps its secret, too
    is_secret = key[-8:] == "password" or key in ("update.key", "update", "wifi", "broker")
    shown = "..." if is_secret else json.dumps(value)
    if isinstance(value, (dict, list)):  # it may contain a password
        shown = "an object" if isinstance(value, dict) else "a list"
    elif len(shown) > 80:
        shown = shown[:80] + "..."
    raise ConfigError("%s: %s: %s, expected %s" % (path, key, shown, text))


def _check_fields(path, prefix, config, fields=None):
    """Check the fields of one object and fill in defaults; messages show `prefix` before a field's name."""
    fields = fields or FIELDS[prefix]
    for key in config:
        if key not in fields:
            for other in FIELDS:
                if key in FIELDS[other] and not prefix:
                    raise ConfigError("%s: %s: unknown here, write it as %s%s" % (path, key, other, key))
            known = ", ".join(sorted(fields))
            raise ConfigError("%s: %s%s: unknown, expected one of %s" % (path, prefix, key, known))
    for key in fields:
        kind, default, low, high, text = fields[key]
        value = config.get(key)
        if value is None:
            if default is REQUIRED:
                raise ConfigError("%s: %s%s: missing, expected %s" % (path, prefix, key, text))
            config[key] = list(default) if kind is list else default
            continue
        has_type = isinstance(value, (int, float) if kind is float else kind)
        if not has_type or isinstance(value, bool) and kind is not bool:
            _fail(path, prefix + key, value, text + _quotes_hint(kind, value))
        if kind not in (dict, bool, object):
            size = len(value) if kind in (str, list) else value
            if not low <= size <= high:
                _fail(path, prefix + key, value, text)


def _quotes_hint(kind, value):
    """Return a hint for a number that is written as a string, or a string that is written as a number."""
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return ", in quotes"
    if isinstance(value, str) and kind in (int, float, bool):
        digits = value.strip().replace("-", "").replace(".", "")
        if digits.isdigit() if kind is not bool else value.lower() in ("true", "false"):
            return ", without quotes"
    return ""


def _check_network_names(path, config):
    """Check the names of hosts and the Wi-Fi."""
    from ..config_names import find_host_error, find_wifi_error

    hosts = [("broker.host", config["broker"]["host"])]
    hosts += [("ntp[%d]" % index, host) for index, host in enumerate(config["ntp"])]
    for key, host in hosts:
        error = find_host_error(host, key.rpartition(".")[0]) if isinstance(host, str) else "a host name"
        if error:
            # an address such as mqtt://user:password@host is not shown
            _fail(path, key, "..." if isinstance(host, str) and "@" in host else host, error)
    wrong = find_wifi_error(config["wifi"]) if config["wifi"] else None
    if wrong:
        _fail(path, "wifi." + wrong[0], config["wifi"][wrong[0]], wrong[1])
    find_host_error = find_wifi_error = None
    _unload("config_names")


def _check_name(path, key, name):
    for c in name:
        if not (c.isalpha() or c.isdigit() or c in "-_") or ord(c) > 127:
            _fail(path, key, name, FIELDS[""]["device"][4])


def _check_choice(path, prefix, config, key, values):
    if isinstance(config, dict) and key in config and config[key] not in values:
        _fail(path, prefix + key, config[key], "one of " + ", ".join(sorted(values)))


def _check_list(path, name, items, fields, key, values):
    """Check a list of sensors or actuators; returns the set of their names.

    `fields(kind)` returns the fields of a kind. The field `key` must have one of `values`.
    """
    names = set()
    for index, item in enumerate(items):
        prefix = "%s[%d]" % (name, index)
        if not isinstance(item, dict):
            _fail(path, prefix, item, "an object")
        prefix += "."
        _check_fields(path, prefix, item, fields(item.get("kind")))
        _check_choice(path, prefix, item, key, values)
        if item["name"] is None:
            item["name"] = item["kind"]
        _check_name(path, prefix + "name", item["name"])
        if item["name"] in names:
            _fail(path, prefix + "name", item["name"], "a name that is not used yet")
        names.add(item["name"])
    return names


def _check_actuators(path, items, pins):
    for index, item in enumerate(items):
        _check_choice(path, "actuators[%d]." % index, item, "kind", _ACTUATOR_FIELDS)
    names = _check_list(
        path, "actuators", items, lambda kind: _ACTUATOR_FIELDS[kind or "switch"], "pin", pins.OUTPUTS
    )
    for index, item in enumerate(items):
        prefix = "actuators[%d]." % index
        _check_choice(path, prefix, item, "safe", ("ON", "OFF", "HOLD"))
        for other in item["interlock"]:
            if other not in names or other == item["name"]:
                _fail(path, prefix + "interlock", other, "the name of another actuator")


def _check_sensors(path, items, mode, pins):
    wake_error = None if mode == "deep" else 'power.mode is not "deep"'
    known = KINDS.split() + list(pins.READINGS)
    for index, item in enumerate(items):
        _check_choice(path, "sensors[%d]." % index, item, "kind", known)
    _check_list(path, "sensors", items, lambda kind: load_module(kind).FIELDS, "kind", known)
    for index, item in enumerate(items):
        prefix = "sensors[%d]." % index
        kind = load_module(item["kind"])
        for key, use in _pin_uses(item["kind"]).items():
            _check_pin(path, prefix + key, item[key], use, pins)
        for key, words in getattr(kind, "CHOICES", {}).items():
            _check_choice(path, prefix, item, key, words)
        if "bus" in item and item["bus"] not in pins.BUSES:
            buses = ", ".join(sorted(pins.BUSES))
            _fail(path, prefix + "bus", item["bus"], buses or "no sensor with a bus: this board has no bus")
        wrong = kind.check(item, pins) if hasattr(kind, "check") else None
        if wrong:
            _fail(path, prefix + wrong[0], item[wrong[0]], wrong[1])
        if item.get("wake"):
            if wake_error:
                _fail(path, prefix + "wake", True, "false: " + wake_error)
            wake_error = "another sensor wakes the board"
            _check_pin(path, prefix + "pin", item["pin"], "WAKE_PINS", pins)


def _pin_uses(kind):
    return getattr(load_module(kind), "PIN_USES", {})


def _check_pin(path, key, pin, kind, pins):
    """Check a pin: a GPIO number or the name of an output. The board's list named `kind` must contain it."""
    allowed = getattr(pins, kind)
    is_name = isinstance(pin, str)
    if allowed == "any":
        if is_name and 0 < len(pin) < 24 and "/" not in pin and pin not in ("config.json", "."):
            return
        _fail(path, key, pin, "the name of a file, 1 to 23 characters without /")
    number = pins.OUTPUTS.get(pin) if is_name else pin
    if not isinstance(number, int) or isinstance(number, bool):
        _fail(path, key, pin, "a GPIO number, one of " + allowed)
    if not _is_listed(number, allowed):
        for numbers, why in pins.PIN_RESTRICTIONS.items():
            if _is_listed(number, numbers) and (kind == "ANALOG_PINS" or "measure" not in why):
                raise ConfigError(
                    "%s: %s: GPIO %d cannot %s: %s; expected one of %s"
                    % (path, key, number, _USES[kind], why, allowed)
                )
        text = " to wake the board" if kind == "WAKE_PINS" else ""
        _fail(path, key, pin, "one of %s%s" % (allowed, text))


def _is_listed(pin, text):
    """Return True if the number is in a list such as "0-5 12 32-39"."""
    for part in text.split():
        low, _, high = part.partition("-")
        if int(low) <= pin <= int(high or low):
            return True
    return False


def _check_tls(path, config):
    """Check `broker.tls`; the files must be in the folder of the config."""
    _check_fields(path, "broker.tls.", config)
    if (config["cert"] is None) != (config["key"] is None):
        raise ConfigError("%s: broker.tls: cert and key must be used together" % path)
    folder = path[: path.rfind("/") + 1]
    for key in config:
        if config[key]:
            try:
                os.stat(folder + config[key])
            except OSError:
                _fail(path, "broker.tls." + key, config[key], FIELDS["broker.tls."][key][4])


def _check_update(path, config):
    _check_fields(path, "update.", config)
    try:
        bytes.fromhex(config["key"])
    except ValueError:  # the key itself is not shown
        raise ConfigError("%s: update.key: expected %s" % (path, FIELDS["update."]["key"][4]))


def _check_power(path, config, pins):
    _check_fields(path, "power.", config)
    if config["mode"] not in ("on", "light", "deep"):
        _fail(path, "power.mode", config["mode"], FIELDS["power."]["mode"][4])
    if config["mode"] != "on" and not hasattr(pins, config["mode"] + "_sleep"):
        _fail(path, "power.mode", config["mode"], "on: this board cannot sleep")


def _check_wifi(path, config, pins):
    if config is None:
        if pins.WIFI:
            raise ConfigError("%s: wifi: missing, expected %s" % (path, FIELDS[""]["wifi"][4]))
    elif not pins.WIFI:
        raise ConfigError("%s: wifi: this board has no Wi-Fi, remove the field" % path)
    else:
        _check_fields(path, "wifi.", config)
