"""The desk's side of a simulated fleet: what it hears from each device, what it asks of them.

A device's payloads may be anything: what can't be read is not counted, and changes nothing else.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from tools.broker import Address
from tools.monitor.device_state import PLATFORMS
from umqtt5 import Client, MQTTError
from umqtt5.properties import CORRELATION_DATA, pack

_ACTUATORS = 16  # of one device that are remembered
# those that TOGGLE does no harm to: a servo has no such thing
_COMMANDED = ("switch", "light", "valve")
_GOODBYE = 5.0  # s


@dataclass
class DeviceStats:
    """What a device has said."""

    is_online: bool = False
    was_online: bool = False
    offline_count: int = 0
    connects: int = 0
    heap_free: int = 0
    actuators: set[str] = field(default_factory=set)  # each as platform/name


class LoadClient:
    """Listens to the devices `names` below a prefix, and commands them. Times are in seconds."""

    def __init__(self, address: Address, prefix: str, names: list[str], ssl: Any = None) -> None:
        self.devices = {name: DeviceStats() for name in names}
        self.messages = 0
        self.commands_sent = 0
        self.commands_refused = 0
        self.latencies: list[float] = []
        self.connection_losses = 0  # our own
        self._prefix = prefix
        self._waiting: dict[bytes, tuple[str, float]] = {}
        self._number = 0
        self._client = client = Client(
            address.host,
            address.port,
            client_id=f"{prefix.replace('/', '-')}-dashboard",
            user=address.user,
            password=address.password,
            ssl=ssl,
            rx=65536,
            tx=65536,
            outbox=65536,
            inflight=200,
        )
        client.on_state = self._state
        client.subscribe(f"{prefix}/+/status", self._status, qos=1)
        client.subscribe(f"{prefix}/+/sensor/+", self._counted)
        for platform in PLATFORMS:
            client.subscribe(f"{prefix}/+/{platform}/+", self._actuator, qos=1)
        client.subscribe(f"{prefix}/+/health", self._health)
        client.subscribe(f"{prefix}/+/answer", self._answer, qos=1)

    def connect(self) -> None:
        """Raises OSError or MQTTError."""
        self._client.connect()

    def poll(self, ms: int) -> None:
        self._client.poll(ms)

    @property
    def online_count(self) -> int:
        """How many are now."""
        return sum(device.is_online for device in self.devices.values())

    @property
    def reconnects(self) -> int:
        """How often a device has come back."""
        return sum(max(0, device.connects - 1) for device in self.devices.values())

    @property
    def pending_commands(self) -> int:
        """How many commands may still be answered."""
        return sum(self.devices[name].is_online for name, _ in self._waiting.values())

    def reset_counters(self) -> None:
        """Count from here on."""
        self.messages = self.commands_sent = self.commands_refused = 0
        self.latencies.clear()
        self._waiting.clear()

    def command(self, name: str) -> None:
        """Toggle something of a device; its answer is looked for.

        It is asked to answer below its own base, which is where its broker lets it write.
        """
        own = sorted(one for one in self.devices[name].actuators if one.split("/")[0] in _COMMANDED)
        if not own:
            return
        self._number += 1
        key = b"%d" % self._number
        base = f"{self._prefix}/{name}"
        properties = pack(response_topic=f"{base}/answer", correlation_data=key)
        topic = f"{base}/{own[self._number % len(own)]}/set"
        if self._client.publish(topic, b"TOGGLE", qos=1, properties=properties):
            self.commands_sent += 1
            self._waiting[key] = name, time.monotonic()

    def close(self, clear_retained: bool) -> None:
        """Say goodbye; with `forget` nothing of these devices stays retained on the broker."""
        with contextlib.suppress(OSError, MQTTError):
            if clear_retained:
                self._clear_retained()
            self._client.disconnect()

    def _clear_retained(self) -> None:
        ends = time.monotonic() + _GOODBYE
        while self.online_count and time.monotonic() < ends:  # their wills are retained, too
            self._client.poll(20)
        for name, device in self.devices.items():
            for topic in ("status", *sorted(device.actuators)):
                while not self._client.publish(f"{self._prefix}/{name}/{topic}", b"", qos=1, retain=True):
                    if time.monotonic() > ends:
                        return
                    self._client.poll(20)
        self._client.poll(200)

    # ---- what comes in

    def _state(self, client: Any, connected: bool, error: Exception | None) -> None:
        if not connected and error is not None:
            self.connection_losses += 1

    def _counted(self, message: Any) -> tuple[DeviceStats | None, list[str]]:
        levels = message.topic[len(self._prefix) + 1 :].split("/")
        device = self.devices.get(levels[0])
        if device is not None:
            self.messages += 1
        return device, levels

    def _status(self, message: Any) -> None:
        device, _ = self._counted(message)
        if device is None:
            return
        online = message.equals(b"online")
        if device.is_online and not online:
            device.offline_count += 1
        device.is_online = online
        device.was_online = device.was_online or online

    def _actuator(self, message: Any) -> None:
        device, levels = self._counted(message)
        if device is not None and len(device.actuators) < _ACTUATORS:
            device.actuators.add(f"{levels[1]}/{levels[2]}")

    def _health(self, message: Any) -> None:
        device, _ = self._counted(message)
        figures = _object(message.payload)
        if device is not None:
            for name in ("connects", "heap_free"):
                if type(figures.get(name)) is int:
                    setattr(device, name, figures[name])

    def _answer(self, message: Any) -> None:
        device, _ = self._counted(message)
        waiting = self._waiting.pop(message.property(CORRELATION_DATA) or b"", None)
        if device is None or waiting is None:
            return
        self.latencies.append(time.monotonic() - waiting[1])
        if _object(message.payload).get("ok") is not True:
            self.commands_refused += 1


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
