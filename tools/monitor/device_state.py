"""What the devices of one prefix say, as it comes in; and commands to them, confirmed."""

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

HISTORY = 40
# more than that is dropped and counted: whoever may publish must not fill our memory
MAX_DEVICES = 500
MAX_ITEMS_PER_DEVICE = 64  # readings or switches of a device
MAX_NAME_LENGTH = 48  # characters
# what can be commanded: the level of their topics
PLATFORMS = ("switch", "valve", "light", "number")
_LINE = 200  # characters of an error
_TOO_LARGE = 1e15
_COMMANDS = 100  # that are remembered

UNITS = {
    "memory_available": "MiB",
    "disk_free": "GB",
    "uptime": "s",
    "cpu_temperature": "°C",
    "chip_temperature": "°C",
    "wifi_signal": "dBm",
}


@dataclass
class DeviceState:
    """All that a device has said; of its readings the last so many, with the time of each."""

    status: str = "unknown"
    readings: dict[str, deque[float]] = field(default_factory=dict)
    timestamps: dict[str, deque[float]] = field(default_factory=dict)  # s since the epoch
    health: dict[str, Any] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)
    platforms: dict[str, str] = field(default_factory=dict)  # of each switch: its level in topics
    message_count: int = 0
    last_seen: float = 0.0  # s since the epoch


@dataclass
class Command:
    """A command on its way. `answer` is the device's, None as long as there is none."""

    device: str
    switch: str
    payload: str
    response: dict[str, Any] | None = None
    sent_at: float = field(default_factory=time.monotonic)


def sanitize(text: str, limit: int = MAX_NAME_LENGTH) -> str:
    """What anybody may have sent, made fit to be shown: short, and without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:limit])


def _state_of(payload: bytes) -> str:
    """The state of an actuator: a word, a number, or what is in JSON; a valve's is ON where it is open."""
    text = payload.decode(errors="replace")
    if text.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            text = str(json.loads(text).get("state"))
    return {"open": "ON", "closed": "OFF"}.get(text, sanitize(text))


