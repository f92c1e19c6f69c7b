"""Commands to actuators, their answers, and the states that follow.

`<base>/<platform>/<name>/set` takes a command, `<base>/<platform>/<name>` has the state, retained.
The answer to a command goes to its Response Topic with its Correlation Data, or else to
`<base>/answer`: {"ok": true, "name": ..., "state": ...}, with "error" where ok is false. A command
that was carried out before, and one whose time is over, are not carried out: see `repeats`.
"""

import json
from time import ticks_diff, ticks_ms

from micropython import const

from .command_dedup import can_be_repeated, expired, key_of

_IDLE = const(1000)  # ms
_LONGEST = const(256)  # bytes of a command


class Commands:
    """`actuators` are as `actuators.make` returns them, `repeats` a Repeats."""

    def __init__(self, client, base, actuators, repeats):
        self._client = client
        self._repeats = repeats
        self._answer = base + "/answer"
        self.actuators = actuators
        self._topics = []
        self._told = [-1] * len(actuators)  # `changes` at the state that was published last
        self._lost = None  # ticks since when there is no link, None where there is one
        self._safe = [False] * len(actuators)  # whether it went to its safe state since
        for i, actuator in enumerate(actuators):
            topic = "%s/%s/%s" % (base, actuator.platform, actuator.name)
            self._topics.append(client.topic(topic))
            client.subscribe(topic + "/set", self._handler(i), qos=1, retain_handling=2)

    def forget(self):
        """A new session: all states are published again."""
        for i in range(len(self._told)):
            self._told[i] = -1

    def run(self, now):
        """What actuators do by themselves, and the states that changed; the ms until it is due again."""
        wait = _IDLE
        if self._lost is not None:
            self._to_safety(now)
        for i in range(len(self.actuators)):
            actuator = self.actuators[i]
            wait = min(wait, actuator.run(now))
            if actuator.changes != self._told[i]:
                if self._client.publish(self._topics[i], actuator.state(), qos=1, retain=True):
                    self._told[i] = actuator.changes
        return wait

    def link(self, connected, now):
        """The link has come or gone: without it actuators go to their safe states, each at its time."""
        if connected:
            self._lost = None
        elif self._lost is None:
            self._lost = now
            for i in range(len(self._safe)):
                self._safe[i] = False

    def _to_safety(self, now):
        for i in range(len(self.actuators)):
            actuator = self.actuators[i]
            if not self._safe[i] and ticks_diff(now, self._lost) >= actuator.safe_after:
                self._safe[i] = True
                actuator.safe(now)

    def active(self):
        """True while something is on."""
        for actuator in self.actuators:
            if actuator.on:
                return True
        return False

    def safe(self, now):
        """All of them at once: something is wrong with the program itself."""
        for actuator in self.actuators:
            actuator.safe(now)

    def _handler(self, i):
        def handle(message):
            now = ticks_ms()
            key = key_of(message, self.actuators[i].name)
            text = self._repeats.find(key) if key else None
            if not text:
                text = json.dumps(self._carry_out(self.actuators[i], message, key, text is not None, now))
                if key:
                    self._repeats.done(key, text)
            self._client.respond(message, text, qos=1, topic=self._answer)
            self.run(now)

        return handle

    def _carry_out(self, actuator, message, key, begun, now):
        """The answer; `begun`: it was about to be carried out when the power went."""
        answer = {"ok": True, "name": actuator.name}
        try:
            if len(message) > _LONGEST:  # before it is copied
                raise ValueError("%d bytes, expected %d at most" % (len(message), _LONGEST))
            payload = message.payload
            if message.retain:  # old news: obeying it would switch behind a person's back
                raise ValueError("a retained command is not obeyed")
            if expired(message):
                raise ValueError("too late, it has expired")
            if key and not can_be_repeated(payload):
                if begun:
                    raise ValueError("cut off in the midst of it: look at its state, and say ON or OFF")
                self._repeats.begin(key)
            actuator.command(payload, now)
        except ValueError as error:
            answer["ok"] = False
            answer["error"] = str(error)
            print("command to %s: %s" % (actuator.name, error))
        answer["state"] = actuator.state()
        return answer
