"""What the devices of one prefix say, as it comes in; and commands to them, confirmed."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools.broker import Address
from umqtt5 import Client, MQTTError
from umqtt5.properties import CORRELATION_DATA, pack

HISTORY = 40


@dataclass
class DeviceState:
    """All that a device has said."""

    status: str = "unknown"
    readings: dict[str, deque[float]] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)
    received: int = 0


@dataclass
class Command:
    """A command on its way. `answer` is the device's, None as long as there is none."""

    device: str
    switch: str
    word: str
    answer: dict[str, Any] | None = None
    since: float = field(default_factory=time.monotonic)


class Watch:
    """The desktop's side of the demo: umqtt5 itself, on CPython."""

    def __init__(self, broker: Address, prefix: str) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.commands: dict[bytes, Command] = {}
        self._prefix = prefix
        # told in words what changes, but for readings
        self.on_event: Callable[[str], None] = lambda text: None
        self._number = 0
        self._answers = f"{prefix}/watch/answer"
        self._client = Client(
            broker.host,
            broker.port,
            client_id=prefix.replace("/", "-") + "-watch",
            user=broker.user,
            password=broker.password,
            rx=65536,
            tx=4096,
            outbox=16384,
            inflight=64,
        )
        self._client.on_state = self._state
        self._client.subscribe(f"{prefix}/+/status", self._status, qos=1)
        self._client.subscribe(f"{prefix}/+/sensor/+", self._reading)
        self._client.subscribe(f"{prefix}/+/switch/+", self._switch, qos=1)
        self._client.subscribe(f"{prefix}/+/health", self._health)
        self._client.subscribe(self._answers, self._answered, qos=1)

    def connect(self) -> None:
        """Raises OSError or MQTTError."""
        self._client.connect()

    def poll(self, ms: int) -> None:
        self._client.poll(ms)

    def close(self) -> None:
        """Say goodbye, and leave nothing retained on a broker that others use."""
        self.on_event = lambda text: None
        with contextlib.suppress(OSError, MQTTError):
            self._client.poll(200)  # the devices that have just ended leave their wills
            for name, device in self.devices.items():
                topics = [f"{name}/status", *(f"{name}/switch/{switch}" for switch in device.switches)]
                for topic in topics:
                    self._client.publish(f"{self._prefix}/{topic}", b"", qos=1, retain=True)
            self._client.poll(200)
            self._client.disconnect()

    def command(self, device: str, switch: str, word: str) -> Command:
        """Send a command; its answer is looked for in `commands`."""
        self._number += 1
        key = b"%d" % self._number
        self.commands[key] = command = Command(device, switch, word)
        properties = pack(response_topic=self._answers, correlation_data=key)
        topic = f"{self._prefix}/{device}/switch/{switch}/set"
        self.on_event(f"{device}: {switch}: {word} asked")
        if not self._client.publish(topic, word, qos=1, properties=properties):
            command.answer = {"ok": False, "error": "no room in our outbox"}
        return command

    def _state(self, client: Any, connected: bool, error: Exception | None) -> None:
        if not connected and error is not None:
            self.on_event(f"link to the broker lost: {error}")

    def _device(self, message: Any) -> tuple[DeviceState, list[str]]:
        levels = message.topic[len(self._prefix) + 1 :].split("/")
        device = self.devices.setdefault(levels[0], DeviceState())
        device.received += 1
        return device, levels

    def _status(self, message: Any) -> None:
        device, levels = self._device(message)
        status = message.payload.decode(errors="replace")
        if status != device.status:
            self.on_event(f"{levels[0]}: {status}")
        device.status = status

    def _reading(self, message: Any) -> None:
        device, levels = self._device(message)
        with contextlib.suppress(ValueError):
            value = float(message.payload)
            device.readings.setdefault(levels[2], deque(maxlen=HISTORY)).append(value)

    def _switch(self, message: Any) -> None:
        device, levels = self._device(message)
        state = message.payload.decode(errors="replace")
        if device.switches.get(levels[2]) not in (None, state):
            self.on_event(f"{levels[0]}: {levels[2]} is {state}")
        device.switches[levels[2]] = state

    def _health(self, message: Any) -> None:
        device, _ = self._device(message)
        with contextlib.suppress(ValueError):
            figures = json.loads(message.payload)
            if isinstance(figures, dict):
                device.health = figures

    def _answered(self, message: Any) -> None:
        command = self.commands.get(message.property(CORRELATION_DATA) or b"")
        if command is None:
            return
        try:
            answer = json.loads(message.payload)
        except ValueError:
            return
        if isinstance(answer, dict):
            command.answer = answer
            if not answer.get("ok"):
                self.on_event(f"{command.device}: {command.switch}: refused: {answer.get('error')}")
