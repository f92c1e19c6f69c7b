"""Builds the discovery message that describes the device and its entities to Home Assistant 2024.11 or later.

The message is written to a file if it differs from the last message; `discovery_publisher` publishes this
file. Each line of the file that begins with a quote or a comma describes an entity. An entity that was sent
before and no longer exists is listed with only its platform, which removes it from Home Assistant.

The JSON is built as text, piece by piece, because the heap is nearly full when this module is loaded. Names
of sensors and actuators need no escaping, because the config check rejects special characters. Unique
identifiers begin with "umqtt5", because other software may publish a device with the same name.
"""

import os
import sys
from json import dumps

from .discovery_files import PENDING_FILE, SENT_FILE, read_topic, replace_file

_DIAGNOSTIC = ',"ent_cat":"diagnostic"'
_MEASURED = ',"unit_of_meas":%s,"stat_cla":"%s","sug_dsp_prc":%d'


def list_entities(base, telemetry, actuators):
    """Yield (key, name, topic, JSON of the other fields) for each entity; a key begins with the platform."""
    for name, key, topic, unit, kind, state_class, decimals, expiry in telemetry.list_quantities():
        path = topic[len(base) + 1 :]  # sensor/<name>, or sensor/<name>/<key>
        if path.count("/") > 1:
            name += " " + key
        more = ',"exp_aft":%d,"dev_cla":%s' % (expiry or 0, dumps(kind or None))
        if state_class:
            more += _MEASURED % (dumps(unit or None), state_class, decimals)
        else:  # ON or OFF: a binary_sensor
            path = "binary_" + path
        if kind in ("signal_strength", "battery"):
            more += _DIAGNOSTIC
        yield path, name, topic, more
    for actuator in actuators:
        path = actuator.platform + "/" + actuator.name
        more = ',"cmd_t":"~/set"'
        if path[0] == "l":  # light
            more += ',"schema":"json","brightness":true,"sup_clrm":["%s"]' % (
                "rgb" if hasattr(actuator, "color") else "brightness"
            )
        elif path[0] == "n":  # number; its state is "unknown" until the first command
            more += (
                ',"min":%s,"max":%s,"unit_of_meas":"°",'
                '"val_tpl":"{{value if value|is_number else \'None\'}}"' % (actuator.low, actuator.high)
            )
        yield path, actuator.name, base + "/" + path, more
    for line in (  # metrics in `<base>/health`: key, unit, device class, state class
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
    """Yield the topic and the JSON of the message as pieces of text.

    `gone` is the list of the keys of entities to remove. Entities are available while the payload of the
    topic `status` is "online" in upper or lower case.
    """
    yield topic + "\n"
    yield '{"dev":{"ids":["umqtt5-%s"],"name":"%s","mf":"umqtt5",' % (device, device)
    machine = dumps(getattr(sys.implementation, "_machine", sys.platform))
    yield '"mdl":%s,"sw":"MicroPython %s"},' % (machine, "%d.%d.%d" % tuple(sys.implementation.version[:3]))
    # the status "safe mode" also means unavailable: in safe mode there are no sensors and no actuators
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
    """Write the message of the current entities to PENDING_FILE if it differs from the last one.

    `entity_args` are the arguments of `list_entities`. Raises OSError.
    """
    sent, new = read_topic(SENT_FILE), read_topic(PENDING_FILE)
    if new and new != topic:
        if sent and sent != new:
            os.remove(PENDING_FILE)  # never sent: the message in SENT_FILE has to be removed first
        else:
            replace_file(PENDING_FILE, SENT_FILE)
        new = None
    now = [entity[0] for entity in list_entities(*entity_args)]
    gone = [key for key in _listed_keys(PENDING_FILE if new else SENT_FILE, topic) if key not in now]
    if not new and not gone and _equals(SENT_FILE, format_message(topic, device, status, entity_args, gone)):
        return
    with open("discovery.tmp", "w") as file:
        for line in format_message(topic, device, status, entity_args, gone):
            file.write(line)
    replace_file("discovery.tmp", PENDING_FILE)


def _listed_keys(path, topic):
    """Return the keys of the entities in a file; an empty list if the file is for another topic."""
    found = []
    if read_topic(path) == topic:
        with open(path) as file:
            file.readline()
            for line in file:
                parts = line.split('"', 2)
                # an entity whose removal the broker has acknowledged is not removed again
                if parts[0] in ("", ",") and len(parts) > 2 and (path == PENDING_FILE or "uniq_id" in line):
                    found.append(parts[1])
    return found


def _equals(path, pieces):
    """Return True if the file consists of these pieces of text."""
    try:
        with open(path) as file:
            for text in pieces:
                if file.read(len(text)) != text:
                    return False
            return not file.read(1)
    except (OSError, ValueError):  # no file, or not UTF-8
        return False
