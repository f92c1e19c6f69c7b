"""Commands over MQTT: executes commands for actuators, sends the responses and publishes actuator states.

`<base>/<platform>/<name>/set` accepts commands; the state is published to `<base>/<platform>/<name>` as a
retained message. The response is published to the Response Topic of the command, with its Correlation Data,
or to `<base>/answer` if the command has no Response Topic:

    {"ok": true, "name": ..., "state": ...}

After an error, "ok" is false and "error" is added. When the device has been offline for `safe_after` seconds,
an actuator switches to its safe state.

Duplicate commands are not executed. Two commands to the same actuator are duplicates if they have the same
Response Topic and Correlation Data, or the same user property `id`. A command is not executed after the time
in its user property `expires`.
"""

import json
from hashlib import sha256
from time import ticks_diff, ticks_ms

from micropython import const

from .command_dedup import KEY_SIZE
from .timestamps import unix_time

_RESPONSE_TOPIC = const(0x08)
_CORRELATION_DATA = const(0x09)
_USER_PROPERTY = const(0x26)
_IDLE = const(1000)  # ms
_MAX_COMMAND = const(256)  # bytes


class Commands:
    """The command topics and states of all actuators.

    `actuators` is the list that `actuators.make` returns, `dedup` is a CommandDedup.
    """

    def __init__(self, client, base, actuators, dedup):
        self._client = client
        self._dedup = dedup
        self._answer_topic = base + "/answer"
        self.actuators = actuators
        self._topics = []
        self._published = [-1] * len(actuators)  # `state_version` of the state that was published last
        self._offline_since = None  # ticks, None while connected
        self._safe = [False] * len(actuators)  # whether each actuator entered its safe state while offline
        for i, actuator in enumerate(actuators):
            topic = "%s/%s/%s" % (base, actuator.platform, actuator.name)
            self._topics.append(client.topic(topic))
            client.subscribe(topic + "/set", self._make_handler(i), qos=1, retain_handling=2)

    def publish_now(self):
        """Publish all states at the next `run`."""
        for i in range(len(self._published)):
            self._published[i] = -1

    def run(self, now):
        """Run the actuators' timers and publish changed states; returns the ms until the next call."""
        wait = _IDLE
        if self._offline_since is not None:
            self._enter_safe_states_if_due(now)
        for i in range(len(self.actuators)):
            actuator = self.actuators[i]
            try:
                wait = min(wait, actuator.run(now))
                actuator.has_failed = False
            except Exception as error:  # the time limits of the others must still work; it is called again
                _report_failure(actuator, error)
            if actuator.state_version != self._published[i]:
                if self._client.publish(self._topics[i], actuator.state(), qos=1, retain=True):
                    self._published[i] = actuator.state_version
        return wait

    def on_state(self, connected, now):
        """Start or stop the timers that switch the actuators of an offline device to their safe states."""
        if connected:
            self._offline_since = None
        elif self._offline_since is None:
            self._offline_since = now
            for i in range(len(self._safe)):
                self._safe[i] = False

    def _enter_safe_states_if_due(self, now):
        for i in range(len(self.actuators)):
            actuator = self.actuators[i]
            if not self._safe[i] and ticks_diff(now, self._offline_since) >= actuator.safe_after:
                self._safe[i] = enter_safe_state(actuator, now, False)

    @property
    def is_busy(self):
        """True while any actuator is on."""
        for actuator in self.actuators:
            if actuator.on:
                return True
        return False

    def _make_handler(self, i):
        def handle(message):
            now = ticks_ms()
            key = _command_key(message, self.actuators[i].name)
            text = self._dedup.get(key) if key else None
            if not text:
                text = json.dumps(self._execute(i, message, key, text, now))
                if key:
                    self._dedup.set(key, text)
            self._client.respond(message, text, qos=1, topic=self._answer_topic)
            self.run(now)

        return handle

    def _execute(self, i, message, key, text, now):
        """Execute a command and return its response as a dict.

        `text` is "" if the command was started before a loss of power and did not finish, otherwise None.
        """
        actuator = self.actuators[i]
        answer = {"ok": True, "name": actuator.name}
        try:
            if len(message) > _MAX_COMMAND:  # checked before the payload is copied
                raise ValueError("%d bytes, expected at most %d" % (len(message), _MAX_COMMAND))
            payload = message.payload
            if message.retain:  # the broker may send a retained command again, at any connection
                raise ValueError("retained commands are not executed")
            if _is_expired(message):
                raise ValueError("the command has expired")
            if key and not _is_idempotent(payload):
                if text is not None:
                    raise ValueError("power was lost during this command: check the state, send ON or OFF")
                self._dedup.start(key)
            actuator.command(payload, now)
        except ValueError as error:
            answer["ok"] = False
            answer["error"] = str(error)
            print("command to %s: %s" % (actuator.name, error))
        answer["state"] = actuator.state()
        return answer


def enter_safe_state(actuator, now, is_end):
    """Switch to the safe state; returns False if the output fails. `is_end`: the program ends after it."""
    try:
        actuator.enter_safe_state(now, is_end)
        return True
    except Exception as error:
        _report_failure(actuator, error)
        return False


def _report_failure(actuator, error):
    """Print why the output of an actuator failed, once until it works again."""
    if not actuator.has_failed:
        actuator.has_failed = True
        print("%s: the output failed: %r" % (actuator.name, error))


def _command_key(message, name):
    """Return the deduplication key of a command to the actuator `name`, None if it has no identifier."""
    correlation = message.property(_CORRELATION_DATA)
    if correlation:
        who = (message.property(_RESPONSE_TOPIC) or "").encode() + b"\0" + bytes(correlation)
    else:
        who = _user_property(message, "id")
        if who is None:
            return None
        who = who.encode()
    return sha256(name.encode() + b"\0" + who).digest()[:KEY_SIZE]


def _user_property(message, name):
    """Return the value of the first user property of this name, None if there is none."""
    nth = 0
    while True:
        pair = message.property(_USER_PROPERTY, nth)
        if pair is None or pair[0] == name:
            return pair and pair[1]
        nth += 1


def _is_expired(message):
    """Return True if the time in the user property `expires`, in seconds since 1970, has passed.

    Returns False if there is no such property or if the clock is not set. Raises ValueError if the property
    is not a number.
    """
    text = _user_property(message, "expires")
    now = unix_time()
    if text is None or not now:
        return False
    try:
        return now > int(text)
    except ValueError:
        raise ValueError("expires: expected seconds since 1970")


def _is_idempotent(payload):
    """Return True if executing the command twice has the same effect as once: False for TOGGLE and `for`."""
    payload = payload.upper()
    return b"TOGGLE" not in payload and b'"FOR"' not in payload
