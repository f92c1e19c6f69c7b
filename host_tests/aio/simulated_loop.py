"""An asyncio event loop for CPython that uses the simulated clock and streams of `simulation`."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class SimulatedSelector(selectors._BaseSelectorImpl):  # type: ignore[name-defined,misc]
    """A selector for simulated streams. If none is ready, it advances the clock by the timeout."""

    def __init__(self, sim: Any) -> None:
        super().__init__()
        self.sim = sim
        self.waits = 0  # number of times that the loop slept

    def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        ready = []
        for key in list(self.get_map().values()):
            stream = next((s for s in self.sim.streams if s.number == key.fd), None)
            if stream is None:
                continue  # a socket that asyncio uses internally
            events = 0
            if key.events & selectors.EVENT_READ and (stream.inbox or stream.closed_by_broker):
                events |= selectors.EVENT_READ
            if key.events & selectors.EVENT_WRITE and self.sim.is_writable and not stream.is_stalled:
                events |= selectors.EVENT_WRITE
            if events:
                ready.append((key, events))
        if not ready and timeout is None:
            raise AssertionError("no task can ever continue: nothing is ready and there is no timeout")
        if not ready and timeout:
            self.waits += 1
            self.sim.now += max(1, round(timeout * 1000))
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the simulated time."""

    def __init__(self, sim: Any) -> None:
        self.selector = SimulatedSelector(sim)
        super().__init__(self.selector)

    def time(self) -> float:
        return float(self.selector.sim.now / 1000)


def run(sim: Any, main: Coroutine[Any, Any, Any]) -> Any:
    """Run `main` and return its result. Fails if a task, an open stream or an unhandled exception is left."""
    loop = SimulatedLoop(sim)
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    try:
        result = loop.run_until_complete(asyncio.wait_for(main, 1_000_000))
        assert not asyncio.all_tasks(loop), asyncio.all_tasks(loop)
        left = [key.fd for key in loop.selector.get_map().values() if key.fd >= 10_000]
        assert not left, "a stream is still registered with the selector"
        assert not failures, failures
        return result
    finally:
        loop.close()


def run_and_abandon(sim: Any, main: Coroutine[Any, Any, Any], cancel: bool = True) -> Any:
    """Run `main` as `asyncio.run` does, in a new event loop, whatever it leaves behind.

    Without `cancel` the tasks that are left are not cancelled. Instead they never run again.
    """
    loop = SimulatedLoop(sim)
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            if cancel:
                task.cancel()
            else:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
        if cancel and left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()
