"""What a device has, as Home Assistant wants to hear it (device discovery, of 2024.11 and later).

It is written to flash, where that says something else, and sent from there by `delivery`. An entity is
in each line that begins with a quote or a comma; what was announced before and is gone is there by its
platform alone, which withdraws it.

Text is put together here, not made of dicts, and what is used once has no name: the heap is nearly full
when this is loaded. Names of sensors and actuators need no escapes: the check of the config has seen to
that. Identifiers begin with our name, for others may announce a device called the same.
"""

import os
import sys
from json import dumps

from .discovery_files import PENDING_FILE, SENT_FILE, read_topic, replace_file

_DIAGNOSTIC = ',"ent_cat":"diagnostic"'
_MEASURED = ',"unit_of_meas":%s,"stat_cla":"%s","sug_dsp_prc":%d'


def list_entities(base, telemetry, actuators):
    """The entities: (key, which begins with the platform; name; topic; more of its JSON)."""
    for name, key, topic, unit, kind, state_class, decimals, expiry in telemetry.list_quantities():
        path = topic[len(base) + 1 :]  # sensor/<name>, or sensor/<name>/<key>
        if path.count("/") > 1:
            name += " " + key
        more = ',"exp_aft":%d,"dev_cla":%s' % (expiry or 0, dumps(kind or None))
        if state_class:
            more += _MEASURED % (dumps(unit or None), state_class, decimals)
        else:  # ON or OFF
            path = "binary_" + path
        if kind in ("signal_strength", "battery"):
            more += _DIAGNOSTIC
        yield path, name, topic, more
    for actuator in actuators:
        path = actuator.platform + "/" + actuator.name
        more = ',"cmd_t":"~/set"'
        if path[0] == "l":
            more += ',"schema":"json","brightness":true,"sup_clrm":["%s"]' % (
                "rgb" if hasattr(actuator, "color") else "brightness"
            )
        elif path[0] == "n":  # "unknown", until it was told an angle, is no number
            more += (
                ',"min":%s,"max":%s,"unit_of_meas":"°",'
                '"val_tpl":"{{value if value|is_number else \'None\'}}"' % (actuator.low, actuator.high)
            )
        yield path, actuator.name, base + "/" + path, more
    for line in (  # of `<base>/health`: key, unit, device class, state class
        "uptime s duration total_increasing",
        "heap_free B data_size measurement",
        "heap_free_min B data_size measurement",
        "stall ms duration measurement",
        "connects - - total_increasing",
        "reset",
    ):
        key, *words = line.split()
        more = ',"val_tpl":"{{value_json.%s}}"' % key + _DIAGNOSTIC
        if words:
            unit, kind = [None if word == "-" else word for word in words[:2]]
            more += _MEASURED % (dumps(unit), words[2], 0) + ',"dev_cla":' + dumps(kind)
        yield "sensor/health/" + key, "health " + key, base + "/health", more


def format_message(topic, device, status, entity_args, gone):
    """The topic, then the JSON, a str at a time; `gone` has the keys that are to be withdrawn.

    They are there where the topic `status` says online.
    """
    yield topic + "\n"
    yield '{"dev":{"ids":["umqtt5-%s"],"name":"%s","mf":"umqtt5",' % (device, device)
    machine = dumps(getattr(sys.implementation, "_machine", sys.platform))
    yield '"mdl":%s,"sw":"MicroPython %s"},' % (machine, "%d.%d.%d" % tuple(sys.implementation.version[:3]))
    # anything but `online` is not there: in safe mode there are no sensors and no actuators
    yield '"o":{"name":"umqtt5"},"qos":1,"avty_t":%s,"avty_tpl":"%s","cmps":{\n' % (
        dumps(status),
        "{{'online' if value|lower=='online' else 'offline'}}",
    )
    comma = ""
    for key, name, topic, more in list_entities(*entity_args):
        name = (name[0].upper() + name[1:]).replace("_", " ")
        yield '%s"%s":{"p":"%s","uniq_id":"umqtt5-' % (comma, key, key[: key.find("/")])
        yield '%s/%s","name":"%s","~":%s,"stat_t":"~"%s}\n' % (device, key, name, dumps(topic), more)
        comma = ","
    for key in gone:
        yield '%s"%s":{"p":"%s"}\n' % (comma, key, key[: key.find("/")])
        comma = ","
    yield "}}"


def prepare(topic, device, status, *entity_args):
    """Have the files say what there is now; `entity_args` are the arguments of `list_entities`. Raises OSError."""
    sent, new = read_topic(SENT_FILE), read_topic(PENDING_FILE)
    if new and new != topic:
        if sent and sent != new:
            os.remove(PENDING_FILE)  # it was never sent: what was before it had to be withdrawn first
        else:
            replace_file(PENDING_FILE, SENT_FILE)
        new = None
    now = [entity[0] for entity in list_entities(*entity_args)]
    gone = [key for key in _keys(PENDING_FILE if new else SENT_FILE, topic) if key not in now]
    if not new and not gone and _says(SENT_FILE, format_message(topic, device, status, entity_args, gone)):
        return
    with open("discovery.tmp", "w") as file:
        for line in format_message(topic, device, status, entity_args, gone):
            file.write(line)
    replace_file("discovery.tmp", PENDING_FILE)


def _keys(path, topic):
    """What may be announced at this topic, as a file says."""
    found = []
    if read_topic(path) == topic:
        with open(path) as file:
            file.readline()
            for line in file:
                parts = line.split('"', 2)
                # what was withdrawn, and the broker has it, need not be once more
                if parts[0] in ("", ",") and len(parts) > 2 and (path == PENDING_FILE or "uniq_id" in line):
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
