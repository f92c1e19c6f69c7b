"""Parts of the soak test outside of the VM: random faults, the client that exchanges messages, the trap."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from typing import Any

from host_tests.faults.faulty_dns import TRAP
from host_tests.faults.proxy import HEALTHY, Fault
from host_tests.faults.soak_checks import make_payload
from host_tests.faults.wire_check import WireCheck
from tools.broker import Mosquitto
from umqtt5 import Client

_AHEAD = 30  # how far, per QoS, the messages to the device may run ahead of those that it has handled


class RandomFaults:
    """Chooses the fault of each connection, and counts the kinds."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()

    def choose(self, number: int) -> Fault:
        numbers = self._random
        kind = numbers.choice(
            ("reset", "close", "stall", "swallow", "half_open")
            + ("none", "latency", "jitter", "single_bytes", "pieces", "slow", "accept_only")
        )
        self.counts[kind] += 1
        # 20 to 200,000 bytes, small numbers as often as large ones; the handshake takes about 300 bytes
        after = int(
            20 * 10000 ** numbers.random() if numbers.random() < 0.4 else 2000 * 100 ** numbers.random()
        )
        if kind == "none":
            return HEALTHY
        if kind == "accept_only":
            return Fault(accept_only=True)
        if kind in ("reset", "close", "stall", "swallow", "half_open"):
            return Fault(after_bytes=after, then=kind, chunk_size=numbers.choice((1, 7, 65536)))
        after = max(after, 5000)
        return {
            "latency": Fault(delay=0.03, after_bytes=after, then="reset"),
            "jitter": Fault(jitter=0.05, after_bytes=after),
            "single_bytes": Fault(chunk_size=1, after_bytes=after, then="reset"),
            "pieces": Fault(chunk_size=numbers.choice((2, 3, 50)), after_bytes=after),
            "slow": Fault(bytes_per_second=3000, after_bytes=after, then="stall"),
        }[kind]


class Peer:
    """A client that is connected to the broker directly: it exchanges messages with the device."""

    def __init__(self, broker: Mosquitto, unique: str, wire: WireCheck, numbers: random.Random) -> None:
        self._unique = unique
        self._wire = wire
        self._random = numbers
        self.received: Counter[tuple[int, int]] = Counter()  # by stream and number
        self.violations: list[str] = []
        self.numbers = [0, 0, 0]  # next number of the messages to the device, by QoS
        self.client = client = Client(
            broker.address.host,
            broker.address.port,
            client_id=unique + "-peer",
            session_expiry=3600,
            keep_alive=20,
            rx=2048,
            outbox=16384,
            inflight=60,
        )
        client.max_reconnect_delay = 200
        self._subscription = client.subscribe(unique + "/up/#", self._on_message, qos=2)

    def _on_message(self, message: Any) -> None:
        with contextlib.suppress(ValueError):
            stream, number = (int(part) for part in message.payload.split(b"/")[:2])
            if message.payload == make_payload(stream, number):
                self.received[stream, number] += 1
                return
        self.violations.append(f"corrupt message {message.topic} {message.payload!r}")

    def connect(self) -> None:
        """Connect, and wait for the subscription. Raises TimeoutError."""
        self.client.connect(wait=False)
        deadline = time.monotonic() + 20
        while not self.client.is_connected or self._subscription.reason is None:
            self.client.poll(5)
            if time.monotonic() > deadline:
                raise TimeoutError(f"the peer is not connected: {self.client.error}")

    def send(self) -> None:
        """Send the device messages, unless too many are on their way."""
        qos = self._random.randrange(3)
        chance = self._random.random()
        has_backlog = self.numbers[1] > self._wire.handled_end[1] + _AHEAD // 2
        if chance < 0.3 and not has_backlog:
            part = self._random.randrange(5)
            self.client.publish(f"{self._unique}/part/{part}", b"part", qos=qos % 2)
        elif self.numbers[qos] < self._wire.handled_end[qos] + _AHEAD or chance < 0.4:
            payload = make_payload(qos, self.numbers[qos])
            if self.client.publish(f"{self._unique}/down/{qos}", payload, qos=qos):
                self.numbers[qos] += 1


class Trap:
    """Counts the connections to the address in forged DNS answers."""

    def __init__(self, port: int) -> None:
        self.connections = 0
        self._socket = socket.create_server((TRAP, port))
        self._socket.settimeout(0.1)
        self._is_stopped = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Trap:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._is_stopped:
            with contextlib.suppress(TimeoutError):
                self._socket.accept()[0].close()
                self.connections += 1
