"""Scheduler of the asyncio client on MicroPython: runs the client if the stream is ready or a timeout is due.

The scheduler has three tasks, which are generators that asyncio resumes: one waits for a time, one waits to
read, and one waits to write. The tasks use asyncio's internal queues instead of its streams, because waiting
in these queues allocates nothing. A task that waits for nothing is in no queue; it is put into asyncio's task
queue when it must wait again. Tasks are never cancelled. `cpython.aio_scheduler` is the counterpart for
CPython.
"""

from asyncio import core  # type: ignore[attr-defined]

from micropython import const

_IN = const(1)
_OUT = const(4)
_MAX_DELAY = const(0x0FFFFFFF)  # ms; `ticks_diff` is correct up to twice this value


class _StreamKeeper:
    """Keeps the entries of our streams in asyncio's I/O queue while no task waits for them.

    asyncio removes a stream from its queue with each event, and allocates when a task waits for it again:
    about 200 bytes for a PINGREQ and its PINGRESP.
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


_keeper = None


def _get_keeper():
    """Return the keeper of asyncio's current I/O queue."""
    global _keeper
    if not _keeper or _keeper.queue is not core._io_queue:
        _keeper = _StreamKeeper(core._io_queue)
    return _keeper


def current_loop():
    """Return an object that identifies the event loop; `asyncio.new_event_loop` replaces it."""
    return core._task_queue


class Scheduler:
    """Calls `on_ready()` when the watched stream is ready, and at the scheduled time.

    It uses the queues of the event loop in which it was created, even if there is a new loop: removing a task
    from the queue of another loop would corrupt both queues.
    """

    def __init__(self, on_ready):
        self._on_ready = on_ready
        self._alive = True
        self._keeper = _get_keeper()
        self._tasks = core._task_queue
        self._stream = None
        self._events = 0
        self._parked = 0  # event bits of those of the reader and writer tasks that are in no queue
        self._ms = 0

    def start(self):
        """Create the tasks; `on_ready()` is called soon."""
        self._timer = core.create_task(self._time())
        self._reader = core.create_task(self._io(_IN))
        self._writer = core.create_task(self._io(_OUT))

    def stop(self):
        """Stop watching; the tasks end when asyncio runs them next."""
        self.unwatch()
        self.wake()
        self._alive = False
        self._unpark(_IN | _OUT)

    def wake(self):
        """Call `on_ready()` soon."""
        self._at(core.ticks())

    def schedule(self, ms):
        """Call `on_ready()` in `ms` milliseconds, or earlier if the stream is ready."""
        self._ms = min(ms, _MAX_DELAY)
        self._at(core.ticks_add(core.ticks(), self._ms))

    def _at(self, when):
        if self._alive and core.cur_task is not self._timer:
            self._tasks.remove(self._timer)
            self._tasks.push(self._timer, when)

    def watch(self, stream, events):
        """Call `on_ready()` when the stream is ready for one of these events: 1 to read, 4 to write."""
        if not self._alive:
            return
        if stream is not self._stream:
            self.unwatch()
            self._stream = stream
            self._keeper.streams.append(stream)
        self._events = events
        self._unpark(events)

    def unwatch(self):
        """Stop watching the stream, because it is closed."""
        stream = self._stream
        if stream is None:
            return
        self._stream = None
        self._events = 0
        self._keeper.streams.remove(stream)
        queue = self._keeper.queue
        entry = queue.map.get(id(stream))
        if entry:
            queue._dequeue(stream)
            # a task that is not in the entry has been woken already
            if self._reader in entry:
                self._tasks.push(self._reader)
            if self._writer in entry:
                self._tasks.push(self._writer)

    def _unpark(self, events):
        events &= self._parked
        self._parked &= ~events
        if events & _IN:
            self._tasks.push(self._reader)
        if events & _OUT:
            self._tasks.push(self._writer)

    def _time(self):
        while self._alive:
            self._on_ready()
            if self._alive:
                self._tasks.push(self._timer, core.ticks_add(core.ticks(), self._ms))
                yield

    def _io(self, event):
        while self._alive:
            if not self._events & event:
                self._parked |= event
                yield
                continue
            if event == _IN:
                self._keeper.queue.queue_read(self._stream)
            else:
                self._keeper.queue.queue_write(self._stream)
            yield
            if self._events & event:
                self._on_ready()
