"""A client that sends commands to the device `dut` and counts the responses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from host_tests.device.observer import PREFIX
from tools.broker import Address
from umqtt5 import Client
from umqtt5.properties import pack

_ANSWERS = "sender/answer"


class CommandSender:
    """Sends commands with Correlation Data; `responses` has the list of responses to each of them."""

    def __init__(self, address: Address) -> None:
        self.responses: dict[bytes, list[dict[str, Any]]] = {}
        self._client = Client(
            address.host, address.port, client_id="sender", inflight=200, outbox=60000, rx=4096, tx=4096
        )
        self._client.subscribe(_ANSWERS, self._on_response, qos=1)
        self._client.connect()
        self._number = 0

    def _on_response(self, message: Any) -> None:
        self.responses[message.property(0x09)].append(json.loads(message.payload))

    def send(self, topic: str, payload: str, qos: int = 1, retain: bool = False, **properties: Any) -> bytes:
        """Send a command to `<base>/<topic>/set`; returns its Correlation Data."""
        self._number += 1
        key = properties.setdefault("correlation_data", b"%d" % self._number)
        self.responses.setdefault(key, [])
        packed = pack(response_topic=_ANSWERS, **properties)
        name = f"{PREFIX}/dut/{topic}/set"
        while not self._client.publish(name, payload, qos=qos, retain=retain, properties=packed):
            self._client.poll(5)
        return key

    def flush(self) -> None:
        """Wait until the broker has all commands."""
        self.wait_until(lambda: not self._client.session.outbox.count)

    def execute(self, topic: str, payload: str, **options: Any) -> dict[str, Any]:
        """Send a command and return its response."""
        key = self.send(topic, payload, **options)
        self.wait_until(lambda: self.responses[key])
        return self.responses[key][-1]

    def wait_until(self, condition: Callable[[], object], timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, list(self.responses.items())[-5:]
            self._client.poll(20)

    def clear_retained(self, topic: str) -> None:
        """Delete the retained command at `<base>/<topic>/set`."""
        self._client.publish(f"{PREFIX}/dut/{topic}/set", b"", qos=1, retain=True, wait=True)

    def poll(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._client.poll(20)

    def close(self) -> None:
        self._client.disconnect()


@contextmanager
def sending(address: Address) -> Iterator[CommandSender]:
    """Yield a CommandSender that is connected to the broker."""
    sender = CommandSender(address)
    try:
        yield sender
    finally:
        sender.close()
