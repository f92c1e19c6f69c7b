"""What `config.json` may hold: a table for each object, read by the check and by whoever writes a config.

`FIELDS` has the tables by what stands before the names of their fields. A field is (type, default,
smallest, largest, what is expected, for a person). The bounds are those of a number, or of the length
of a string. A default of `REQUIRED` means that the field has to be there, of `None` that it may be
absent. The fields of a sensor and of an actuator are those of its kind, in `sensors` and `actuators`.
"""

REQUIRED = ...

_NAME = "1 to 23 letters, digits, - or _"

FIELDS: dict = {
    "": {
        "device": (str, REQUIRED, 1, 23, _NAME),
        "prefix": (str, "umqtt5", 1, 64, "a topic without + and #"),
        "discovery": (str, None, 1, 64, "a topic without + and #, such as homeassistant"),
        "broker": (dict, REQUIRED, 0, 0, "an object"),
        "tasmota": (bool, False, 0, 1, "true or false"),
        "wifi": (dict, None, 0, 0, "an object with ssid and password"),
        "sensors": (list, (), 0, 32, "a list of sensors"),
        "actuators": (list, (), 0, 32, "a list of actuators"),
        "timestamps": (bool, True, 0, 1, "true or false"),
        "backlog": (dict, None, 0, 0, "an object with keep, policy or on_flash"),
        "power": (dict, None, 0, 0, "an object with mode"),
        "update": (dict, None, 0, 0, "an object with key"),
        "health": (float, 10, 0.1, 86400, "seconds, 0.1 to 86400"),
        "dedup_commands": (int, 8, 1, 64, "how many commands, 1 to 64"),
        "dedup_on_flash": (bool, False, 0, 1, "true or false"),
        "journal": (int, None, 6144, 1048576, "bytes of each of its two files, 6144 or more"),
        "ntp": (list, ("pool.ntp.org", "time.google.com"), 0, 4, "names of time servers, none for no time"),
        "watchdog": (bool, True, 0, 1, "true or false"),
        "reset_after": (float, 3600, 0, 86400, "seconds without a link, 0 for never"),
    },
    "broker.": {
        "host": (str, REQUIRED, 1, 253, "a host name or an address"),
        "port": (int, None, 1, 65535, "a port number"),
        "user": (str, None, 0, 1024, "a user name"),
        "password": (str, None, 0, 1024, "a password"),
        "keep_alive": (int, 30, 5, 65535, "seconds, 5 or more"),
        "will_delay": (int, 0, 0, 0x3FFFFFFF, "seconds, 0 for at once"),
        "tls": (dict, None, 0, 0, "an object with ca, and cert and key where the broker asks for them"),
    },
    "broker.tls.": {
        "ca": (str, REQUIRED, 1, 64, "the name of a file on the device"),
        "cert": (str, None, 1, 64, "the name of a file on the device"),
        "key": (str, None, 1, 64, "the name of a file on the device"),
    },
    "wifi.": {
        "ssid": (str, REQUIRED, 1, 32, "the name of the network"),
        "password": (str, "", 0, 64, "its password"),
        "power_save": (bool, False, 0, 1, "true or false"),
    },
    "power.": {
        "mode": (str, "on", 2, 5, "on, light or deep"),
        "period": (float, 300, 1, 86400, "seconds from one wake to the next, 1 to 86400"),
        "awake": (float, 30, 1, 3600, "seconds that it is awake at most, 1 to 3600"),
        "linger": (float, 0.5, 0, 60, "seconds that it waits for commands, 0 to 60"),
    },
    "backlog.": {
        "keep": (int, 50, 0, 2000, "how many readings, 0 to 2000"),
        "policy": (str, "oldest", 4, 6, "oldest, thin or newest"),
        "on_flash": (bool, False, 0, 1, "true or false"),
    },
    "update.": {
        "key": (str, REQUIRED, 32, 128, "32 to 128 hexadecimal digits"),
        "confirm": (float, 30, 1, 500, "seconds, 1 to 500"),
    },
}
