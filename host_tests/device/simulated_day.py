"""A day of the device in some minutes. Runs inside the VM, in place of `boot.py` and `main.py`.

Its clock is simulated, its broker and its network are not: time passes when the device waits, and
goes slowly while it waits for somebody else. At each hour it prints a line, and waits until there is
a file `go-0`, `go-1` and so on.
"""

import gc
import os
import select
import sys
import time

HOUR = 3600000  # ms
_AWAITED = 10  # ms of the simulated clock for one of ours, while an answer is due
_ALONE = 1000  # and while there is no link

node = None  # the device, when it has been made
_since = 0  # ms of the simulated clock
_hours = 0
_start = time.time()
_wait = select.poll()  # of nothing: sleeps without its own clock


def advance(ms):
    """So much time passes."""
    global _since, _hours
    _since += ms
    if _since >= _hours * HOUR and node:
        _hours += 1
        _report(_hours - 1)


def _report(hour):
    gc.collect()
    client = node._client
    free = gc.mem_free()
    gc.collect()
    low, high = 0, free
    while high - low > 16:  # the largest piece that there is
        middle = (low + high) // 2
        try:
            bytearray(middle)
            low = middle
        except MemoryError:
            high = middle
    gc.collect()
    kept = len(node._telemetry.backlog) if node._telemetry.backlog is not None else 0
    print(
        "hour %d free %d largest %d connects %d backlog %d" % (hour, free, low, client.connection_count, kept)
    )
    if hour == 24:
        sys.exit(0)
    while "go-%d" % hour not in os.listdir():
        time.sleep_ms(5)


class Time:
    """`time`, as far as the device uses it."""

    ticks_diff = staticmethod(time.ticks_diff)
    ticks_add = staticmethod(time.ticks_add)
    gmtime = staticmethod(time.gmtime)

    @staticmethod
    def ticks_ms():
        return _since & 0x3FFFFFFF

    @staticmethod
    def time():
        return _start + _since // 1000

    @staticmethod
    def sleep_ms(ms):
        time.sleep_ms(ms // _ALONE)
        advance(ms)

    @staticmethod
    def sleep(seconds):
        Time.sleep_ms(int(seconds * 1000))


class Poll:
    """`select.poll`, as far as the client uses it."""

    def __init__(self):
        self._poll = select.poll()
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    def ipoll(self, wait):
        client = node and node._client
        if wait <= 0 or not client:
            return self._poll.ipoll(0)
        session = client.session
        if client._link == 1 or session.state == 1 or session.pending_acks or session.ping_pending:
            before = time.ticks_ms()
            found = self._poll.ipoll(max(1, min(wait, 200) // _AWAITED))
            advance(max(1, time.ticks_diff(time.ticks_ms(), before) * _AWAITED))
            return found
        advance(wait)
        return self._poll.ipoll(0)


class Select:
    poll = Poll


def main():
    global node
    sys.modules["time"] = Time
    sys.modules["select"] = Select
    import boot  # noqa: F401

    from app import node as module

    step = module.Node.step

    def first(self):
        global node
        node = self
        module.Node.step = step
        step(self)

    module.Node.step = first
    import main  # noqa: F401
