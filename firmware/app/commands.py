"""Commands to actuators, their answers, and the states that follow.

`<base>/switch/<name>/set` takes a command, `<base>/switch/<name>` has the state, retained. The
answer to a command goes to its Response Topic with its Correlation Data, or else to
`<base>/answer`: {"ok": true, "name": ..., "state": ...}, with "error" where ok is false.
"""

import json


class Commands:
    """`actuators` have `name`, `command(payload)`, which raises ValueError, and `state()`."""

    def __init__(self, client, base, actuators):
        self._client = client
        self._answer = base + "/answer"
        self._actuators = actuators
        self._topics = [client.topic("%s/switch/%s" % (base, a.name)) for a in actuators]
        self._told = [None] * len(actuators)  # the state that was published last
        for i, actuator in enumerate(actuators):
            topic = "%s/switch/%s/set" % (base, actuator.name)
            client.subscribe(topic, self._handler(i), qos=1, retain_handling=2)

    def forget(self):
        """A new session: all states are published again."""
        self._told = [None] * len(self._told)

    def run(self):
        """Publish the states that changed."""
        for i, actuator in enumerate(self._actuators):
            state = actuator.state()
            if state != self._told[i]:
                if self._client.publish(self._topics[i], state, qos=1, retain=True):
                    self._told[i] = state

    def _handler(self, i):
        def handle(message):
            actuator = self._actuators[i]
            answer = {"ok": True, "name": actuator.name}
            try:
                if message.retain:  # old news: obeying it would switch behind a person's back
                    raise ValueError("a retained command is not obeyed")
                actuator.command(message.payload)
            except ValueError as error:
                answer["ok"] = False
                answer["error"] = str(error)
                print("command to %s: %s" % (actuator.name, error))
            answer["state"] = actuator.state()
            self._client.respond(message, json.dumps(answer), qos=1, topic=self._answer)
            self.run()

        return handle
