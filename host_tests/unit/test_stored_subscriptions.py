"""Stored subscriptions: leftovers of an earlier program, power cuts, garbage, a failing flash, bounds."""

import sys

from answering_broker import BrokerSimulation
from packet_reader import read_string
from simulated_flash import PowerCut, SeededRandom

from helper import make_packet, publish_packet, raises, utf8_string
from umqtt5 import stored_subscriptions as module

FAST = sys.implementation.name == "cpython"
REAL_FUNCTIONS = module.open if hasattr(module, "open") else open, module.rename, module.remove


class Files:
    """A file system for one file, with or without a `rename` that replaces a file (FAT has none).

    The power fails after `steps_left` steps. A step is one byte written or one other operation.
    """

    def __init__(self, replaces=True):
        self.content = {}
        self.replaces = replaces
        self.steps_left = 1 << 30
        self.writes = 0  # number of files that were written
        self.is_failing = False
        self.failures = 0
        module.open, module.rename, module.remove = self.open, self.rename, self.remove

    @staticmethod
    def restore():
        module.open, module.rename, module.remove = REAL_FUNCTIONS

    def step(self, n=1):
        """Take `n` steps; returns how many were taken. Raises PowerCut if there is none, OSError."""
        if self.is_failing:
            self.failures += 1
            raise OSError(5, "flash")
        if not self.steps_left:
            raise PowerCut
        n = min(n, self.steps_left)
        self.steps_left -= n
        return n

    def open(self, path, mode):
        if mode == "wb":
            self.step()
            self.content[path] = b""
            self.writes += 1
        elif path not in self.content or self.is_failing:
            raise OSError(2, "none")
        return OpenFile(self, path)

    def rename(self, old, new):
        if old not in self.content or (new in self.content and not self.replaces):
            raise OSError(17, "exists")
        self.step()
        self.content[new] = self.content.pop(old)

    def remove(self, path):
        self.step()
        if path not in self.content:
            raise OSError(2, "none")
        del self.content[path]


class OpenFile:
    """An open file; written bytes are on flash at once."""

    def __init__(self, files, path):
        self.files = files
        self.path = path
        self.at = 0

    def write(self, buf, at, n):
        done = self.files.step(n)
        self.files.content[self.path] += bytes(buf[at : at + done])
        if done < n:
            raise PowerCut
        return n

    def flush(self):
        self.files.step()

    def seek(self, offset, whence=0):
        self.at = offset + (len(self.files.content[self.path]) if whence else 0)
        return self.at

    def readinto(self, buf, n):
        data = self.files.content[self.path][self.at : self.at + n]
        buf[: len(data)] = data
        return len(data)

    def close(self):
        pass


class Broker:
    """The session that the broker keeps, across the programs."""

    def __init__(self):
        self.has_session = False
        self.filters = {}
        self.queued = []  # packets that are sent after CONNACK


