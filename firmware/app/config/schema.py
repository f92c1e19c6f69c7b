"""Schema of `config.json`: type, default, limits and description of each field.

`FIELDS` contains a dict of fields for each object of the config; the keys of `FIELDS` are the prefixes of the
field names, such as "broker.". A field is (type, default, minimum, maximum, description for error messages).
Minimum and maximum apply to the value of a number, or to the length of a string or list. The default
`REQUIRED` means that the field is required; None means that it is optional and has no default. The fields of
sensors are defined in `sensors.schema` and in the module of each kind, the fields of actuators in
`actuators.schema`.
"""

REQUIRED = ...

_NAME = "1 to 23 letters, digits, - or _"

FIELDS: dict = {
    "": {
        "device": (str, REQUIRED, 1, 23, _NAME),
        "prefix": (str, "umqtt5", 1, 64, "a topic without + and #"),
        "discovery": (str, None, 1, 64, "a topic without + and #, such as homeassistant"),
        "broker": (dict, REQUIRED, 0, 0, "an object with host"),
        "tasmota": (bool, False, 0, 1, "true or false"),
        "wifi": (dict, None, 0, 0, "an object with ssid and password"),
        "sensors": (list, (), 0, 32, "a list of up to 32 sensors"),
        "actuators": (list, (), 0, 32, "a list of up to 32 actuators"),
        "timestamps": (bool, True, 0, 1, "true or false"),
        "backlog": (dict, None, 0, 0, "an object with keep, policy or on_flash"),
        "power": (dict, None, 0, 0, "an object with mode"),
        "update": (dict, None, 0, 0, "an object with key"),
        "health": (float, 10, 0.1, 86400, "seconds, 0.1 to 86400"),
        "command_max_age": (float, None, 0, 86400, "seconds, 0 to 86400, 0 for no limit"),
        "dedup_commands": (int, 8, 1, 64, "a number of commands, 1 to 64"),
        "dedup_on_flash": (bool, False, 0, 1, "true or false"),
        "journal": (int, None, 6144, 1048576, "the size of each of its two files in bytes, 6144 to 1048576"),
        "ntp": (list, ("pool.ntp.org", "time.google.com"), 0, 4, "a list of up to 4 host names, [] for none"),
        "watchdog": (bool, True, 0, 1, "true or false"),
        "reset_after": (float, 3600, 0, 86400, "seconds without a connection, 0 for never"),
    },
    "broker.": {
        "host": (str, REQUIRED, 1, 253, "a host name or an IP address"),
        "port": (int, None, 1, 65535, "a port number"),
        "user": (str, None, 0, 1024, "a user name"),
        "password": (str, None, 0, 1024, "a password"),
        "keep_alive": (int, 30, 5, 65535, "seconds, 5 to 65535"),
        "will_delay": (int, 0, 0, 0x3FFFFFFF, "seconds, 0 or more"),
        "tls": (dict, None, 0, 0, "an object with ca, and cert and key if the broker requires them"),
    },
    "broker.tls.": {
        "ca": (str, REQUIRED, 1, 64, "the name of a file on the device"),
        "cert": (str, None, 1, 64, "the name of a file on the device"),
        "key": (str, None, 1, 64, "the name of a file on the device"),
    },
    "wifi.": {
        "ssid": (str, REQUIRED, 1, 32, "the name of the Wi-Fi network, 1 to 32 bytes"),
        "password": (str, "", 0, 64, "the password of the Wi-Fi network, 8 to 63 characters"),
        "power_save": (bool, False, 0, 1, "true or false"),
    },
    "power.": {
        "mode": (str, "on", 2, 5, "on, light or deep"),
        "period": (float, 300, 1, 86400, "seconds from one wake to the next, 1 to 86400"),
        "awake": (float, 30, 1, 3600, "the maximum time awake in seconds, 1 to 3600"),
        "linger": (float, 0.5, 0, 60, "seconds to wait for commands, 0 to 60"),
    },
    "backlog.": {
        "keep": (int, 50, 0, 2000, "a number of readings, 0 to 2000"),
        "policy": (str, "oldest", 4, 6, "oldest, thin or newest"),
        "on_flash": (bool, False, 0, 1, "true or false"),
    },
    "update.": {
        "key": (str, REQUIRED, 32, 128, "32 to 128 hexadecimal digits"),
        "confirm": (float, 30, 1, 500, "seconds, 1 to 500"),
    },
}
