"""MQTT client of a load test: counts the messages of all devices, sends commands, measures latency.

Payloads are not trusted: a payload that cannot be parsed is ignored.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from tools.broker import Address
from tools.monitor.device_state import PLATFORMS
from umqtt5 import Client, MQTTError
from umqtt5.properties import CORRELATION_DATA, pack

_MAX_ACTUATORS = 16  # maximum number of actuators stored per device
# platforms that accept TOGGLE; a servo (number) does not
_TOGGLED_PLATFORMS = ("switch", "light", "valve")
_CLEANUP_TIMEOUT = 5.0  # seconds


@dataclass
class DeviceStats:
    """State and counters of one device."""

    is_online: bool = False
    was_online: bool = False  # whether it has been online since the start
    offline_count: int = 0  # how many times it went offline
    connects: int = 0  # number of connections it has made, from its health message
    heap_free: int = 0  # bytes, from its health message
    actuators: set[str] = field(default_factory=set)  # each as platform/name


class LoadClient:
    """Client that receives all messages of the devices in `names` and sends commands to them.

    `prefix` is the first part of their topics. `ssl` is an SSLContext, None for plain TCP.
    """

    def __init__(self, address: Address, prefix: str, names: list[str], ssl: Any = None) -> None:
        self.devices = {name: DeviceStats() for name in names}
        self.messages = 0  # number of messages received from the devices
        self.commands_sent = 0
        self.commands_refused = 0  # number of answers without "ok": true
        self.latencies: list[float] = []  # seconds from each command to its answer
        self.connection_losses = 0  # number of times that this client lost its connection
        self._prefix = prefix
        # unanswered commands: correlation data to (device, time sent)
        self._waiting: dict[bytes, tuple[str, float]] = {}
        self._number = 0  # number of the last command
        self._client = client = Client(
            address.host,
            address.port,
            client_id=f"{prefix.replace('/', '-')}-load-{secrets.token_hex(4)}",  # several may run at once
            session_expiry=60,
            user=address.user,
            password=address.password,
            ssl=ssl,
            rx=65536,
            tx=65536,
            outbox=65536,
            inflight=200,
        )
        client.on_state = self._on_state
        client.subscribe(f"{prefix}/+/status", self._on_status, qos=1)
        client.subscribe(f"{prefix}/+/sensor/+", self._count)
        for platform in PLATFORMS:
            client.subscribe(f"{prefix}/+/{platform}/+", self._on_actuator, qos=1)
        client.subscribe(f"{prefix}/+/health", self._on_health)
        client.subscribe(f"{prefix}/+/answer", self._on_answer, qos=1)

    def connect(self) -> None:
        """Connect to the broker. Raises OSError or MQTTError."""
        self._client.connect()

    def poll(self, ms: int) -> None:
        """Receive messages, waiting up to `ms` milliseconds for the first one."""
        self._client.poll(ms)

    @property
    def online_count(self) -> int:
        """Number of devices that are online."""
        return sum(device.is_online for device in self.devices.values())

    @property
    def reconnects(self) -> int:
        """Number of reconnects of all devices together."""
        return sum(max(0, device.connects - 1) for device in self.devices.values())

    @property
    def pending_commands(self) -> int:
        """Number of unanswered commands to devices that are online."""
        return sum(self.devices[name].is_online for name, _ in self._waiting.values())

    def reset_counters(self) -> None:
        """Reset the message and command counters and the latencies, but no other counters."""
        self.messages = self.commands_sent = self.commands_refused = 0
        self.latencies.clear()
        self._waiting.clear()

    def command(self, name: str) -> None:
        """Send TOGGLE to one actuator of a device, selected by the command number.

        Does nothing if no actuator of the device accepts TOGGLE. The Response Topic is below the device's
        base topic, because the broker's ACL allows the device to publish only there.
        """
        actuators = sorted(
            one for one in self.devices[name].actuators if one.split("/")[0] in _TOGGLED_PLATFORMS
        )
        if not actuators:
            return
        self._number += 1
        key = b"%d" % self._number
        base = f"{self._prefix}/{name}"
        properties = pack(response_topic=f"{base}/answer", correlation_data=key)
        topic = f"{base}/{actuators[self._number % len(actuators)]}/set"
        if self._client.publish(topic, b"TOGGLE", qos=1, properties=properties):
            self.commands_sent += 1
            self._waiting[key] = name, time.monotonic()

    def close(self, clear_retained: bool) -> None:
        """Disconnect. With `clear_retained`, first delete the devices' retained messages at the broker."""
        with contextlib.suppress(OSError, MQTTError):
            if clear_retained:
                self._clear_retained()
            self._client.disconnect()

    def _clear_retained(self) -> None:
        ends = time.monotonic() + _CLEANUP_TIMEOUT
        while self.online_count and time.monotonic() < ends:  # wait for the wills, which are retained
            self._client.poll(20)
        for name, device in self.devices.items():
            for topic in ("status", *sorted(device.actuators)):
                while not self._client.publish(f"{self._prefix}/{name}/{topic}", b"", qos=1, retain=True):
                    if time.monotonic() > ends:
                        return
                    self._client.poll(20)
        self._client.poll(200)

    # ---- handlers

    def _on_state(self, client: Any, connected: bool, error: Exception | None) -> None:
        if not connected and error is not None:
            self.connection_losses += 1

    def _count(self, message: Any) -> tuple[DeviceStats | None, list[str]]:
        """Count a message; returns its device (None if unknown) and the topic levels after the prefix."""
        levels = message.topic[len(self._prefix) + 1 :].split("/")
        device = self.devices.get(levels[0])
        if device is not None:
            self.messages += 1
        return device, levels

    def _on_status(self, message: Any) -> None:
        device, _ = self._count(message)
        if device is None:
            return
        online = message.equals(b"online")
        if device.is_online and not online:
            device.offline_count += 1
        device.is_online = online
        device.was_online = device.was_online or online

    def _on_actuator(self, message: Any) -> None:
        device, levels = self._count(message)
        if device is not None and len(device.actuators) < _MAX_ACTUATORS:
            device.actuators.add(f"{levels[1]}/{levels[2]}")

    def _on_health(self, message: Any) -> None:
        device, _ = self._count(message)
        figures = _parse_object(message.payload)
        if device is not None:
            for name in ("connects", "heap_free"):
                if type(figures.get(name)) is int:
                    setattr(device, name, figures[name])

    def _on_answer(self, message: Any) -> None:
        device, _ = self._count(message)
        waiting = self._waiting.pop(message.property(CORRELATION_DATA) or b"", None)
        if device is None or waiting is None:
            return
        self.latencies.append(time.monotonic() - waiting[1])
        if _parse_object(message.payload).get("ok") is not True:
            self.commands_refused += 1


def _parse_object(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in a payload, or {} if the payload is not a JSON object."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
