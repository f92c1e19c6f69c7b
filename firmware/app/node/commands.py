"""Commands over MQTT: executes commands for actuators, sends the responses and publishes actuator states.

`<base>/<platform>/<name>/set` accepts commands; the state is published to `<base>/<platform>/<name>` as a
retained message. The response is published to the Response Topic of the command, with its Correlation Data,
or to `<base>/answer` if the command has no Response Topic:

    {"ok": true, "name": ..., "state": ...}

After an error, "ok" is false and "error" is added. When the device has been offline for `safe_after` seconds,
an actuator switches to its safe state.

Duplicate commands are not executed. Two commands to the same actuator are duplicates if they have the same
payload and the same Response Topic and Correlation Data, or the same payload and the same user property `id`.

A command is not executed after the time in its user property `expires`. A command that has neither `expires`
nor a Message Expiry Interval is not executed if it may have waited at the broker for longer than `max_age`:
see `queued_commands`.
"""

import gc
import json
from hashlib import sha256
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

import umqtt5.respond  # noqa: F401  loaded now, because the heap is more fragmented when it is used
from umqtt5 import MQTTError

from .command_dedup import KEY_SIZE
from .modules import release_modules
from .publishing import publish
from .timestamps import unix_time

_EXPIRY_INTERVAL = const(0x02)
_RESPONSE_TOPIC = const(0x08)
_CORRELATION_DATA = const(0x09)
_USER_PROPERTY = const(0x26)
_IDLE = const(1000)  # ms
_MAX_COMMAND = const(256)  # bytes
_SETTLED = const(5000)  # ms of connection after which no command of a short absence is queued any more
_LONG_OFFLINE = const(172800000)  # ms; a longer time offline counts as this, because ticks wrap around
_MAX_EXPIRES = const(0xFFFFFFFF)  # seconds since 1970: the year 2106