class Program(BrokerSimulation):
    """A program with some filters; `got` has the (filter, topic) of its messages, `unhandled` the others."""

    def __init__(self, broker, files, filters, delay=1000, path="/subs", **options):
        options.setdefault("clean_start", False)
        BrokerSimulation.__init__(self, **options)
        self.files = files
        self.broker = broker
        self.subscription_ids = broker.filters
        self.got = []
        self.unhandled = []
        self.stored = module.attach(self.client, path, delay)
        self.client.on_unhandled = lambda m: self.unhandled.append(m.topic)
        for f in filters:
            self.subscribe(f)

    def subscribe(self, f):
        return self.client.subscribe(f, lambda m: self.got.append((f, m.topic)), 1)

    def run(self, ms=3000):
        self.client.connect()
        return self.poll(ms)

    def poll(self, ms):
        for _ in range(ms // 100):
            self.client.poll(100)
        return self

    def on_connect(self, stream, first, body):
        if body[7] & 2:
            self.broker.has_session = False
        present, self.broker.has_session = self.broker.has_session, True
        if not present:
            self.broker.filters.clear()
            self.broker.queued = []
        packet = make_packet(0x20, bytes((present, 0)), b"\x00")
        for queued in self.broker.queued:
            packet += queued
        self.broker.queued = []
        return packet

    def on_subscribe(self, stream, first, body):
        name = read_string(body, 3 + body[2])[0]
        if not self.files.is_failing and not self.stored.skipped_count:
            assert name in self.files.content.get("/subs", b""), "not stored before SUBSCRIBE"
        return BrokerSimulation.on_subscribe(self, stream, first, body)

    def unsubscribed(self):
        return [read_string(body, 3)[0] for body in self.received_bodies(0xA0)]

    def in_file(self):
        """Return the filters in the file."""
        return sorted(module._parse(self.files.content["/subs"])[1])


def test_a_leftover_of_an_earlier_program_is_unsubscribed_and_leaves_the_file():
    files, broker = Files(), Broker()
    first = Program(broker, files, ("keep/1", "gone/+", "$share/g/gone")).run()
    assert first.in_file() == [b"$share/g/gone", b"gone/+", b"keep/1"] and first.stored.leftovers == []
    identifier = broker.filters[b"gone/+"]
    broker.queued = [publish_packet(b"gone/1", b"x", 1, 7, identifier)]
    second = Program(broker, files, ("new", "keep/1"))
    assert sorted(second.stored.leftovers) == [b"$share/g/gone", b"gone/+", b"keep/1"]
    second.run(500)
    assert sorted(second.stored.leftovers) == [b"$share/g/gone", b"gone/+"] and not second.unsubscribed()
    assert second.unhandled == ["gone/1"] and second.got == []
    assert b"\x40\x02\x00\x07" in second.stream.written  # it is acknowledged
    second.poll(1000)
    assert sorted(second.unsubscribed()) == [b"$share/g/gone", b"gone/+"]
    assert sorted(broker.filters) == [b"keep/1", b"new"] == second.in_file()
    third = Program(broker, files, ("new", "keep/1")).run()
    assert not third.unsubscribed() and not third.stored.leftovers


def test_nothing_is_written_if_nothing_has_changed():
    files, broker = Files(), Broker()
    Program(broker, files, ("a", "b")).run()
    assert files.writes == 1
    program = Program(broker, files, ("b", "a")).run(10000)
    program.stream.closed_by_broker = True
    program.poll(10000)
    assert program.client.connection_count == 2 and files.writes == 1
    broker.has_session = False
    program.stream.closed_by_broker = True
    program.poll(10000)
    assert program.client.connection_count == 3 and files.writes == 1
    program.subscribe("a")
    program.poll(1000)
    assert files.writes == 1
    Program(Broker(), Files(), ()).run()


def test_a_new_session_clears_the_file():
    files, broker = Files(), Broker()
    Program(broker, files, ("a", "b")).run()
    broker.has_session = False
    program = Program(broker, files, ("c",)).run()
    assert program.in_file() == [b"c"] and not program.unsubscribed() and not program.stored.leftovers
    program = Program(broker, files, ("d",), clean_start=True).run()
    assert program.in_file() == [b"d"] and not program.unsubscribed()
    program = Program(broker, files, (), clean_start=True).run()
    assert program.in_file() == []


def test_a_file_of_another_client_identifier_is_not_used():
    files = Files()
    Program(Broker(), files, ("a",), client_id="one").run()
    broker = Broker()
    broker.has_session = True
    program = Program(broker, files, ("b",), client_id="two").run()
    assert not program.unsubscribed() and program.in_file() == [b"b"]


def test_subscriptions_within_the_delay_are_not_leftovers():
    files, broker = Files(), Broker()
    Program(broker, files, ("a", "b")).run()
    program = Program(broker, files, ())
    program.run(500)
    program.subscribe("b")
    program.poll(2000)
    assert program.unsubscribed() == [b"a"] and program.in_file() == [b"b"]


def test_without_a_delay_leftovers_are_only_found():
    files, broker = Files(), Broker()
    Program(broker, files, ("a", "b")).run()
    program = Program(broker, files, ("b",), None).run(20000)
    assert program.stored.leftovers == [b"a"] and not program.unsubscribed()
    assert program.in_file() == [b"a", b"b"]
    program.client.unsubscribe("a")
    program.poll(1000)
    assert program.unsubscribed() == [b"a"] and program.in_file() == [b"b"] and program.stored.leftovers == []


def test_subscribe_and_unsubscribe_during_the_connection_are_stored():
    files, broker = Files(), Broker()
    program = Program(broker, files, ("a",)).run()
    program.subscribe("b")
    assert program.in_file() == [b"a", b"b"]
    program.client.unsubscribe("a")
    program.poll(300)
    assert program.in_file() == [b"b"] and files.writes == 3
    program.client.unsubscribe("b")
    program.subscribe("b")  # before UNSUBACK
    program.poll(300)
    assert program.in_file() == [b"b"] and sorted(broker.filters) == [b"b"]
    program.client.unsubscribe("unknown")
    program.poll(300)
    assert program.in_file() == [b"b"]


def test_several_filters_of_one_subscription_are_stored_one_by_one():
    files, broker = Files(), Broker()
    program = Program(broker, files, ()).run()
    program.client.subscribe(["x/1", "x/2"], print)
    assert program.in_file() == [b"x/1", b"x/2"]
    program = Program(broker, files, ("x/2",)).run()
    assert program.unsubscribed() == [b"x/1"] and program.in_file() == [b"x/2"]


def test_a_lost_connection_before_unsuback_repeats_unsubscribe():
    files, broker = Files(), Broker()
    Program(broker, files, ("a", "b")).run()
    program = Program(broker, files, ("b",))
    answer = program.replies.pop(0xA0)
    program.run()
    assert program.unsubscribed() == [b"a"] and program.in_file() == [b"a", b"b"]
    program.replies[0xA0] = answer
    program.stream.closed_by_broker = True
    program.poll(5000)
    assert program.unsubscribed() == [b"a", b"a"] and program.in_file() == [b"b"]


def test_a_power_cut_at_every_step_leaves_a_valid_file():
    for replaces in (True, False):
        cut = 0
        while True:
            files, broker = Files(replaces), Broker()
            Program(broker, files, ("a", "b")).run(300)
            files.steps_left = cut
            try:
                Program(broker, files, ("b", "c"), 100).run(500)
                done = True
            except PowerCut:
                done = False
            files.steps_left = 1 << 30
            # the next program removes everything that the broker has and the program does not use
            program = Program(broker, files, ("c",), 100).run(500)
            assert sorted(broker.filters) == [b"c"] == program.in_file(), (replaces, cut)
            if done:
                break
            cut += 1 if FAST else 5
        assert cut > 70


def test_repeated_power_cuts_keep_the_only_valid_file():
    """Without `rename` over a file, the new file may be the only valid one; it is not overwritten then."""
    rng = SeededRandom(4)
    for _ in range(300 if FAST else 20):
        files, broker = Files(False), Broker()
        Program(broker, files, ("a", "b")).run(300)
        for _ in range(6):
            files.steps_left = rng.below(90)
            try:
                Program(broker, files, ("b", "c")[rng.below(2) :], 100).run(500)
            except PowerCut:
                pass
        files.steps_left = 1 << 30
        Program(broker, files, ("c",), 100).run(500)
        assert sorted(broker.filters) == [b"c"]


def test_a_failed_rename_is_repeated_before_the_next_write():
    """Without this, the write would overwrite the only valid file."""
    files, broker = Files(False), Broker()
    program = Program(broker, files, ("a",)).run()

    def no_rename(old, new):
        raise OSError(5, "flash")

    module.rename = no_rename
    program.subscribe("b")
    assert list(files.content) == ["/subs.new"] and program.stored.error
    module.rename = files.rename
    files.steps_left = 10
    try:
        program.subscribe("c")
        raise AssertionError("no power cut")
    except PowerCut:
        files.steps_left = 1 << 30
    program = Program(broker, files, ())
    assert sorted(program.stored.leftovers) == [b"a", b"b"]


def valid_file(filters, client_id=b"c"):
    """Return a file with a valid checksum."""
    data = module._MAGIC + utf8_string(client_id)
    for f in filters:
        data += utf8_string(f)
    return data + module._checksum(data)


def test_garbage_and_forged_files_are_ignored():
    rng = SeededRandom(8)
    good = valid_file([b"a", b"b"])
    contents = [b"", b"x", bytes(4096), bytes(100000), b"\xff" * 60, good[:-1], good + b"x", module._MAGIC]
    contents += [bytes([rng.below(256) for _ in range(rng.below(200))]) for _ in range(30)]
    for i in range(len(good)):
        contents.append(good[:i] + bytes((good[i] ^ 1 << rng.below(8),)) + good[i + 1 :])
    forged = [[b"a/#/b"], [b"a+"], [b""], [b"a\x00"], [b"\xff"], [b"$share/x"], [b"f"] * 65]
    contents += [valid_file(filters) for filters in forged]
    data = module._MAGIC + b"\x00\x01c\x00\x09a"
    contents.append(data + module._checksum(data))  # a length beyond the end
    contents.append(module._MAGIC + module._checksum(module._MAGIC))
    for content in contents:
        for name in ("/subs", "/subs.new"):
            files, broker = Files(), Broker()
            broker.has_session = True
            files.content[name] = content
            program = Program(broker, files, ("new",), 100)
            assert program.stored.leftovers == [], content
            program.run(500)
            assert (
                program.client.is_connected and program.in_file() == [b"new"] and not program.unsubscribed()
            )
    files.content = {"/subs": b"garbage", "/subs.new": good}
    program = Program(broker, files, (), 100).run(500)
    assert program.unsubscribed() == [b"a", b"b"]


def test_the_number_and_the_size_of_filters_are_bounded():
    files, broker = Files(), Broker()
    program = Program(broker, files, ["f/%d" % i for i in range(70)], tx=4096).run()
    assert len(program.in_file()) == 64 and program.stored.skipped_count == 6
    assert len(broker.filters) == 70
    program.subscribe("f/70")
    assert program.stored.skipped_count == 7
    files, broker = Files(), Broker()
    program = Program(broker, files, ["f/%d" % i + "x" * 496 for i in range(10)]).run()
    assert 6 < len(program.in_file()) < 9 and len(files.content["/subs"]) <= 4096
    assert program.stored.skipped_count == 10 - len(program.in_file())
    again = Program(broker, files, ()).run()
    assert len(again.unsubscribed()) == len(program.in_file()) or again.in_file() == []


def test_a_leftover_that_is_too_long_for_tx_is_reported_and_kept():
    files, broker = Files(), Broker()
    Program(broker, files, ("long/" + "x" * 200, "short")).run()
    program = Program(broker, files, (), tx=128).run()
    assert program.unsubscribed() == [b"short"] and len(program.stored.leftovers) == 1
    assert program.client.is_connected and len(program.in_file()) == 1


def test_a_failing_flash_neither_prevents_the_start_nor_ends_the_link():
    files, broker = Files(), Broker()
    files.is_failing = True
    program = Program(broker, files, ("a", "b")).run(40000)
    assert program.client.connection_count == 1 and isinstance(program.stored.error, OSError)
    assert sorted(broker.filters) == [b"a", b"b"]
    program.subscribe("c")
    program.client.unsubscribe("a")
    program.poll(1000)
    assert files.failures < 8  # two at the connection and the changes, then one each 30 s
    files.is_failing = False
    program.poll(40000)
    assert program.client.connection_count == 1 and program.in_file() == [b"b", b"c"]
    program = Program(broker, files, ("c",))
    files.is_failing = True
    program.run(40000)
    assert program.unsubscribed() == [b"b"] and program.client.connection_count == 1
    files.is_failing = False
    program.poll(40000)
    assert program.in_file() == [b"c"]


def test_no_heap_for_a_file_is_not_fatal():
    files, broker = Files(), Broker()
    program = Program(broker, files, ("a",))

    def no_heap(path, mode):
        raise MemoryError

    module.open = no_heap
    files.is_failing = True
    program.run()
    assert isinstance(program.stored.error, MemoryError) and program.client.is_connected
    Program(broker, files, ())


def test_attach_requires_a_client_that_is_not_connected():
    files = Files()
    program = Program(Broker(), files, ()).run()
    raises(ValueError, module.attach, program.client)


def test_real_files_are_replaced():
    Files.restore()
    try:
        with open("subs", "wb") as file:
            file.write(b"garbage")
    except OSError:
        return  # the 32-bit VM has no files
    broker = Broker()
    for filters in (("a", "b"), ("b",), ("c", "b")):
        Program(broker, RealFiles(), filters, 100, "subs").run(500)
        assert sorted(broker.filters) == [f.encode() for f in sorted(filters)]
        assert sorted(module._parse(module._read_file("subs"))[1]) == sorted(broker.filters)


class RealFiles:
    """Files that the broker of `Program` does not check."""

    is_failing = True
