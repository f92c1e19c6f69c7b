"""Tasmota-compatible commands: numbered POWER topics for all actuators except servos.

`cmnd/<device>/POWER<n>` accepts ON, OFF, TOGGLE, 1, 0 and 2; an empty payload requests the state. `POWER` is
the same as `POWER1`. The response is published as JSON to `stat/<device>/RESULT`. Each state is published to
`stat/<device>/POWER<n>`, and Online or Offline to `tele/<device>/LWT`. Retained commands are ignored, because
they would be executed again at each connection. A command that was queued at the broker for too long is
answered with an error: see `queued_commands`. These commands have no identifiers, so each one is executed.
"""

from time import ticks_ms

from micropython import const

from .node.publishing import publish

_IDLE = const(1000)  # ms
_WORDS = {b"ON": b"ON", b"1": b"ON", b"OFF": b"OFF", b"0": b"OFF", b"TOGGLE": b"TOGGLE", b"2": b"TOGGLE"}


def make_will(device):
    """Return the topic and the payload of the will."""
    return "tele/%s/LWT" % device, b"Offline"


class Tasmota:
    """The Tasmota topics of a device; `commands` is the Commands object of the device."""

    def __init__(self, client, device, commands):
        self._client = client
        self._commands = commands
        self._actuators = [one for one in commands.actuators if one.platform != "number"]
        self._result = "stat/%s/RESULT" % device
        self._states = [
            client.topic("stat/%s/POWER%d" % (device, n + 1)) for n in range(len(self._actuators))
        ]
        self._published = [-1] * len(self._actuators)  # `state_version` of the state that was published last
        self._lwt = make_will(device)[0]
        self._online = False  # whether Online was published in this connection
        client.subscribe("cmnd/%s/+" % device, self._on_command, qos=1, retain_handling=2)

    def on_state(self):
        """Publish Online again after the next connect."""
        self._online = False

    def run(self, now):
        """Publish Online after a connect; publish changed states; returns the ms until the next call."""
        if not self._client.is_connected:
            return _IDLE
        if not self._online:
            self._online = publish(self._client, self._lwt, b"Online", qos=1, retain=True) > 0
        for i in range(len(self._actuators)):
            if self._actuators[i].state_version != self._published[i]:
                if publish(self._client, self._states[i], self._word(i)):
                    self._published[i] = self._actuators[i].state_version
        return _IDLE

    def _word(self, i):
        return "ON" if self._actuators[i].on else "OFF"

    def _on_command(self, message):
        if message.retain:
            return
        i = self._find_actuator(message.topic)
        if i is None:
            self._answer("Command", "Unknown")
        elif self._execute(i, message):
            self._published[i] = -1  # the state is published even if it has not changed
            self._commands.run(ticks_ms())
            self._answer("POWER%d" % (i + 1), self._word(i))
            self.run(ticks_ms())
        else:
            self._answer("Command", "Error")

    def _find_actuator(self, topic):
        """Return the index of the actuator that a command topic refers to, None if there is none."""
        name = topic[topic.rfind("/") + 1 :].upper()
        for i in range(len(self._actuators)):
            if name == "POWER%d" % (i + 1) or (name == "POWER" and not i):
                return i
        return None

    def _execute(self, i, message):
        """Execute a command; returns False if its payload is not a known word or if it is too old."""
        if not len(message):
            return True
        word = _WORDS.get(bytes(message.payload).upper())
        if word:
            try:
                self._commands.check_age(message)
            except ValueError as error:
                print("command to %s: %s" % (self._actuators[i].name, error))
                return False
            try:
                self._actuators[i].command(word, ticks_ms())
            except ValueError as error:  # interlock or min_off: the response is the unchanged state
                print("command to %s: %s" % (self._actuators[i].name, error))
        return word is not None

    def _answer(self, key, value):
        publish(self._client, self._result, '{"%s":"%s"}' % (key, value))
