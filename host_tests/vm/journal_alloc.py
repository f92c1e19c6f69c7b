"""What a journal allocates per message. Runs inside the VMs; prints as `alloc` does.

The file takes all and allocates nothing; with a `path` it is one of this computer.
"""

import gc

from alloc import AllocationCases, allocated, runs_with_heap_locked

from umqtt5.journal import Journal, record_log


class File:
    """As MicroPython's file."""

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


def opened(path, mode):
    return File()


class Client:
    """What the journal asks of one."""

    def __init__(self, session):
        self.session = session
        self._poll_hooks = []

    def _ticks_ms(self):
        return 7

    def _flush_now(self):
        pass


class Journaled(AllocationCases):
    """The link of `alloc`, whose session has a journal."""

    every = 1

    def __init__(self, path="/allocated"):
        super().__init__()
        self.session.connection_lost()
        self.session.state = 0
        self.journal = Journal(Client(self.session), path, 1 << 20, self.every)
        self.session.open(0)
        self.write()
        self.give(b"\x20\x06\x00\x00\x03\x22\x00\x01", 8)
        self.session.first_byte = 0x30
        self.session.publish(self.aliased, self.payload)
        self.write()

    def publish_qos_1_in_a_batch(self):
        self.session.first_byte = 0x32
        packet_id = self.session.publish(self.aliased, self.payload)
        assert packet_id
        self.journal.sync()
        self.write()
        self.answer(0x40, packet_id)
        self.journal._poll(7)

    def receive_qos_2_and_release(self):
        super().receive_qos_2_and_release()
        assert not max(self.journal._received_ids)


def main(path=None):
    if path is None:
        record_log.open = opened
    link = Journaled(path or "/allocated")
    for name in (
        "publish_qos_1_and_its_puback",
        "publish_qos_2_and_its_answers",
        "receive_qos_2_and_release",
        "idle",
    ):
        function = getattr(link, name)
        print(name, allocated(function), runs_with_heap_locked(function))
    Journaled.every = 1000
    link = Journaled((path or "/allocated") + "2")
    for name in ("publish_qos_1_in_a_batch",):
        function = getattr(link, name)
        print(name, allocated(function), runs_with_heap_locked(function))
    before = gc.mem_alloc()
    link.journal.record_log.rotate()
    gc.collect()
    assert gc.mem_alloc() - before < 4096
