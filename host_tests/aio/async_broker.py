"""A simulated broker with an asyncio client on a simulated clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from answering_broker import BrokerSimulation

from helper import publish_packet
from host_tests.aio.simulated_loop import run
from umqtt5.aio import Client


class AsyncBrokerSimulation(BrokerSimulation):  # type: ignore[misc]
    """Simulated broker with an asyncio client that connects to it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.mqtt = Client("broker", client_id="c", transport=self.connect, **options)
        self.withholds_acks = False  # True: the broker does not acknowledge a PUBLISH

    def connect(self, host: str, port: int) -> Any:
        stream = super().connect(host, port)
        stream.number = 10_000 + len(self.streams)
        stream.fileno = lambda: stream.number
        return stream

    def on_publish(self, stream: Any, first: int, body: bytes) -> bytes:
        if self.withholds_acks:
            return b""
        return super().on_publish(stream, first, body)  # type: ignore[no-any-return]

    def send(self, *packets: bytes) -> None:
        self.stream.inbox += b"".join(packets)

    def written(self, first: int) -> list[bytes]:
        """Return the bodies of the packets from the client whose first byte is `first`."""
        return [body for kind, body in self.packets if kind == first]

    def acknowledged(self) -> list[tuple[int, int]]:
        """Return (packet identifier, reason code) of the PUBACKs and PUBRECs sent, in order."""
        return [
            (body[1], body[2] if len(body) > 2 else 0)
            for first, body in self.packets
            if first in (0x40, 0x50)
        ]

    def open_streams(self) -> list[Any]:
        """Return the streams that the client has not closed."""
        return [stream for stream in self.streams if not stream.closed]

    def play(self, main: Callable[[Client], Awaitable[Any]]) -> Any:
        """Run `main(client)` in `async with client` and return its result."""

        async def inside() -> Any:
            async with self.mqtt as client:
                return await main(client)

        return run(self, inside())


def to_c(number: int, qos: int = 1, topic: bytes = b"c") -> bytes:
    """Return a PUBLISH from the broker. `number` is its payload and packet identifier."""
    return publish_packet(topic, b"%d" % number, qos, number)  # type: ignore[no-any-return]
