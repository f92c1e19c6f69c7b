"""Commands as Tasmota has them, beside our own: for what can be switched on and off, numbered from 1.

`cmnd/<device>/POWER<n>` takes ON, OFF, TOGGLE, 1, 0, 2, and asks where it is empty; `POWER` is the first.
`stat/<device>/RESULT` has the answer as JSON, `stat/<device>/POWER<n>` each state. A retained command
is not obeyed: it would switch again at each connect, when nobody is near.
"""

from time import ticks_ms

from micropython import const

_IDLE = const(1000)  # ms
_WORDS = {b"ON": b"ON", b"1": b"ON", b"OFF": b"OFF", b"0": b"OFF", b"TOGGLE": b"TOGGLE", b"2": b"TOGGLE"}


def make_will(device):
    """Topic and payload of the will."""
    return "tele/%s/LWT" % device, b"Offline"


class Tasmota:
    """`commands` are those of the device."""

    def __init__(self, client, device, commands):
        self._client = client
        self._commands = commands
        self._actuators = [one for one in commands.actuators if one.platform != "number"]
        self._result = "stat/%s/RESULT" % device
        self._states = [
            client.topic("stat/%s/POWER%d" % (device, n + 1)) for n in range(len(self._actuators))
        ]
        self._told = [-1] * len(self._actuators)  # `state_version` at the state that was published last
        self._presence = make_will(device)[0]
        self._online = False  # whether it has been said
        client.subscribe("cmnd/%s/+" % device, self._on_command, qos=1, retain_handling=2)

    def on_link_change(self):
        """The link has come or gone."""
        self._online = False

    def run(self, now):
        """That it is there, once a connection, and the states that have changed."""
        if not self._client.is_connected:
            return _IDLE
        if not self._online:
            self._online = self._client.publish(self._presence, b"Online", qos=1, retain=True) > 0
        for i in range(len(self._actuators)):
            if self._actuators[i].state_version != self._told[i]:
                if self._client.publish(self._states[i], self._word(i)):
                    self._told[i] = self._actuators[i].state_version
        return _IDLE

    def _word(self, i):
        return "ON" if self._actuators[i].on else "OFF"

    def _on_command(self, message):
        if message.retain:
            return
        i = self._number(message.topic)
        if i is None:
            self._answer("Command", "Unknown")
        elif self._execute(i, message):
            self._told[i] = -1  # also a state that stays is told
            self._commands.run(ticks_ms())
            self._answer("POWER%d" % (i + 1), self._word(i))
            self.run(ticks_ms())
        else:
            self._answer("Command", "Error")

    def _number(self, topic):
        """Which one, from 0; None for a command that there is not."""
        name = topic[topic.rfind("/") + 1 :].upper()
        for i in range(len(self._actuators)):
            if name == "POWER%d" % (i + 1) or (name == "POWER" and not i):
                return i
        return None

    def _execute(self, i, message):
        if not len(message):
            return True
        word = _WORDS.get(bytes(message.payload).upper())
        if word:
            try:
                self._actuators[i].command(word, ticks_ms())
            except ValueError as error:  # an interlock, a rest: the answer is the state, which stays
                print("command to %s: %s" % (self._actuators[i].name, error))
        return word is not None

    def _answer(self, key, value):
        self._client.publish(self._result, '{"%s":"%s"}' % (key, value))
