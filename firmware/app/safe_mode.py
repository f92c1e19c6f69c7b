"""Safe mode: a device that has crashed repeatedly runs without sensors and actuators for an hour.

In safe mode the device connects, publishes the reason, executes restart commands and installs updates. After
an hour, or after a restart command, it starts normally. If it crashes again before its run is stable, it
returns to safe mode. It answers all commands to actuators with an error that contains the reason.
"""

import json
from time import ticks_diff, ticks_ms

from micropython import const

from . import crash
from .node.publishing import publish

_DURATION = const(3600000)  # ms
_IDLE = const(1000)  # ms


class SafeMode:
    """The end of safe mode. `reason` is what `crash.begin_start` returns, `restart()` resets the board."""

    def __init__(self, name, reason, restart):
        print("%s: safe mode: %s" % (name, reason))
        self._name = name
        self._reason = reason
        self._restart = restart
        self._started_at = ticks_ms()
        self.update = None  # the Update of the device; safe mode does not end while it is busy

    def answer_commands(self, client, base, commands, tasmota):
        """Refuse all commands. `commands` is the Commands object, `tasmota` its Tasmota."""
        self._client = client
        self._commands = commands
        self._error = "safe mode: %s; to leave it, publish `restart` to %s/restart/set" % (self._reason, base)
        client.subscribe(base + "/+/+/set", self._on_command, qos=1, retain_handling=2)
        if tasmota:  # this replaces the handler of `Tasmota`
            self._result = "stat/%s/RESULT" % self._name
            client.subscribe("cmnd/%s/+" % self._name, self._on_tasmota_command, qos=1, retain_handling=2)

    def _on_command(self, message):
        name = message.topic.split("/")[-2]
        self._commands.respond(message, json.dumps({"ok": False, "name": name, "error": self._error}))

    def _on_tasmota_command(self, message):
        publish(self._client, self._result, json.dumps({"Command": "Error", "Error": self._error}))

    def add_metrics(self, metrics):
        """Add the reason for safe mode to the health metrics."""
        metrics["safe_mode"] = self._reason

    def run(self, now):
        """Restart the device after an hour; returns the time in ms until the next call."""
        if ticks_diff(now, self._started_at) >= _DURATION and not (self.update and self.update.is_busy):
            print("%s: safe mode ends, restarting" % self._name)
            crash.leave_safe_mode()
            self._restart()
        return _IDLE
