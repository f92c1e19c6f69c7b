"""Append-only record log on flash: record format, rotation, torn tails, damage, power cuts at every step."""

import sys

from simulated_flash import PowerCut, SeededRandom, SimulatedFlash

from helper import raises
from umqtt5.journal.record_log import RECORD_OVERHEAD, RecordLog

STEP = 1 if sys.implementation.name == "cpython" else 7


class Owner:
    """A user of the log: it stores the newest value of each number."""

    def __init__(self, size=300, path="/log"):
        self.values = {}
        self.log = RecordLog(path, size, b"test 1", self.dump)
        for kind, number, at, n in self.log.records():
            assert kind == 7
            buf = bytearray(n)
            assert self.log.read(at, buf, n) == n
            self.values[number] = bytes(buf)
        self.log.open_for_append()

    def dump(self):
        for number in sorted(self.values):
            self.append(number, self.values[number])

    def append(self, number, value):
        self.log.begin_record(7, number, len(value))
        self.log.write(value, 0, len(value))
        self.log.end_record()

    def set(self, number, value):
        self.append(number, value)
        self.values[number] = value


def test_synced_records_survive_a_restart():
    flash = SimulatedFlash()
    owner = Owner()
    owner.set(1, b"one")
    owner.set(65535, b"")
    owner.log.sync()
    owner.set(2, b"never synced")
    flash.files = dict([(path, (whole, b"")) for path, (whole, tail) in flash.files.items()])
    assert Owner().values == {1: b"one", 65535: b""}


def test_the_record_format_is_kind_number_length_body_and_checksum():
    flash = SimulatedFlash()
    owner = Owner()
    before = owner.log.end
    owner.set(0x102, b"ab")
    owner.log.sync()
    (content,) = [whole for whole, _ in flash.files.values()]
    record = content[before:]
    assert len(record) == RECORD_OVERHEAD + 2
    # Adler-32, initialized with the generation (1) and the offset of the record
    a, c = 1, before
    for byte in record[:-4]:
        a = (a + byte) % 65521
        c = (c + a) % 65521
    assert record == b"\x07\x01\x02\x00\x00\x02ab" + bytes((a >> 8, a & 255, c >> 8, c & 255))


def test_a_body_may_be_longer_than_64_kb():
    SimulatedFlash()
    owner = Owner(size=200000)
    owner.set(1, bytes(range(256)) * 300)
    owner.log.sync()
    assert Owner(size=200000).values[1] == bytes(range(256)) * 300


def test_the_log_rotates_and_stays_within_its_size():
    flash = SimulatedFlash()
    owner = Owner()
    for i in range(200):
        owner.set(i % 3, b"value %d" % i)
        assert len(flash.files) == 1 and max([len(flash.content(path)) for path in flash.files]) <= 300
    assert owner.log.rotations > 10
    owner.log.sync()
    assert Owner().values == owner.values


def test_a_torn_tail_is_dropped_and_counted():
    for n in range(1, 16):
        flash = SimulatedFlash()
        owner = Owner()
        owner.set(1, b"first")
        owner.set(2, b"other")
        owner.log.sync()
        (path,) = flash.files
        content = flash.content(path)
        flash.files[path] = content[:-n], b""
        again = Owner()
        assert (again.values == {1: b"first"}) == (n < 16), n
        assert (again.log.torn_bytes, again.log.damaged_bytes) == (15 - n, 0)
        again.set(2, b"next")  # overwrites the torn record
        again.log.sync()
        assert Owner().values == {1: b"first", 2: b"next"}


def test_damage_loses_only_the_record_that_it_hits():
    flash = SimulatedFlash()
    owner = Owner()
    owner.log.sync()
    (path,) = flash.files
    start = owner.log.end
    for i in (1, 2, 3):
        owner.set(i, b"value")
    owner.log.sync()
    content = flash.content(path)
    for at in range(start + 15, start + 30):
        flash.files = {path: (content[:at] + bytes((content[at] ^ 0x40,)) + content[at + 1 :], b"")}
        again = Owner()
        assert again.values == {1: b"value", 3: b"value"}, at
        assert (again.log.torn_bytes, again.log.damaged_bytes) == (0, 15)


def test_random_file_contents_are_counted_as_torn_or_damaged():
    rng = SeededRandom(3)
    for i in range(60):
        flash = SimulatedFlash()
        for path in ("/log.0", "/log.1"):
            kind = rng.below(4)
            size = rng.below(200)
            if kind:
                flash.files[path] = (
                    (
                        b""
                        if kind == 1
                        else bytes((rng.below(256),)) * size
                        if kind == 2
                        else bytes([rng.below(256) for _ in range(size)])
                    ),
                    b"",
                )
        sizes = [len(flash.content(path)) for path in flash.files]
        owner = Owner()
        assert owner.values == {}
        assert owner.log.torn_bytes + owner.log.damaged_bytes == sum(sizes), i
        owner.set(1, b"good")
        owner.log.sync()
        assert Owner().values == {1: b"good"}


def test_a_log_with_another_magic_is_not_read():
    SimulatedFlash()
    owner = Owner()
    owner.set(1, b"x")
    owner.log.sync()
    log = RecordLog("/log", 300, b"other1", print)
    assert list(log.records()) == [] and log.damaged_bytes


def work(owner, synced):
    """Store values of four numbers until the file has been rotated several times; sync every third value."""
    for i in range(40):
        owner.set(i % 4, b"%d " % i + b"x" * (i % 9))
        if i % 3 == 0:
            owner.log.sync()
            synced.append(i)


def test_a_power_cut_at_every_step_keeps_all_synced_records():
    steps = SimulatedFlash()
    work(Owner(), [])
    steps = (1 << 30) - steps.steps_left
    assert steps > 800
    for cut in range(0, steps, STEP):
        flash = SimulatedFlash(SeededRandom(cut))
        flash.steps_left = cut
        synced = [-1]
        try:
            work(Owner(), synced)
        except PowerCut:
            pass
        flash.power_up()
        found = [int(value.split(b" ")[0]) for value in Owner().values.values()]
        newest = max(found) if found else -1
        assert newest >= synced[-1], (cut, newest, synced[-1])
        # the values before the newest are complete
        assert sorted(found) == [i for i in range(max(0, newest - 3), newest + 1)], (cut, found)


def test_after_a_write_error_the_log_is_rewritten_from_ram():
    for n in range(1, 12):
        flash = SimulatedFlash()
        owner = Owner()
        owner.set(1, b"one")
        owner.log.sync()
        flash.errors = n
        failed = 0
        while flash.errors:
            try:
                owner.set(2, b"two")
                owner.log.sync()
            except OSError:
                failed += 1
        assert failed
        owner.set(3, b"three")
        owner.log.sync()
        values = Owner().values
        assert values[1] == b"one" and values[3] == b"three", n


def test_a_file_that_cannot_be_read_counts_as_damaged():
    flash = SimulatedFlash()
    owner = Owner()
    owner.set(1, b"one")
    owner.log.sync()
    opened = flash.open

    def broken(path, mode):
        file = opened(path, mode)
        if mode == "rb":
            file.readinto = lambda buf, n: raise_error()
        return file

    def raise_error():
        raise OSError(5, "flash")

    from umqtt5.journal import record_log

    record_log.open = broken
    owner = Owner()
    assert owner.values == {} and owner.log.damaged_bytes
    assert raises(OSError, raise_error)
