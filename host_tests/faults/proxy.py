"""A TCP proxy that delays, splits, cuts, swallows and alters what goes through it.

This computer's kernel can't do it to the loopback interface, so a thread of ours does it in the
middle of each connection. What it does is a `Fault`, chosen for each connection when it comes.
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
    """The faults of one connection; bytes are counted in both directions together.

    Data pass in chunks of `chunk_size` bytes, each after `delay` plus up to `jitter` seconds, at
    `bytes_per_second`. After `after_bytes` bytes, `then` happens: `stall` (nothing passes and nothing is
    read), `swallow` (all is read and discarded), `close` or `reset`. About once in `flip_bit_every` bytes
    a bit is changed, once in `repeat_byte_every` bytes a byte is repeated. With `accept_only` the proxy
    accepts the connection and never connects to the broker.
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
_LINGER = struct.pack("ii", 1, 0)  # close sends RST


class Proxy:
    """Listens on a port of its own before `target`; `choose_fault` gives each connection its fault."""

    def __init__(self, target: Address, choose_fault: Callable[[int], Fault], seed: int = 1) -> None:
        self.target = target
        self.choose_fault = choose_fault
        self.connections = 0
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
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """From now on connections are refused, and those there are end."""
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
        """The end of `refuse`."""
        self._call(self._listen())

    def reset_all(self) -> None:
        """Reset all connections there are."""
        self._loop.call_soon_threadsafe(self._reset_all_now)

    def _reset_all_now(self) -> None:
        for writer in list(self._writers):
            self._end(writer, reset=True)

    def stop_faults(self) -> None:
        """From now on nothing happens to new connections, and those there are end."""
        self.choose_fault = lambda number: HEALTHY
        self.reset_all()

    def close(self) -> None:
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
        there = None
        try:
            if fault.accept_only:
                await asyncio.sleep(3600)
            up, there = await asyncio.open_connection(self.target.host, self.target.port)
            self._writers.add(there)
            passed = [0]
            one = asyncio.ensure_future(self._pass(fault, passed, reader, there))
            two = asyncio.ensure_future(self._pass(fault, passed, up, writer))
            await asyncio.wait((one, two), return_when=asyncio.FIRST_COMPLETED)
            for task in (one, two):
                task.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            reset = fault.after_bytes >= 0 and fault.then == "reset"
            for each in (writer, there):
                if each is not None:
                    self._end(each, reset)
                    self._writers.discard(each)

    def _end(self, writer: asyncio.StreamWriter, reset: bool) -> None:
        sock = writer.get_extra_info("socket")
        if reset and sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            writer.transport.abort()
        else:
            writer.close()

    async def _pass(
        self, fault: Fault, passed: list[int], source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(4096):
            for at in range(0, len(data), fault.chunk_size):
                piece = data[at : at + fault.chunk_size]
                if 0 <= fault.after_bytes < passed[0] + len(piece):
                    piece = piece[: fault.after_bytes - passed[0]]
                    sink.write(piece)
                    passed[0] = fault.after_bytes
                    await self._over(fault, source)
                    return
                passed[0] += len(piece)
                if fault.delay or fault.jitter:
                    await asyncio.sleep(fault.delay + self._random.random() * fault.jitter)
                if fault.bytes_per_second:
                    await asyncio.sleep(len(piece) / fault.bytes_per_second)
                sink.write(self._altered(fault, piece))
                await sink.drain()
                if fault.chunk_size < 64:
                    await asyncio.sleep(0)

    async def _over(self, fault: Fault, source: asyncio.StreamReader) -> None:
        if fault.then == "stall":
            await asyncio.sleep(3600)
        while fault.then == "swallow" and await source.read(4096):
            pass

    def _altered(self, fault: Fault, piece: bytes) -> bytes:
        if fault.flip_bit_every and self._random.random() < len(piece) / fault.flip_bit_every:
            at = self._random.randrange(len(piece))
            piece = piece[:at] + bytes([piece[at] ^ 1 << self._random.randrange(8)]) + piece[at + 1 :]
        if fault.repeat_byte_every and self._random.random() < len(piece) / fault.repeat_byte_every:
            at = self._random.randrange(len(piece))
            piece = piece[: at + 1] + piece[at:]
        return piece


@contextlib.contextmanager
def fault_proxy(target: Address, choose_fault: Callable[[int], Fault], seed: int = 1) -> Iterator[Proxy]:
    """A proxy before a broker."""
    proxy = Proxy(target, choose_fault, seed)
    try:
        yield proxy
    finally:
        proxy.close()
