"""Scheduler of the asyncio client on CPython, the counterpart of `aio.scheduler`. Not used on a board."""

import asyncio

_IN = 1
_OUT = 4


def current_loop():
    """Return the running event loop."""
    return asyncio.get_running_loop()


class Scheduler:
    """Calls `on_ready()` when the watched stream is ready, and at the time given to `schedule`.

    It has the methods of `aio.scheduler.Scheduler`. It needs an event loop with `add_reader`, which the
    default loop of Windows does not have.
    """

    def __init__(self, on_ready):
        self._on_ready = on_ready
        self._alive = True
        self._stream = None
        self._fd = -1
        self._events = 0
        self._timer = None
        self._loop = asyncio.get_running_loop()

    def start(self):
        self.wake()

    def stop(self):
        self._alive = False
        self.unwatch()
        if self._timer:
            self._timer.cancel()

    def wake(self):
        self.schedule(0)

    def schedule(self, ms):
        if self._timer:
            self._timer.cancel()
        if self._alive and not self._loop.is_closed():
            # one ms more: the current ms is partly over, and a call before the deadline would be useless
            self._timer = self._loop.call_later((ms + 1) / 1000, self._run) if ms else self._soon()

    def _soon(self):
        return self._loop.call_soon(self._run)

    def watch(self, stream, events):
        if not self._alive:
            return
        if stream is not self._stream:
            self.unwatch()
            self._stream = stream
            self._fd = stream.fileno()
        changed = events ^ self._events
        self._events = events
        if changed & _IN:
            if events & _IN:
                self._loop.add_reader(self._fd, self._run)
            else:
                self._loop.remove_reader(self._fd)
        if changed & _OUT:
            if events & _OUT:
                self._loop.add_writer(self._fd, self._run)
            else:
                self._loop.remove_writer(self._fd)

    def unwatch(self):
        try:
            if self._events & _IN and not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            if self._events & _OUT and not self._loop.is_closed():
                self._loop.remove_writer(self._fd)
        except OSError:
            pass  # the stream is closed, so the loop does not watch it any more
        self._events = 0
        self._stream = None

    def _run(self):
        if self._alive:
            self._on_ready()
