"""A TCP proxy that injects network faults: delay, low bandwidth, stalls, resets, corrupted bytes.

It runs in a thread of this process and does not need a kernel feature such as netem. A function chooses
the `Fault` of each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tools.broker import Address


@dataclass(frozen=True)
class Fault:
    """The faults of one connection.

    The proxy forwards chunks of up to `chunk_size` bytes, each after `delay` plus up to `jitter` seconds, at
    `bytes_per_second` (0: no limit). After `after_bytes` bytes in both directions together (-1: never), it
    does what `then` says: `stall` (stop reading and forwarding), `swallow` (read and discard), `half_open`
    (discard the bytes of one direction, and forward those of the other), `close` or `reset`. About once in
    `flip_bit_every` bytes it changes a bit, about once in `repeat_byte_every` bytes it repeats a byte. With
    `accept_only` it accepts the connection and does not connect to the broker.
    """

    delay: float = 0
    jitter: float = 0
    bytes_per_second: float = 0
    chunk_size: int = 65536
    after_bytes: int = -1
    then: str = "close"
    flip_bit_every: int = 0
    repeat_byte_every: int = 0
    accept_only: bool = False


HEALTHY = Fault()
_LINGER = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s, so that closing the socket sends RST


class Proxy:
    """Forwards connections to `target` and injects faults.

    `choose_fault` gets the number of a connection, counted from 0, and returns its fault. `address` is the
    address of the proxy. `connections` is the number of connections accepted.

    If `observe` is not None, it is called in the proxy's thread as `observe(number, is_from_client, data)`:
    for all bytes that were read from the client, and for those bytes of the broker that are forwarded.
    """

    def __init__(
        self,
        target: Address,
        choose_fault: Callable[[int], Fault],
        seed: int = 1,
        observe: Callable[[int, bool, bytes], None] | None = None,
    ) -> None:
        self.target = target
        self.choose_fault = choose_fault
        self.connections = 0
        self.host = "127.0.0.1"
        self._observe = observe
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.AbstractServer | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._port = 0
        self._call(self._listen())
        self.address = Address("127.0.0.1", self._port, target.user, target.password)

    def _call(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        if self._server and self._server.is_serving():
            return
        self._server = await asyncio.start_server(self._serve, self.host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Reset all connections, and refuse new ones until `accept`."""
        self._call(self._refuse())

    async def _refuse(self) -> None:
        assert self._server
        self._server.close()
        self._reset_all_now()
        await asyncio.sleep(0)

    async def _finish(self) -> None:
        await self._refuse()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def accept(self) -> None:
        """Accept connections again after `refuse`."""
        self._call(self._listen())

    def move(self, host: str) -> None:
        """Reset all connections, and listen on the same port of another address."""
        self.refuse()
        self.host = host
        self.accept()

    def reset_all(self) -> None:
        """Reset all open connections."""
        self._loop.call_soon_threadsafe(self._reset_all_now)

    def _reset_all_now(self) -> None:
        for writer in list(self._writers):
            self._end(writer, reset=True)

    def stop_faults(self) -> None:
        """Reset all connections, and give new ones no faults."""
        self.choose_fault = lambda number: HEALTHY
        self.reset_all()

    def close(self) -> None:
        """Reset all connections and end the thread."""
        self._call(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # ---- one connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        fault = self.choose_fault(number)
        self._writers.add(writer)
        upstream_writer = None
        try:
            if fault.accept_only:
                await asyncio.sleep(3600)
            upstream_reader, upstream_writer = await asyncio.open_connection(
                self.target.host, self.target.port
            )
            self._writers.add(upstream_writer)
            forwarded = [0]  # number of bytes forwarded, both directions together
            tasks = (
                asyncio.ensure_future(self._forward(fault, forwarded, reader, upstream_writer, number, True)),
                asyncio.ensure_future(
                    self._forward(fault, forwarded, upstream_reader, writer, number, False)
                ),
            )
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            reset = fault.after_bytes >= 0 and fault.then == "reset"
            for side in (writer, upstream_writer):
                if side is not None:
                    self._end(side, reset)
                    self._writers.discard(side)

    def _end(self, writer: asyncio.StreamWriter, reset: bool) -> None:
        sock = writer.get_extra_info("socket")
        if reset and sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            writer.transport.abort()
        else:
            writer.close()

    async def _forward(
        self,
        fault: Fault,
        forwarded: list[int],
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        number: int,
        is_from_client: bool,
    ) -> None:
        while data := await source.read(4096):
            if self._observe and is_from_client:
                self._observe(number, True, data)
            for offset in range(0, len(data), fault.chunk_size):
                chunk = data[offset : offset + fault.chunk_size]
                if 0 <= fault.after_bytes < forwarded[0] + len(chunk):
                    chunk = chunk[: fault.after_bytes - forwarded[0]]
                    if self._observe and not is_from_client:
                        self._observe(number, False, chunk)
                    sink.write(chunk)
                    forwarded[0] = fault.after_bytes
                    await self._stall_or_swallow(fault, forwarded, source)
                    return
                forwarded[0] += len(chunk)
                if fault.delay or fault.jitter:
                    await asyncio.sleep(fault.delay + self._random.random() * fault.jitter)
                if fault.bytes_per_second:
                    await asyncio.sleep(len(chunk) / fault.bytes_per_second)
                if self._observe and not is_from_client:
                    self._observe(number, False, chunk)
                sink.write(self._corrupt(fault, chunk))
                await sink.drain()
                if fault.chunk_size < 64:
                    await asyncio.sleep(0)

    async def _stall_or_swallow(
        self, fault: Fault, forwarded: list[int], source: asyncio.StreamReader
    ) -> None:
        if fault.then == "stall":
            await asyncio.sleep(3600)
        if fault.then == "half_open":
            forwarded[0] = -(1 << 60)  # the other direction goes on
        while fault.then in ("swallow", "half_open") and await source.read(4096):
            pass

    def _corrupt(self, fault: Fault, chunk: bytes) -> bytes:
        if fault.flip_bit_every and self._random.random() < len(chunk) / fault.flip_bit_every:
            i = self._random.randrange(len(chunk))
            chunk = chunk[:i] + bytes([chunk[i] ^ 1 << self._random.randrange(8)]) + chunk[i + 1 :]
        if fault.repeat_byte_every and self._random.random() < len(chunk) / fault.repeat_byte_every:
            i = self._random.randrange(len(chunk))
            chunk = chunk[: i + 1] + chunk[i:]
        return chunk


@contextlib.contextmanager
def fault_proxy(
    target: Address,
    choose_fault: Callable[[int], Fault],
    seed: int = 1,
    observe: Callable[[int, bool, bytes], None] | None = None,
) -> Iterator[Proxy]:
    """Yield a fault proxy in front of `target`. The arguments are those of `Proxy`."""
    proxy = Proxy(target, choose_fault, seed, observe)
    try:
        yield proxy
    finally:
        proxy.close()
