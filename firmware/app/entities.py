"""What a device has, as Home Assistant wants to hear it (device discovery, of 2024.11 and later).

Loaded for an announcement, and let go after it. The JSON is never there as a whole: it is made
entity by entity, once to know its length and once more to be sent.
"""

import json
import sys

_ID = "umqtt5-"  # what begins our identifiers: others announce devices of the same names
# anything but `online` is not there: in safe mode there are no sensors and no actuators
_AVAILABLE = "{{'online' if value=='online' else 'offline'}}"
# of `<base>/health`: key, unit, device class, state class
_HEALTH = (
    ("uptime", "s", "duration", "total_increasing"),
    ("heap_free", "B", "data_size", "measurement"),
    ("heap_least", "B", "data_size", "measurement"),
    ("stall", "ms", "duration", "measurement"),
    ("connects", "", "", "total_increasing"),
    ("reset", "", "", None),
)
_DIAGNOSTIC = ("signal_strength", "battery")  # device classes that tell of the device itself


class Entities:
    """`expire` is the seconds after which a reading is worth nothing where its sensor does not say it,
    None for never: for a device that sleeps.
    """

    def __init__(self, device, base, telemetry, actuators, expire=None):
        self._device = device
        self._base = base
        self._telemetry = telemetry
        self._actuators = actuators
        self._expire = expire

    def table(self):
        """(key, what is said of it) for each entity. A key begins with its platform."""
        for name, key, topic, unit, device_class, state_class, decimals, expiry in self._telemetry.table():
            path = topic[len(self._base) + 1 :]  # sensor/<name> or sensor/<name>/<key>
            title = name if path.count("/") == 1 else name + " " + key
            about = {"exp_aft": expiry or self._expire}
            if state_class is None:
                yield self._entity("binary_sensor" + path[6:], topic, title, device_class, about)
                continue
            about["unit_of_meas"] = unit
            about["stat_cla"] = state_class
            about["sug_dsp_prc"] = decimals
            if device_class in _DIAGNOSTIC:
                about["ent_cat"] = "diagnostic"
            yield self._entity(path, topic, title, device_class, about)
        for actuator in self._actuators:
            key = actuator.platform + "/" + actuator.name
            about = _actuator(actuator)
            about["cmd_t"] = "~/set"
            yield self._entity(key, self._base + "/" + key, actuator.name, None, about)
        for key, unit, device_class, state_class in _HEALTH:
            about = {"unit_of_meas": unit, "stat_cla": state_class, "ent_cat": "diagnostic"}
            about["val_tpl"] = "{{value_json.%s}}" % key
            title = "health " + key
            yield self._entity("sensor/health/" + key, self._base + "/health", title, device_class, about)

    def _entity(self, key, topic, title, device_class, about):
        about["p"] = key[: key.find("/")]
        about["uniq_id"] = _ID + self._device + "/" + key
        title = title.replace("_", " ")
        about["name"] = title[0].upper() + title[1:]
        about["~"] = topic
        about["stat_t"] = "~"
        about["dev_cla"] = device_class
        for field in list(about):
            if about[field] is None or about[field] == "":
                del about[field]
        return key, about

    def pieces(self, gone):
        """The announcement, a str at a time. `gone` has the keys that are to be withdrawn."""
        device = {
            "ids": [_ID + self._device],
            "name": self._device,
            "mf": "umqtt5",
            "mdl": getattr(sys.implementation, "_machine", sys.platform),
            "sw": "MicroPython %d.%d.%d" % tuple(sys.implementation.version[:3]),
        }
        yield '{"dev":' + json.dumps(device)
        yield ',"o":{"name":"umqtt5"},"avty_t":' + json.dumps(self._base + "/status")
        yield ',"avty_tpl":' + json.dumps(_AVAILABLE)
        yield ',"qos":1,"cmps":{'
        comma = ""
        for key, about in self.table():
            yield comma + json.dumps(key) + ":" + json.dumps(about)
            comma = ","
        for key in gone:
            yield comma + json.dumps(key) + ":" + json.dumps({"p": key[: key.find("/")]})
            comma = ","
        yield "}}"


def _actuator(actuator):
    """What a platform has beside its topics. ON, OFF, OPEN, CLOSE, open, closed are Home Assistant's own."""
    platform = actuator.platform
    if platform == "light":
        modes = ["rgb" if hasattr(actuator, "colour") else "brightness"]
        return {"schema": "json", "brightness": True, "sup_clrm": modes}
    if platform == "number":
        # "unknown", until it was told an angle, is no number
        only = "{{value if value|is_number else 'None'}}"
        return {"min": actuator.low, "max": actuator.high, "unit_of_meas": "°", "val_tpl": only}
    return {}