class Commands:
    """The command topics and states of all actuators.

    `actuators` is the list that `actuators.make` returns, `dedup` is a CommandDedup. `max_age` is the maximum
    time in ms that a command may have waited at the broker, 0 for no limit.
    """

    _queue = None  # QueuedCommands while commands may arrive that have waited for longer than `max_age`
    _has_settled = True  # whether all commands that were queued during an absence have arrived
    # Maximum age in ms of a queued command when the connection has begun, or ended. A device that has resumed
    # a session after deep sleep sets its age at the start.
    max_absence = 0

    def __init__(self, client, base, actuators, dedup, max_age=0):
        self._client = client
        self._dedup = dedup
        self._base = base
        self._max_age = max_age
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
        self._dedup.expire(now)
        if self._offline_since is not None:
            self._enter_safe_states_if_due(now)
            if ticks_diff(now, self._offline_since) > _LONG_OFFLINE:
                self._offline_since = ticks_add(now, -_LONG_OFFLINE)
        elif not self._has_settled:
            self._settle(now)
        for i in range(len(self.actuators)):
            actuator = self.actuators[i]
            try:
                wait = min(wait, actuator.run(now))
                actuator.has_failed = False
            except Exception as error:  # the time limits of the others must still work; it is called again
                _report_failure(actuator, error)
            if actuator.state_version != self._published[i]:
                if publish(self._client, self._topics[i], actuator.state(), qos=1, retain=True):
                    self._published[i] = actuator.state_version
        return wait

    def on_state(self, connected, now, session=None):
        """Start or end an absence: the timers of the safe states, and the age of queued commands.

        `session` is the session of the client.
        """
        if connected:
            if session and self._offline_since is not None:
                self._on_connected(now, session)
            self._offline_since = None
        elif self._offline_since is None:
            if session:
                self._on_connection_lost(now, session)
            self._offline_since = now
            for i in range(len(self._safe)):
                self._safe[i] = False

    def _on_connected(self, now, session):
        self._connected_at = now
        self._has_settled = not session.resumed  # a new session has no queue
        if session.resumed:
            self.max_absence += ticks_diff(now, self._offline_since)
            if self._max_age and self.max_absence + _SETTLED > self._max_age:
                from ..queued_commands import QueuedCommands

                self._queue = QueuedCommands(self._client, self._base, now, self.max_absence, self._max_age)

    def _on_connection_lost(self, now, session):
        """Set the maximum age of the commands that may be queued from now on."""
        if self._has_settled:  # a command that was sent before the last received packet has arrived
            self.max_absence = ticks_diff(now, session._last_read)
        else:
            self.max_absence += ticks_diff(now, self._connected_at)
        self._release_queue()

    def _settle(self, now):
        if self._queue:
            if not self._queue.run(now):
                return
            self._release_queue()
        elif ticks_diff(now, self._connected_at) < _SETTLED:
            return
        self._has_settled = True

    def _release_queue(self):
        """Free the heap of QueuedCommands."""
        if self._queue:
            self._queue.close()
            self._queue = None
            release_modules("app.queued_commands")

    def _enter_safe_states_if_due(self, now):
        for i in range(len(self.actuators)):
            actuator = self.actuators[i]
            if not self._safe[i] and ticks_diff(now, self._offline_since) >= actuator.safe_after:
                self._safe[i] = enter_safe_state(actuator, now, False)

    @property
    def is_busy(self):
        """True while any actuator is on, or has not reached its level."""
        for actuator in self.actuators:
            if actuator.on or actuator.is_fading:
                return True
        return False

    def _make_handler(self, i):
        def handle(message):
            now = ticks_ms()
            text = self._handle(self.actuators[i], message, now)
            try:
                self.respond(message, text)
            except MemoryError:  # the heap is nearly full
                gc.collect()
                self.respond(message, text)
            self.run(now)

        return handle

    def respond(self, message, text):
        """Publish the response to a command.

        If the outbox is full and several responses wait for room already, it is sent at QoS 0, for which
        `Session.min_tx_room` is kept. The command is acknowledged after that, so if the connection is lost,
        the broker repeats the command.
        """
        client = self._client
        try:
            if client.respond(message, text, qos=1, topic=self._answer_topic) is not False:
                return
            topic = message.property(_RESPONSE_TOPIC) or self._answer_topic
            key = message.property(_CORRELATION_DATA)
            properties = b"\x09" + len(key).to_bytes(2, "big") + key if key else b""
            if client.publish(topic, text, properties=properties):
                return
            error = "no room"
        except (MQTTError, ValueError) as raised:  # larger than the broker or the outbox accepts
            error = raised
        print("cannot answer a command: %s" % error)

    def _handle(self, actuator, message, now):
        """Execute a command unless it is a duplicate or too old; returns the response."""
        try:
            if len(message) > _MAX_COMMAND:  # checked before the payload is copied
                raise ValueError("%d bytes, expected at most %d" % (len(message), _MAX_COMMAND))
            if message.retain:  # the broker may send a retained command again, at any connection
                raise ValueError("retained commands are not executed")
            payload = message.payload
            key = command_key(message, actuator.name, payload)
            text = self._dedup.get(key) if key else None
            if text:
                return text
            if text is None:
                self.check_age(message)
        except ValueError as refusal:  # the response is not kept, so the same command may be sent again
            return _format_response(actuator, str(refusal))
        error = self._execute(actuator, payload, key, text, now)
        text = _format_response(actuator, error)
        if key:
            self._dedup.set(key, text)
        return text

    def _execute(self, actuator, payload, key, text, now):
        """Execute a command and return None, or the text of the error.

        `text` is "" if the command was started before a loss of power and did not finish, otherwise None.
        """
        if key and not _is_idempotent(payload):
            if text is not None:
                return "power was lost during this command: check the state, send ON or OFF"
            self._dedup.start(key)
        try:
            actuator.command(payload, now)
        except ValueError as error:
            return str(error)
        except Exception as error:  # a failing output must not leave a command without a response
            return "%s: %s" % (type(error).__name__, error)
        return None

    def check_age(self, message):
        """Raise ValueError if a command has expired, or may have waited at the broker for too long."""
        expires = _user_property(message, "expires")
        if expires is not None:
            expires = _parse_time(expires)
            clock = unix_time()
            if clock:
                if clock > expires:
                    raise ValueError("the command has expired")
                return  # the sender has decided how old the command may be
        # a broker does not deliver a message after its Message Expiry Interval
        if self._queue and message.property(_EXPIRY_INTERVAL) is None:
            self._queue.check(ticks_ms())


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


def _format_response(actuator, error):
    answer = {"ok": error is None, "name": actuator.name}
    if error is not None:
        answer["error"] = error
        print("command to %s: %s" % (actuator.name, error))
    answer["state"] = actuator.state()
    return json.dumps(answer)


def command_key(message, name, payload):
    """Return the deduplication key of a command to the actuator `name`, None if it has no identifier."""
    correlation = message.property(_CORRELATION_DATA)
    if correlation:
        who = (message.property(_RESPONSE_TOPIC) or "").encode() + b"\0" + bytes(correlation)
    else:
        who = _user_property(message, "id")
        if who is None:
            return None
        who = who.encode()
    # with the size of one part, the same bytes cannot be split in two ways
    return sha256(name.encode() + b"\0%d\0" % len(who) + who + payload).digest()[:KEY_SIZE]


def _user_property(message, name):
    """Return the value of the first user property of this name, None if there is none."""
    nth = 0
    while True:
        pair = message.property(_USER_PROPERTY, nth)
        if pair is None or pair[0] == name:
            return pair and pair[1]
        nth += 1


def _parse_time(text):
    """Return a time in seconds since 1970; a fraction is ignored. Raises ValueError."""
    whole, _, fraction = text.partition(".")
    if not whole.isdigit() or not (fraction or "0").isdigit() or not int(whole) <= _MAX_EXPIRES:
        raise ValueError("expires: expected seconds since 1970")
    return int(whole)


def _is_idempotent(payload):
    """Return True if executing the command twice has the same effect as once: not TOGGLE, `for`, `flash`."""
    payload = payload.upper()
    return b"TOGGLE" not in payload and b'"FOR"' not in payload and b'"FLASH"' not in payload