class DeviceMonitor:
    """The desktop's side: umqtt5 itself, on CPython. What it hears may be anything.

    `history` is how many values of a reading are kept. A `guest` leaves the broker as it was; else
    what devices have left there is cleared at the end.
    """

    def __init__(
        self, broker: Address, prefix: str, history: int = HISTORY, shared_broker: bool = False
    ) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.commands: dict[bytes, Command] = {}
        self.is_connected = False
        self.dropped_messages = 0  # messages of devices and readings that there is no room for
        self._prefix = prefix
        self._history = history
        self._guest = shared_broker
        # told in words what changes, but for readings
        self.on_event: Callable[[str], None] = lambda text: None
        self.on_reading: Callable[[str, str, float], None] = lambda device, name, value: None
        self._number = 0
        me = f"{prefix.replace('/', '-')}-watch" + (f"-{secrets.token_hex(3)}" if shared_broker else "")
        # devices answer at a topic of their own, where a broker lets them write: ours are told apart
        self._mark = secrets.token_bytes(6)
        self._client = Client(
            broker.host,
            broker.port,
            client_id=me,
            user=broker.user,
            password=broker.password,
            ssl=broker.ssl_context(),
            session_expiry=0 if shared_broker else 3600,
            rx=65536,
            tx=4096,
            outbox=16384,
            inflight=64,
        )
        self._client.on_state = self._state
        self._client.subscribe(f"{prefix}/+/status", self._status, qos=1)
        self._client.subscribe(f"{prefix}/+/sensor/+", self._reading)
        self._client.subscribe(f"{prefix}/+/sensor/+/+", self._reading)  # of one with several quantities
        for platform in PLATFORMS:
            self._client.subscribe(f"{prefix}/+/{platform}/+", self._switch, qos=1)
        self._client.subscribe(f"{prefix}/+/health", self._health)
        self._client.subscribe(f"{prefix}/+/answer", self._answered, qos=1)

    def connect(self) -> None:
        """Raises OSError or MQTTError."""
        self._client.connect()

    def poll(self, ms: int) -> None:
        self._client.poll(ms)

    def close(self) -> None:
        """Say goodbye, and leave nothing retained on a broker that others use."""
        self.on_event = lambda text: None
        if self._guest:
            with contextlib.suppress(OSError, MQTTError):
                self._client.disconnect()
            return
        with contextlib.suppress(OSError, MQTTError):
            self._client.poll(200)  # the devices that have just ended leave their wills
            for name, device in self.devices.items():
                topics = [f"{name}/status"]
                topics += [f"{name}/{device.platforms[switch]}/{switch}" for switch in device.switches]
                for topic in topics:
                    self._client.publish(f"{self._prefix}/{topic}", b"", qos=1, retain=True)
            self._client.poll(200)
            self._client.disconnect()

    def command(self, device: str, switch: str, payload: str) -> Command:
        """Send a command; its answer is looked for in `commands`."""
        self._number += 1
        key = self._mark + b"%d" % self._number
        self.commands[key] = command = Command(device, switch, payload)
        for old in list(self.commands)[:-_COMMANDS]:
            del self.commands[old]
        properties = pack(response_topic=f"{self._prefix}/{device}/answer", correlation_data=key)
        known = self.devices.get(device, DeviceState()).platforms
        topic = f"{self._prefix}/{device}/{known.get(switch, 'switch')}/{switch}/set"
        self.on_event(f"{device}: {switch}: {payload} asked")
        if not self._client.publish(topic, payload, qos=1, properties=properties):
            command.response = {"ok": False, "error": "no room in our outbox"}
        return command

    def _state(self, client: Any, connected: bool, error: Exception | None) -> None:
        self.is_connected = connected
        if not connected and error is not None:
            self.on_event(f"link to the broker lost: {error}")

    def _device(self, message: Any) -> tuple[DeviceState, list[str]]:
        """Whose message it is, and the levels of its topic behind the prefix, to be shown."""
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

    def _room(self, table: dict[str, Any], name: str) -> bool:
        if name in table or len(table) < MAX_ITEMS_PER_DEVICE:
            return True
        self.dropped_messages += 1
        return False

    def _status(self, message: Any) -> None:
        device, levels = self._device(message)
        status = sanitize(message.payload.decode(errors="replace"))
        if status != device.status:
            self.on_event(f"{levels[0]}: {status}")
        device.status = status

    def _reading(self, message: Any) -> None:
        device, levels = self._device(message)
        name = "/".join(levels[2:])
        if levels[3:] == ["error"]:
            text = sanitize(bytes(message.payload[:_LINE]).decode(errors="replace"))
            if text:
                self.on_event(f"{levels[0]}: sensor {levels[2]}: {text}")
            return
        try:
            value = float(message.payload[:40])
        except ValueError:
            return
        if not abs(value) < _TOO_LARGE or not self._room(device.readings, name):  # NaN, too
            return
        for table, what in ((device.readings, value), (device.timestamps, device.last_seen)):
            table.setdefault(name, deque(maxlen=self._history)).append(what)
        self.on_reading(levels[0], name, value)

    def _switch(self, message: Any) -> None:
        device, levels = self._device(message)
        state = _state_of(message.payload)
        if not self._room(device.switches, levels[2]):
            return
        device.platforms[levels[2]] = levels[1]
        if device.switches.get(levels[2]) not in (None, state):
            self.on_event(f"{levels[0]}: {levels[2]} is {state}")
        device.switches[levels[2]] = state

    def _health(self, message: Any) -> None:
        device, _ = self._device(message)
        with contextlib.suppress(ValueError, RecursionError):
            figures = json.loads(message.payload)
            if isinstance(figures, dict):
                numbers = [(k, v) for k, v in figures.items() if isinstance(v, (int, float, str))]
                device.health = {
                    sanitize(key): sanitize(value) if isinstance(value, str) else value
                    for key, value in numbers[:MAX_ITEMS_PER_DEVICE]
                    if isinstance(value, str) or abs(value) < _TOO_LARGE
                }

    def _answered(self, message: Any) -> None:
        command = self.commands.get(message.property(CORRELATION_DATA) or b"")
        if command is None:
            return
        try:
            answer = json.loads(message.payload)
        except (ValueError, RecursionError):
            return
        if isinstance(answer, dict):
            command.response = answer
            if not answer.get("ok"):
                why = sanitize(str(answer.get("error")))
                self.on_event(f"{command.device}: {command.switch}: refused: {why}")
