"""The rounds of a client under CPython's asyncio. Not put on a board; there it is `loop`."""

import asyncio

_IN = 1
_OUT = 4


class Loop:
    """As `loop.Loop`. Needs an event loop with `add_reader`: any but Windows' default one."""

    def __init__(self, turn):
        self._turn = turn
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
        self.forget()
        if self._timer:
            self._timer.cancel()

    def wake(self):
        self.due(0)

    def due(self, ms):
        if self._timer:
            self._timer.cancel()
        if self._alive:
            # a tick of 1 ms may just have begun
            self._timer = self._loop.call_later((ms + 1) / 1000, self._run) if ms else self._soon()

    def _soon(self):
        return self._loop.call_soon(self._run)

    def watch(self, stream, events):
        if not self._alive:
            return
        if stream is not self._stream:
            self.forget()
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

    def forget(self):
        try:
            if self._events & _IN:
                self._loop.remove_reader(self._fd)
            if self._events & _OUT:
                self._loop.remove_writer(self._fd)
        except OSError:
            pass  # it is closed: nothing is left of it
        self._events = 0
        self._stream = None

    def _run(self):
        if self._alive:
            self._turn()
