"""The log on flash: every cut, torn tails, damage."""

import sys

from simulated_flash import Dice, Flash, PowerCut

from helper import raises
from umqtt5.journal.record_log import OVERHEAD, Log

STEP = 1 if sys.implementation.name == "cpython" else 7


class Owner:
    """Keeps the newest value of each number, as a user of the log might."""

    def __init__(self, size=300, path="/log"):
        self.values = {}
        self.log = Log(path, size, b"test 1", self.dump)
        for kind, number, at, n in self.log.records():
            assert kind == 7
            buf = bytearray(n)
            assert self.log.read(at, buf, n) == n
            self.values[number] = bytes(buf)
        self.log.start()

    def dump(self):
        for number in sorted(self.values):
            self.append(number, self.values[number])

    def append(self, number, value):
        self.log.begin(7, number, len(value))
        self.log.put(value, 0, len(value))
        self.log.finish()

    def set(self, number, value):
        self.append(number, value)
        self.values[number] = value


def test_what_was_synced_is_there_again():
    flash = Flash()
    owner = Owner()
    owner.set(1, b"one")
    owner.set(65535, b"")
    owner.log.sync()
    owner.set(2, b"never synced")
    flash.files = dict([(path, (whole, b"")) for path, (whole, tail) in flash.files.items()])
    assert Owner().values == {1: b"one", 65535: b""}


def test_the_bytes_of_a_record():
    flash = Flash()
    owner = Owner()
    before = owner.log.end
    owner.set(0x102, b"ab")
    owner.log.sync()
    (content,) = [whole for whole, _ in flash.files.values()]
    record = content[before:]
    assert len(record) == OVERHEAD + 2
    # Adler-32, which begins with the generation, 1, and the offset of the record
    a, c = 1, before
    for byte in record[:-4]:
        a = (a + byte) % 65521
        c = (c + a) % 65521
    assert record == b"\x07\x01\x02\x00\x00\x02ab" + bytes((a >> 8, a & 255, c >> 8, c & 255))


def test_a_body_of_any_size():
    Flash()
    owner = Owner(size=200000)
    owner.set(1, bytes(range(256)) * 300)
    owner.log.sync()
    assert Owner(size=200000).values[1] == bytes(range(256)) * 300


def test_the_files_take_turns_and_stay_bounded():
    flash = Flash()
    owner = Owner()
    for i in range(200):
        owner.set(i % 3, b"value %d" % i)
        assert len(flash.files) == 1 and max([len(flash.content(path)) for path in flash.files]) <= 300
    assert owner.log.turns > 10
    owner.log.sync()
    assert Owner().values == owner.values


def test_a_torn_tail_is_dropped_and_said():
    for n in range(1, 16):
        flash = Flash()
        owner = Owner()
        owner.set(1, b"first")
        owner.set(2, b"other")
        owner.log.sync()
        (path,) = flash.files
        content = flash.content(path)
        flash.files[path] = content[:-n], b""
        again = Owner()
        assert (again.values == {1: b"first"}) == (n < 16), n
        assert (again.log.torn, again.log.damaged) == (15 - n, 0)
        again.set(2, b"next")  # is not behind what was torn
        again.log.sync()
        assert Owner().values == {1: b"first", 2: b"next"}


def test_damage_in_the_midst_costs_what_it_hits():
    flash = Flash()
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
        assert (again.log.torn, again.log.damaged) == (0, 15)


def test_anything_at_all_in_the_files():
    dice = Dice(3)
    for i in range(60):
        flash = Flash()
        for path in ("/log.0", "/log.1"):
            kind = dice.below(4)
            size = dice.below(200)
            if kind:
                flash.files[path] = (
                    (
                        b""
                        if kind == 1
                        else bytes((dice.below(256),)) * size
                        if kind == 2
                        else bytes([dice.below(256) for _ in range(size)])
                    ),
                    b"",
                )
        sizes = [len(flash.content(path)) for path in flash.files]
        owner = Owner()
        assert owner.values == {}
        assert owner.log.torn + owner.log.damaged == sum(sizes), i
        owner.set(1, b"good")
        owner.log.sync()
        assert Owner().values == {1: b"good"}


def test_a_log_of_another_kind_is_not_read():
    Flash()
    owner = Owner()
    owner.set(1, b"x")
    owner.log.sync()
    log = Log("/log", 300, b"other1", print)
    assert list(log.records()) == [] and log.damaged


def work(owner, synced):
    """Values of several numbers over several turns, some synced."""
    for i in range(40):
        owner.set(i % 4, b"%d " % i + b"x" * (i % 9))
        if i % 3 == 0:
            owner.log.sync()
            synced.append(i)


def test_a_cut_after_every_byte_and_every_step():
    steps = Flash()
    work(Owner(), [])
    steps = (1 << 30) - steps.left
    assert steps > 800
    for cut in range(0, steps, STEP):
        flash = Flash(Dice(cut))
        flash.left = cut
        synced = [-1]
        try:
            work(Owner(), synced)
        except PowerCut:
            pass
        flash.power_up()
        found = [int(value.split(b" ")[0]) for value in Owner().values.values()]
        newest = max(found) if found else -1
        assert newest >= synced[-1], (cut, newest, synced[-1])
        # and before it all that there was at that time
        assert sorted(found) == [i for i in range(max(0, newest - 3), newest + 1)], (cut, found)


def test_flash_that_fails_begins_anew_with_what_is_in_ram():
    for n in range(1, 12):
        flash = Flash()
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


def test_a_file_that_cant_be_read_is_damage_and_no_end():
    flash = Flash()
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

    from umqtt5.journal import record_log as module

    module.open = broken
    owner = Owner()
    assert owner.values == {} and owner.log.damaged
    assert raises(OSError, raise_error)
