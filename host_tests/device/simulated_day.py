"""Runs the device for 24 simulated hours in a few minutes, in the VM. Use it in place of boot.py and main.py.

The clock is simulated; the broker and the network are real. Simulated time passes while the device waits,
and passes more slowly while the client waits for the broker. At the start of each simulated hour the
program prints a line and waits until a file exists: `go-0`, `go-1` and so on.
"""

import gc
import os
import select
import sys
import time

HOUR = 3600000  # ms
_WAIT_SPEED = 10  # simulated ms per real ms while the client waits for the broker
_SLEEP_SPEED = 1000  # simulated ms per real ms in `sleep_ms`, which the client calls if it has no link

node = None  # the app.node.Node object, set by its first step
_since = 0  # simulated ms since the start
_hours = 0  # number of hours reported
_start = time.time()


def advance(ms):
    """Advance the simulated clock. Report each new hour."""
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
    while high - low > 16:  # find the largest free block
        middle = (low + high) // 2
        try:
            bytearray(middle)
            low = middle
        except MemoryError:
            high = middle
    gc.collect()
    backlog = len(node._telemetry.backlog) if node._telemetry.backlog is not None else 0
    print(
        "hour %d free %d largest %d connects %d backlog %d"
        % (hour, free, low, client.connection_count, backlog)
    )
    while hour == 24:  # the test stops the VM: the device would restart after the end of its program
        time.sleep(1)
    while "go-%d" % hour not in os.listdir():
        time.sleep_ms(5)


class Time:
    """Replaces the module `time`: the functions that the device uses, on the simulated clock."""

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
        time.sleep_ms(ms // _SLEEP_SPEED)
        advance(ms)

    @staticmethod
    def sleep(seconds):
        Time.sleep_ms(int(seconds * 1000))


class Poll:
    """Replaces `select.poll`: the methods that the client uses, on the simulated clock."""

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
        pending = session.pending_acks + session.pending_subacks
        if client._link == 1 or session.state == 1 or pending or session.ping_pending:
            before = time.ticks_ms()
            events = self._poll.ipoll(max(1, min(wait, 200) // _WAIT_SPEED))
            advance(max(1, time.ticks_diff(time.ticks_ms(), before) * _WAIT_SPEED))
            return events
        advance(wait)
        return self._poll.ipoll(0)


class Select:
    """Replaces the module `select`."""

    poll = Poll


def main():
    """Replace the clock and start the device."""
    global node
    sys.modules["time"] = Time
    sys.modules["select"] = Select
    import boot  # noqa: F401

    from app import node as module

    step = module.Node.step

    def first_step(self):
        global node
        node = self
        module.Node.step = step
        step(self)

    module.Node.step = first_step
    import main  # noqa: F401
