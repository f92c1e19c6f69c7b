"""Measure what the journal allocates per message. Runs in the VMs; the output is that of `alloc`.

The journal writes to a file object that allocates nothing, or to a real file if `path` is not None.
"""

import gc

from alloc import AllocationCases, allocated, runs_with_heap_locked

from umqtt5.journal import Journal, record_log


class File:
    """A file that discards its data, with the interface of a MicroPython file."""

    def __init__(self):
        self.size = 0

    def write(self, buf, at, n):
        self.size += n
        return n

    def flush(self):
        pass

    def seek(self, offset, whence=0):
        return 0

    def close(self):
        pass


def open_file(path, mode):
    return File()


class Client:
    """The part of the client that the journal uses."""

    _should_connect = False

    def __init__(self, session):
        self.session = session
        self._poll_hooks = []

    def _ticks_ms(self):
        return 7

    def _flush_now(self):
        pass


class JournalCases(AllocationCases):
    """The cases of `alloc`, on a session with a journal."""

    every = 1

    def __init__(self, path="/allocated"):
        super().__init__()
        self.session.connection_lost()
        self.session.state = 0
        self.journal = Journal(Client(self.session), path, 1 << 20, self.every)
        self.session.open(0)
        self.write()
        self.receive(b"\x20\x06\x00\x00\x03\x22\x00\x01", 8)
        self.session.first_byte = 0x30
        self.session.publish(self.aliased, self.payload)
        self.write()

    def publish_qos_1_in_a_batch(self):
        self.session.first_byte = 0x32
        packet_id = self.session.publish(self.aliased, self.payload)
        assert packet_id
        self.session.is_busy = False  # set since the last handler, because no client polls
        self.journal.sync()
        self.write()
        self.acknowledge(0x40, packet_id)
        self.journal._poll(7)

    def receive_qos_2_and_release(self):
        super().receive_qos_2_and_release()
        assert not max(self.journal._received_ids)


def main(path=None):
    if path is None:
        record_log.open = open_file
    cases = JournalCases(path or "/allocated")
    for name in (
        "publish_qos_1_and_its_puback",
        "publish_qos_2_and_its_acknowledgements",
        "receive_qos_2_and_release",
        "idle",
    ):
        function = getattr(cases, name)
        print(name, allocated(function), runs_with_heap_locked(function))
    JournalCases.every = 1000
    cases = JournalCases((path or "/allocated") + "2")
    for name in ("publish_qos_1_in_a_batch",):
        function = getattr(cases, name)
        print(name, allocated(function), runs_with_heap_locked(function))
    before = gc.mem_alloc()
    cases.journal.record_log.rotate()
    gc.collect()
    assert gc.mem_alloc() - before < 4096
