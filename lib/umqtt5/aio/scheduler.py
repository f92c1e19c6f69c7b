"""The rounds of a client under MicroPython's asyncio; loaded by `aio`. CPython's are in `hosted_aio`.

Three tasks, generators that asyncio resumes: one waits for time, one to read, one to write. They
use the queues below asyncio's streams, which allocate nothing; a task that waits for nothing is
in no queue, and is pushed when there is something to wait for. Nobody cancels them.
"""

from asyncio import core  # type: ignore[attr-defined]

from micropython import const

_IN = const(1)
_OUT = const(4)
_LONGEST = const(0x0FFFFFFF)  # ms; ticks can't be further apart than twice that


class _Kept:
    """Keeps what asyncio knows of our streams while nobody waits for them.

    asyncio forgets a stream with each event and allocates when it is waited for again: a ping and
    its answer would take some 200 bytes.
    """

    def __init__(self, queue):
        self.queue = queue
        self.streams: list = []
        self._forget = queue._dequeue
        queue._dequeue = self._dequeue

    def _dequeue(self, stream):
        if stream in self.streams:
            for who in self.queue.map[id(stream)]:
                if who is not None and who is not stream:
                    break
            else:
                self.queue.poller.modify(stream, 0)
                return
        self._forget(stream)


_kept = None


def _keep():
    """The one of asyncio's present queue."""
    global _kept
    if not _kept or _kept.queue is not core._io_queue:
        _kept = _Kept(core._io_queue)
    return _kept


class Loop:
    """Calls `turn()` when the stream that it watches is ready, and when it is due."""

    def __init__(self, turn):
        self._turn = turn
        self._alive = True
        self._kept = _keep()
        self._stream = None
        self._events = 0
        self._parked = 0  # of the tasks that read and write, as bits of events
        self._ms = 0

    def start(self):
        self._timer = core.create_task(self._time())
        self._reader = core.create_task(self._io(_IN))
        self._writer = core.create_task(self._io(_OUT))

    def stop(self):
        """The tasks end by themselves, soon."""
        self.forget()
        self.wake()
        self._alive = False
        self._unpark(_IN | _OUT)

    def wake(self):
        """Have a turn soon."""
        self._at(core.ticks())

    def due(self, ms):
        """Have the next turn in so many ms, unless the stream is ready before."""
        self._ms = min(ms, _LONGEST)
        self._at(core.ticks_add(core.ticks(), self._ms))

    def _at(self, when):
        if self._alive and core.cur_task is not self._timer:
            core._task_queue.remove(self._timer)
            core._task_queue.push(self._timer, when)

    def watch(self, stream, events):
        """Have a turn when the stream is ready for these."""
        if not self._alive:
            return
        if stream is not self._stream:
            self.forget()
            self._stream = stream
            self._kept.streams.append(stream)
        self._events = events
        self._unpark(events)

    def forget(self):
        """The stream is going to be closed, or is closed."""
        stream = self._stream
        if stream is None:
            return
        self._stream = None
        self._events = 0
        self._kept.streams.remove(stream)
        queue = core._io_queue
        entry = queue.map.get(id(stream))
        if entry:
            queue._dequeue(stream)
            # one that is not in there has been woken already
            if self._reader in entry:
                core._task_queue.push(self._reader)
            if self._writer in entry:
                core._task_queue.push(self._writer)

    def _unpark(self, events):
        events &= self._parked
        self._parked &= ~events
        if events & _IN:
            core._task_queue.push(self._reader)
        if events & _OUT:
            core._task_queue.push(self._writer)

    def _time(self):
        while self._alive:
            self._turn()
            if self._alive:
                core._task_queue.push(self._timer, core.ticks_add(core.ticks(), self._ms))
                yield

    def _io(self, event):
        while self._alive:
            if not self._events & event:
                self._parked |= event
                yield
                continue
            if event == _IN:
                core._io_queue.queue_read(self._stream)
            else:
                core._io_queue.queue_write(self._stream)
            yield
            if self._events & event:
                self._turn()
