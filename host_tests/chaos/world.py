"""The clock of the simulated world: events in the order of their times. Nothing here waits for real time."""

from __future__ import annotations

import heapq
from collections.abc import Callable

SECOND = 1000  # ms
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Event:
    """An event that can be cancelled."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        self.action = None


class World:
    """The clock, in ms since the start of the world, and the events to come."""

    def __init__(self) -> None:
        self.now = 0
        self._events: list[tuple[int, int, Event]] = []
        self._count = 0

    def at(self, time: int, action: Callable[[], object]) -> Event:
        """Call `action` at a time; a time in the past means now."""
        event = Event(action)
        self._count += 1
        heapq.heappush(self._events, (max(time, self.now), self._count, event))
        return event

    def after(self, ms: int, action: Callable[[], object]) -> Event:
        return self.at(self.now + ms, action)

    def next_time(self) -> int | None:
        """Return the time of the next event, None if there is none."""
        while self._events and self._events[0][2].action is None:
            heapq.heappop(self._events)
        return self._events[0][0] if self._events else None

    def run_next(self) -> None:
        """Run the next event."""
        time, _, event = heapq.heappop(self._events)
        self.now = max(self.now, time)
        if event.action:
            event.action()

    def run_until(self, time: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """Run all events until a time, or until `is_over()` is true after an event."""
        while (due := self.next_time()) is not None and due <= time:
            self.run_next()
            if is_over():
                return
        self.now = max(self.now, time)
