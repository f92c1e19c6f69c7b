"""What a device has, as Home Assistant wants to hear it (device discovery, of 2024.11 and later).

It is written to flash at the start, when there is heap for it, and sent from there by `delivery`. The
topic is in the first line, an entity in each that begins with a quote or a comma. What was announced
before and is gone is there by its platform alone, which withdraws it. Flash is written only where
something has changed.

Text is put together here, not made of dicts, to take little heap. Names of sensors and actuators need
no escapes: the check of the config has seen to that.
"""

import os
import sys
from json import dumps

from .delivery import NEW, SENT, replace, topic_in

_HALF = "announced.tmp"

_DIAGNOSTIC = ',"ent_cat":"diagnostic"'
_MEASURED = ',"unit_of_meas":%s,"stat_cla":"%s","sug_dsp_prc":%d'
_MODES = ',"schema":"json","brightness":true,"sup_clrm":["%s"]'
# "unknown", until it was told an angle, is no number
_NUMBER = ',"min":%s,"max":%s,"unit_of_meas":"°","val_tpl":"{{value if value|is_number else \'None\'}}"'
# the identifiers are ours: others may announce a device of the same name
_DEVICE = '{"dev":{"ids":["umqtt5-%s"],"name":"%s","mf":"umqtt5","mdl":%s,"sw":"MicroPython %s"}'
# anything but `online` is not there: in safe mode there are no sensors and no actuators
_SHARED = ',"o":{"name":"umqtt5"},"qos":1,"avty_t":%s,"avty_tpl":"%s","cmps":{\n'
_AVAILABLE = "{{'online' if value=='online' else 'offline'}}"
_ENTITY = '%s"%s":{"p":"%s","uniq_id":"umqtt5-%s/%s","name":"%s","~":%s,"stat_t":"~"%s}\n'
# of `<base>/health`
_HEALTH = (
    ("uptime", "s", "duration", "total_increasing"),
    ("heap_free", "B", "data_size", "measurement"),
    ("heap_least", "B", "data_size", "measurement"),
    ("stall", "ms", "duration", "measurement"),
    ("connects", None, None, "total_increasing"),
    ("reset", None, None, None),
)


def table(base, telemetry, actuators):
    """The entities: (key, which begins with the platform; name; topic; more of its JSON)."""
    for name, key, topic, unit, device_class, state_class, decimals, expiry in telemetry.table():
        path = topic[len(base) + 1 :]  # sensor/<name>, or sensor/<name>/<key>
        if path.count("/") > 1:
            name += " " + key
        more = ',"exp_aft":%d,"dev_cla":%s' % (expiry or 0, dumps(device_class or None))
        if state_class:
            more += _MEASURED % (dumps(unit or None), state_class, decimals)
        else:  # ON or OFF
            path = "binary_" + path
        if device_class in ("signal_strength", "battery"):
            more += _DIAGNOSTIC
        yield path, name, topic, more
    for actuator in actuators:
        path = actuator.platform + "/" + actuator.name
        more = ',"cmd_t":"~/set"'
        if actuator.platform == "light":
            more += _MODES % ("rgb" if hasattr(actuator, "colour") else "brightness")
        elif actuator.platform == "number":
            more += _NUMBER % (actuator.low, actuator.high)
        yield path, actuator.name, base + "/" + path, more
    for key, unit, device_class, state_class in _HEALTH:
        more = ',"dev_cla":%s,"val_tpl":"{{value_json.%s}}"' % (dumps(device_class), key) + _DIAGNOSTIC
        if state_class:
            more += _MEASURED % (dumps(unit), state_class, 0)
        yield "sensor/health/" + key, "health " + key, base + "/health", more


def lines(topic, device, base, telemetry, actuators, gone):
    """The topic, then the JSON, a str at a time; `gone` has the keys that are to be withdrawn."""
    yield topic + "\n"
    machine = getattr(sys.implementation, "_machine", sys.platform)
    version = "%d.%d.%d" % tuple(sys.implementation.version[:3])
    yield _DEVICE % (device, device, dumps(machine), version) + _SHARED % (dumps(base + "/status"), _AVAILABLE)
    comma = ""
    for key, name, topic, more in table(base, telemetry, actuators):
        name = (name[0].upper() + name[1:]).replace("_", " ")
        yield _ENTITY % (comma, key, key[: key.find("/")], device, key, name, dumps(topic), more)
        comma = ","
    for key in gone:
        yield '%s"%s":{"p":"%s"}\n' % (comma, key, key[: key.find("/")])
        comma = ","
    yield "}}"


def prepare(topic, device, base, telemetry, actuators):
    """Have the files say what there is now. Raises OSError."""
    sent, new = topic_in(SENT), topic_in(NEW)
    if new and new != topic:
        if sent and sent != new:
            os.remove(NEW)  # it was never sent: what was before it had to be withdrawn first
        else:
            replace(NEW, SENT)
        new = None
    now = [entity[0] for entity in table(base, telemetry, actuators)]
    gone = [key for key in _keys(NEW if new else SENT, topic) if key not in now]
    if not new and not gone and _says(SENT, lines(topic, device, base, telemetry, actuators, gone)):
        return
    with open(_HALF, "w") as file:
        for line in lines(topic, device, base, telemetry, actuators, gone):
            file.write(line)
    replace(_HALF, NEW)


def _keys(path, topic):
    """What may be announced at this topic, as a file says."""
    found = []
    if topic_in(path) == topic:
        with open(path) as file:
            file.readline()
            for line in file:
                parts = line.split('"', 2)
                # what was withdrawn, and the broker has it, need not be once more
                if parts[0] in ("", ",") and len(parts) > 2 and (path == NEW or "uniq_id" in line):
                    found.append(parts[1])
    return found


def _says(path, expected):
    """Whether a file has these lines and no more."""
    try:
        with open(path) as file:
            for line in expected:
                if file.read(len(line)) != line:
                    return False
            return not file.read(1)
    except (OSError, ValueError):  # none, or no text
        return False
