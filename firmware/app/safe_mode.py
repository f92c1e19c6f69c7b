"""Safe mode: refuses all commands to actuators, and says why.

In safe mode the device has no actuators. `node` loads this module in safe mode only. Commands to
`<base>/restart/set` and updates are executed as usual.
"""

import json

from . import crash


class SafeMode:
    """The command topics of a device in safe mode.

    `commands` is the Commands object of the device, `tasmota` its Tasmota object, None without Tasmota.
    """

    def __init__(self, client, base, device, commands, tasmota):
        self._client = client
        self._commands = commands
        self._result = "stat/%s/RESULT" % device
        text = "safe mode: the device has crashed repeatedly%s; read %s/crash, then publish `restart` to "
        text += "%s/restart/set"
        self._error = text % (_last_error(), base, base)
        client.subscribe(base + "/+/+/set", self._on_command, qos=1, retain_handling=2)
        if tasmota:
            client.subscribe("cmnd/%s/+" % device, self._on_tasmota_command, qos=1, retain_handling=2)

    def _on_command(self, message):
        name = message.topic.split("/")[-2]
        self._commands.respond(message, json.dumps({"ok": False, "name": name, "error": self._error}))

    def _on_tasmota_command(self, message):
        text = json.dumps({"Command": "Error", "Error": self._error})
        self._client.publish(self._result, text)


def _last_error():
    """Return the last line of the saved traceback, in brackets; "" if there is none."""
    text = (crash.load() or b"").strip()
    try:
        return " (%s)" % str(text[text.rfind(b"\n") + 1 :][:80], "utf-8") if text else ""
    except UnicodeError:  # the 80th byte is in the middle of a character
        return ""
