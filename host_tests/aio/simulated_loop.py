"""An asyncio loop of CPython on the simulated clock of `simulation`, whose streams it waits for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class SimulatedSelector(selectors._BaseSelectorImpl):  # type: ignore[name-defined,misc]
    """Ready is what the simulation's streams say; else the clock goes on."""

    def __init__(self, sim: Any) -> None:
        super().__init__()
        self.sim = sim
        self.waits = 0  # how often it has slept

    def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        ready = []
        for key in list(self.get_map().values()):
            stream = next((s for s in self.sim.streams if s.number == key.fd), None)
            if stream is None:
                continue  # asyncio's own
            events = 0
            if key.events & selectors.EVENT_READ and (stream.inbox or stream.closed_by_broker):
                events |= selectors.EVENT_READ
            if key.events & selectors.EVENT_WRITE and self.sim.is_writable and not stream.is_stalled:
                events |= selectors.EVENT_WRITE
            if events:
                ready.append((key, events))
        if not ready and timeout is None:
            raise AssertionError("everybody sleeps for ever")
        if not ready and timeout:
            self.waits += 1
            self.sim.now += max(1, round(timeout * 1000))
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self, sim: Any) -> None:
        self.selector = SimulatedSelector(sim)
        super().__init__(self.selector)

    def time(self) -> float:
        return float(self.selector.sim.now / 1000)


def run(sim: Any, main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end of `main`; fails where something goes on behind it."""
    loop = SimulatedLoop(sim)
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    try:
        result = loop.run_until_complete(asyncio.wait_for(main, 1_000_000))
        assert not asyncio.all_tasks(loop), asyncio.all_tasks(loop)
        left = [key.fd for key in loop.selector.get_map().values() if key.fd >= 10_000]
        assert not left, "it still waits for a stream"
        assert not failures, failures
        return result
    finally:
        loop.close()
