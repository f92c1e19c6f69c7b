"""Device state from MQTT: status, readings, health and switches of all devices, and commands with responses.

Messages are not trusted: texts are sanitized, and the number of devices and readings is limited.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools.broker import Address
from umqtt5 import Client, MQTTError
from umqtt5.properties import CORRELATION_DATA, pack

HISTORY = 40  # default number of values stored per reading
# Limits, so that no publisher can fill the memory. Messages beyond them are counted, but not stored.
MAX_DEVICES = 500
MAX_ITEMS_PER_DEVICE = 64  # maximum number of readings, and of switches
MAX_NAME_LENGTH = 48  # characters
# topic levels of actuators: <prefix>/<device>/<platform>/<name>
PLATFORMS = ("switch", "valve", "light", "number")
_MAX_ERROR_LENGTH = 200  # bytes
_MAX_VALUE = 1e15  # larger values are ignored
_MAX_COMMANDS = 100  # number of commands stored

_ANSWER_TIMEOUT = 10.0  # seconds
_STATES = {b"ON": 1.0, b"OFF": 0.0}  # readings of digital sensors


@dataclass
class DeviceState:
    """State of one device, from its messages."""

    status: str = "unknown"
    readings: dict[str, deque[float]] = field(default_factory=dict)  # reading: its latest values
    timestamps: dict[str, deque[float]] = field(default_factory=dict)  # reading: seconds since the epoch
    binary_readings: set[str] = field(default_factory=set)  # readings whose values are ON (1) and OFF (0)
    health: dict[str, Any] = field(default_factory=dict)  # figures of the health message
    switches: dict[str, str] = field(default_factory=dict)  # actuator: its state
    platforms: dict[str, str] = field(default_factory=dict)  # actuator: one of PLATFORMS
    message_count: int = 0  # number of messages received
    last_seen: float = 0.0  # time of the last message, seconds since the epoch


@dataclass
class Command:
    """A command that was sent to a device."""

    device: str
    switch: str
    payload: str
    response: dict[str, Any] | None = None  # response of the device, None until it arrives
    sent_at: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        return f"{self.device}: {self.switch}: {self.payload}"


def sanitize(text: str, limit: int = MAX_NAME_LENGTH) -> str:
    """Make received text safe to display: cut it to `limit` characters, show unprintable ones as `?`."""
    return "".join(c if c.isprintable() else "?" for c in text[:limit])


def _parse_state(payload: bytes) -> str:
    """Return the state of an actuator from plain text or a JSON object; for valves, ON (open) or OFF."""
    text = payload.decode(errors="replace")
    if text.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            text = str(json.loads(text).get("state"))
    return {"open": "ON", "closed": "OFF"}.get(text, sanitize(text))


class DeviceMonitor:
    """MQTT client that tracks the state of all devices below a prefix, and sends commands to them.

    `history` is the number of values stored per reading. With `shared_broker`, `close()` leaves the
    broker as it is. Otherwise it deletes the devices' retained messages.
    """

    def __init__(
        self, broker: Address, prefix: str, history: int = HISTORY, shared_broker: bool = False
    ) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.commands: dict[bytes, Command] = {}  # by correlation data; the latest 100
        self.is_connected = False
        self.dropped_messages = 0  # number of messages beyond MAX_DEVICES and MAX_ITEMS_PER_DEVICE
        self._prefix = prefix
        self._history = history
        self._shared_broker = shared_broker
        # called with a text for each change except readings
        self.on_event: Callable[[str], None] = lambda text: None
        # called with device, reading and value
        self.on_reading: Callable[[str, str, float], None] = lambda device, name, value: None
        self._number = 0  # number of the last command
        client_id = f"{prefix.replace('/', '-')}-watch"
        if shared_broker:
            client_id += f"-{secrets.token_hex(3)}"
        # Several clients may send commands and receive responses on the same topics. The correlation data of
        # this client's commands starts with this mark, which identifies the responses to them.
        self._mark = secrets.token_bytes(6)
        self._client = Client(
            broker.host,
            broker.port,
            client_id=client_id,
            user=broker.user,
            password=broker.password,
            ssl=broker.ssl_context(),
            session_expiry=0 if shared_broker else 3600,
            rx=65536,
            tx=4096,
            outbox=16384,
            inflight=64,
        )
        self._client.on_state = self._on_state
        self._subscribe()

    def _subscribe(self) -> None:
        subscribe, base = self._client.subscribe, f"{self._prefix}/+"
        subscribe(f"{base}/status", self._on_status, qos=1)
        subscribe(f"{base}/sensor/+", self._on_sensor)
        subscribe(f"{base}/sensor/+/+", self._on_sensor)  # sensors with several quantities, and errors
        for platform in PLATFORMS:
            subscribe(f"{base}/{platform}/+", self._on_switch, qos=1)
        subscribe(f"{base}/health", self._on_health)
        subscribe(f"{base}/answer", self._on_response, qos=1)

    def connect(self) -> None:
        """Connect to the broker. Raises OSError or MQTTError."""
        self._client.connect()

    def poll(self, ms: int) -> None:
        """Receive messages, waiting up to `ms` milliseconds for the first one."""
        self._client.poll(ms)
        self.check_commands(time.monotonic())

    def check_commands(self, now: float) -> None:
        """Report the commands that no device has answered in time. `now` is the monotonic time in seconds."""
        for command in self.commands.values():
            if command.response is None and now - command.sent_at >= _ANSWER_TIMEOUT:
                error = f"no answer within {_ANSWER_TIMEOUT:.0f} s"
                command.response = {"ok": False, "error": error}
                self.on_event(f"{command}: {error}")

    def close(self) -> None:
        """Disconnect. Without `shared_broker`, first delete the devices' retained messages."""
        self.on_event = lambda text: None
        if self._shared_broker:
            with contextlib.suppress(OSError, MQTTError):
                self._client.disconnect()
            return
        with contextlib.suppress(OSError, MQTTError):
            self._client.poll(200)  # to receive the wills of devices that have just stopped
            for name, device in self.devices.items():
                topics = [f"{name}/status"]
                topics += [f"{name}/{device.platforms[switch]}/{switch}" for switch in device.switches]
                for topic in topics:
                    self._client.publish(f"{self._prefix}/{topic}", b"", qos=1, retain=True)
            self._client.poll(200)
            self._client.disconnect()

    def command(self, device: str, switch: str, payload: str) -> Command:
        """Send a command to an actuator. The device's response is stored in the returned Command."""
        self._number += 1
        key = self._mark + b"%d" % self._number
        self.commands[key] = command = Command(device, switch, payload)
        for old in list(self.commands)[:-_MAX_COMMANDS]:
            del self.commands[old]
        properties = pack(response_topic=f"{self._prefix}/{device}/answer", correlation_data=key)
        known = self.devices.get(device, DeviceState()).platforms
        topic = f"{self._prefix}/{device}/{known.get(switch, 'switch')}/{switch}/set"
        self.on_event(f"{command}: sent")
        if not self._client.publish(topic, payload, qos=1, properties=properties):
            command.response = {"ok": False, "error": "the monitor's outbox is full"}
        return command

    # ---- handlers

    def _on_state(self, client: Any, connected: bool, error: Exception | None) -> None:
        self.is_connected = connected
        if not connected and error is not None:
            self.on_event(f"connection to the broker lost: {error}")

    def _find_device(self, message: Any) -> tuple[DeviceState, list[str]]:
        """Return the device of a message (created if new) and the sanitized topic levels after the prefix."""
        levels = [sanitize(level) for level in message.topic[len(self._prefix) + 1 :].split("/")]
        device = self.devices.get(levels[0])
        if device is None:
            device = DeviceState()
            if len(self.devices) < MAX_DEVICES:
                self.devices[levels[0]] = device
            else:
                self.dropped_messages += 1
        device.message_count += 1
        device.last_seen = time.time()
        return device, levels

    def _has_room(self, table: dict[str, Any], name: str) -> bool:
        """Return whether `table` has `name` or room for it; otherwise count the message as dropped."""
        if name in table or len(table) < MAX_ITEMS_PER_DEVICE:
            return True
        self.dropped_messages += 1
        return False

    def _on_status(self, message: Any) -> None:
        device, levels = self._find_device(message)
        status = sanitize(message.payload.decode(errors="replace")) or "unknown"  # empty: deleted
        if status != device.status:
            self.on_event(f"{levels[0]}: {status}")
        device.status = status

    def _on_sensor(self, message: Any) -> None:
        """Handle a reading, or the error of a sensor."""
        device, levels = self._find_device(message)
        name = "/".join(levels[2:])
        if levels[3:] == ["error"]:
            text = sanitize(bytes(message.payload[:_MAX_ERROR_LENGTH]).decode(errors="replace"))
            if text:
                self.on_event(f"{levels[0]}: sensor {levels[2]}: {text}")
            return
        state = _STATES.get(bytes(message.payload[:4]))
        try:
            value = float(message.payload[:40]) if state is None else state
        except ValueError:
            return
        if not abs(value) < _MAX_VALUE or not self._has_room(device.readings, name):  # also true for NaN
            return
        if state is None:
            device.binary_readings.discard(name)
        else:
            device.binary_readings.add(name)
        for table, number in ((device.readings, value), (device.timestamps, device.last_seen)):
            table.setdefault(name, deque(maxlen=self._history)).append(number)
        self.on_reading(levels[0], name, value)

    def _on_switch(self, message: Any) -> None:
        device, levels = self._find_device(message)
        state = _parse_state(message.payload)
        if not self._has_room(device.switches, levels[2]):
            return
        device.platforms[levels[2]] = levels[1]
        if device.switches.get(levels[2]) not in (None, state):
            self.on_event(f"{levels[0]}: {levels[2]} is {state}")
        device.switches[levels[2]] = state

    def _on_health(self, message: Any) -> None:
        device, _ = self._find_device(message)
        with contextlib.suppress(ValueError, RecursionError):
            figures = json.loads(message.payload)
            if isinstance(figures, dict):
                scalars = [(k, v) for k, v in figures.items() if isinstance(v, (int, float, str))]
                device.health = {
                    sanitize(key): sanitize(value) if isinstance(value, str) else value
                    for key, value in scalars[:MAX_ITEMS_PER_DEVICE]
                    if isinstance(value, str) or abs(value) < _MAX_VALUE
                }

    def _on_response(self, message: Any) -> None:
        command = self.commands.get(message.property(CORRELATION_DATA) or b"")
        if command is None:
            return
        try:
            response = json.loads(message.payload)
        except (ValueError, RecursionError):
            return
        if isinstance(response, dict):
            command.response = response
            if response.get("ok"):
                self.on_event(f"{command}: done after {(time.monotonic() - command.sent_at) * 1000:.0f} ms")
            else:
                self.on_event(f"{command}: refused: {sanitize(str(response.get('error')))}")
