"""Checks for `soak_program` that run in the VM: each message is reported once, and received in full.

Memory use does not depend on the number of messages.
"""

import random
import sys
from array import array

# Where messages are published: the main loop, a scheduled function (by the stream, or by a thread that takes
# the place of a Timer), a handler, a callback. "big" messages are refused by the broker, and the broker ends
# the connection for each "poison" message.
SOURCES = ("main", "hook", "timer", "handler", "on_ack", "on_state", "big", "poison")
MAIN, HOOK, TIMER, HANDLER, ON_ACK, ON_STATE, BIG, POISON = range(8)
FILLER = b"abcdefghijklmnopqrstuvwxyz" * 6
_EARLY = -1  # `on_ack` was called before `publish` returned


def log(*words):
    sys.stdout.write(" ".join([str(word) for word in words]) + "\n")  # one write: it can't be interrupted


def make_payload(stream, number):
    """Return the payload of a message; `stream` is source * 3 + QoS."""
    return b"%d/%d/" % (stream, number) + FILLER[number % 26 : number % 26 + number * 7 % 120]


class HookedStream:
    """A TCP stream that schedules a function in each call, and sometimes writes less than it is asked to."""

    def __init__(self, stream, hook):
        self.pollable = stream
        self._hook = hook

    def readinto(self, buf, n):
        self._hook()
        n = self.pollable.readinto(buf, n)
        self._hook()
        return n

    def write(self, buf, at, n):
        self._hook()
        chance = random.getrandbits(5)
        if not chance:
            return None
        n = self.pollable.write(buf, at, max(1, n >> 1) if chance < 4 else n)
        self._hook()
        return n

    def close(self):
        self._hook()
        self.pollable.close()


class Arrivals:
    """Checks the numbers of received messages in a moving window of one bit each."""

    _WINDOW = 2048

    def __init__(self, qos):
        self._qos = qos
        self._bits = bytearray(self._WINDOW // 8)
        self._start = 0  # first number in the window
        self.end = 0  # highest number so far, plus one
        self.new = self.repeated = 0

    def _report(self, i):
        """Report the missing numbers of byte `i` of the window, and clear it."""
        bits = self._bits[(i >> 3) % len(self._bits)]
        for bit in range(8):
            if self._qos and not bits >> bit & 1 and i + bit < self.end:
                log("missing", self._qos, i + bit)
        self._bits[(i >> 3) % len(self._bits)] = 0

    def add(self, number):
        while number >= self._start + self._WINDOW:
            self._report(self._start)
            self._start += 8
        bit = 1 << (number & 7)
        index = (number >> 3) % len(self._bits)
        if number < self._start:
            log("late", self._qos, number)
        elif self._bits[index] & bit:
            self.repeated += 1
            if self._qos != 1:
                log("repeated", self._qos, number)
        else:
            self._bits[index] |= bit
            self.new += 1
        self.end = max(self.end, number + 1)

    def finish(self):
        for i in range(self._start, self._start + self._WINDOW, 8):
            self._report(i)


class Messages:
    """Checks that `on_ack` is called exactly once for each message that `publish` has accepted.

    A scheduled function may poll, so `on_ack` may be called before `publish` returns. It may also publish
    just before `on_ack` is called, and get the packet identifier that `on_ack` is about to report.
    """

    def __init__(self, inflight):
        self.numbers = array("I", [0] * (len(SOURCES) * 3))  # next number of each stream
        self.outcomes = [0, 0, 0]  # acknowledged, refused or given up, canceled
        self.early = self.reused = self.pending = 0
        self.is_recording = False
        self._streams = bytearray(inflight)  # by packet identifier - 1
        self._waiting = array("l", [0] * inflight)  # number + 1, 0 for none, or `_EARLY`
        self._next_streams = bytearray(inflight)  # message that has reused the identifier
        self._next = array("l", [0] * inflight)
        self._reasons = bytearray(inflight)  # of an early `on_ack`
        self._canceled = bytearray(inflight)

    def accept(self, packet_id, stream, number):
        self.is_recording = True
        i = packet_id - 1
        self.pending += 1
        if self._waiting[i] == _EARLY:
            self.early += 1
            self._waiting[i] = 0
            self._finish(i, stream, number, self._reasons[i])
        elif not self._waiting[i]:
            self._streams[i] = stream
            self._waiting[i] = number + 1
        elif not self._next[i]:
            self.reused += 1
            self._next_streams[i] = stream
            self._next[i] = number + 1
        else:
            log("violation", "packet identifier", packet_id, "was returned twice")
        self.is_recording = False

    def acknowledge(self, packet_id, reason):
        self.is_recording = True
        i = packet_id - 1
        if self._waiting[i] == _EARLY:
            log("violation", "on_ack called twice for", packet_id)
        elif not self._waiting[i]:
            self._waiting[i] = _EARLY
            self._reasons[i] = reason
        else:
            number = self._waiting[i] - 1
            stream = self._streams[i]
            self._waiting[i] = self._next[i]
            self._streams[i] = self._next_streams[i]
            self._next[i] = 0
            self._finish(i, stream, number, reason)
        self.is_recording = False

    def _finish(self, i, stream, number, reason):
        self.pending -= 1
        if reason < 0x80:
            self.outcomes[0] += 1
            if self._canceled[i] == 2:
                log("violation", "a canceled message was acknowledged", stream, number)
        else:
            self.outcomes[2 if self._canceled[i] else 1] += 1
            log("ended", stream, number, reason, self._canceled[i])
        self._canceled[i] = 0

    def cancel(self, client, i):
        """Cancel the message with packet identifier i + 1, if there is one."""
        if self._waiting[i] <= 0 or self._next[i] or self._canceled[i]:
            return
        if self._streams[i] >= BIG * 3 and random.getrandbits(4):
            return  # rarely, so that the client finds out itself that the broker does not accept them
        self._canceled[i] = 1
        try:
            is_canceled = client.cancel(i + 1)
        except RuntimeError:
            self._canceled[i] = 0
            raise
        if not is_canceled:
            self._canceled[i] = 0
        elif self._canceled[i]:
            self._canceled[i] = 2
