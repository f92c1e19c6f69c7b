"""Command de-duplication: repeated, late, reordered and expired commands are executed once or refused."""

import json
import os
import time
from time import ticks_add, ticks_diff, ticks_ms

import actuators
from actuators import schema
from app.node import command_dedup, commands
from app.node.commands import Commands, command_key
from app.node.timestamps import unix_time

PATH = "dedup"


class Message:
    """A received command, as the client passes it to a handler."""

    retain = False

    def __init__(self, payload, correlation=None, response="me/answer", **user):
        self.payload = payload
        self._properties = {0x09: correlation, 0x08: response if correlation else None}
        self._user = list(user.items())

    def __len__(self):
        return len(self.payload)

    def property(self, identifier, nth=0):
        if identifier == 0x26:
            return self._user[nth] if nth < len(self._user) else None
        return self._properties.get(identifier)


class Client:
    """The part of the client that `Commands` uses; responses are stored in `said`."""

    def __init__(self):
        self.handlers = {}
        self.said = []

    def topic(self, name):
        return name

    def subscribe(self, topic, handler, qos, retain_handling):
        self.handlers[topic] = handler

    def publish(self, topic, payload, qos=0, retain=False):
        return 1

    def respond(self, message, payload, qos, topic):
        self.said.append(json.loads(payload))


class Output:
    def __init__(self):
        self.written = []

    def value(self, level=None):
        if level is not None:
            self.written.append(level)
        return self.written[-1] if self.written else 0


class Device:
    """A device with the switch `lamp`; to restart it, pass the `path` and `output` of an earlier device."""

    def __init__(self, keep=4, path=None, output=None):
        self.output = output or Output()
        config = {field: spec[1] for field, spec in schema.FIELDS["switch"].items()}
        config.update(name="lamp", interlock=[])
        self.client = Client()
        switch = actuators.load_module("switch").Switch(config, self.output)
        self.commands = Commands(self.client, "base", [switch], command_dedup.CommandDedup(keep, path))

    def receive(self, message):
        self.client.handlers["base/switch/lamp/set"](message)
        return self.client.said[-1]


def test_a_repeated_command_is_executed_once_and_answered_twice():
    device = Device()
    first = device.receive(Message(b"TOGGLE", b"1"))
    again = device.receive(Message(b"TOGGLE", b"1"))
    assert first == again == {"ok": True, "name": "lamp", "state": "ON"}
    assert device.output.written == [1]


def test_the_response_topic_is_part_of_the_key():
    device = Device()
    device.receive(Message(b"TOGGLE", b"1"))
    device.receive(Message(b"TOGGLE", b"1", "somebody/else"))
    assert device.output.written == [1, 0]


def test_the_payload_is_part_of_the_key():
    for correlation, user in ((b"1", {}), (None, {"id": "1"})):
        device = Device()
        states = [
            device.receive(Message(word, correlation, **user))["state"] for word in (b"ON", b"OFF", b"ON")
        ]
        assert states == ["ON", "OFF", "ON"]  # the third one is a duplicate of the first
        assert device.output.written == [1, 0]


def test_parts_of_the_key_cannot_be_exchanged():
    """Response Topic, Correlation Data and payload: the same bytes, split in another way."""
    keys = set()
    for response, correlation, payload in (
        ("a", b"b", b"ON"),
        ("a", b"bO", b"N"),
        ("a", b"b\0", b"ON"),
        ("a", b"b", b"\0ON"),
        ("", b"a\0b", b"ON"),
    ):
        keys.add(command_key(Message(payload, correlation, response), "lamp", payload))
    assert len(keys) == 5


def test_a_command_is_forgotten_after_10_minutes():
    now = 2**30 - 300000  # the ticks wrap during the test
    for module in (command_dedup, commands):
        module.ticks_ms = lambda: now & 0x3FFFFFFF
        module.ticks_diff = wrapped_difference
    try:
        device = Device()
        device.receive(Message(b"TOGGLE", b"1"))
        now += 599000
        device.receive(Message(b"TOGGLE", b"1"))
        assert device.output.written == [1]
        now += 2000
        device.receive(Message(b"TOGGLE", b"1"))
        assert device.output.written == [1, 0]
        for _ in range(14 * 24):  # the memory is emptied although nothing arrives
            now += 3600000
            device.commands._dedup.expire(now & 0x3FFFFFFF)
        assert not device.commands._dedup._commands
    finally:
        for module in (command_dedup, commands):
            module.ticks_ms, module.ticks_diff = ticks_ms, ticks_diff


def wrapped_difference(a, b):
    return (a - b + 0x20000000 & 0x3FFFFFFF) - 0x20000000


def test_a_correction_of_the_clock_does_not_change_the_age_of_a_command():
    """The clock may be hours wrong until a time server answers."""
    clocks = {}
    for path in (None, PATH):
        clocks["now"] = 1800000000
        command_dedup.unix_time = lambda: clocks["now"]
        try:
            output = Output()
            device = Device(path=path, output=output)
            device.receive(Message(b"TOGGLE", b"1"))
            count = len(output.written)
            clocks["now"] += 7200
            device.receive(Message(b"TOGGLE", b"1"))
            assert len(output.written) == count
        finally:
            command_dedup.unix_time = unix_time
            if path:
                os.remove(path)


def test_the_age_of_a_command_is_known_after_a_restart():
    """If the clock is not set before or after the restart, the age counts from the restart."""
    clocks = {"before": 0, "after": 0}
    cases = (
        (1800000000, 1800000599, False),
        (1800000000, 1800000600, True),
        (0, 1800009999, False),
        (1800000000, 0, False),
        (1800000000, 1700000000, False),  # the clock was set back
    )
    for before, after, is_forgotten in cases:
        clocks["now"] = before
        command_dedup.unix_time = lambda: clocks["now"]
        try:
            output = Output()
            Device(path=PATH, output=output).receive(Message(b"TOGGLE", b"1"))
            clocks["now"] = after
            device = Device(path=PATH, output=output)
            count = len(output.written)
            device.receive(Message(b"TOGGLE", b"1"))
            assert (len(output.written) > count) == is_forgotten, (before, after)
            device.commands._dedup.expire(ticks_add(ticks_ms(), 600000))
            assert not device.commands._dedup._commands or is_forgotten
        finally:
            command_dedup.unix_time = unix_time
            os.remove(PATH)


def test_a_refusal_by_age_or_as_retained_is_not_remembered():
    """The same command, sent again as the response says, is executed."""
    device = Device()
    for message in (Message(b"TOGGLE", b"1"), Message(b"TOGGLE", b"1", expires="1")):
        message.retain = "expires" not in dict(message._user)
        assert not device.receive(message)["ok"]
    assert device.receive(Message(b"TOGGLE", b"1"))["ok"]
    retained = Message(b"TOGGLE", b"1")
    retained.retain = True
    assert not device.receive(retained)["ok"]  # also if it is a duplicate of an executed command
    assert device.output.written == [1]


def test_a_duplicate_that_has_expired_meanwhile_gets_the_first_response():
    device = Device()
    expires = str(int(time.time()) + 1000)
    first = device.receive(Message(b"TOGGLE", b"1", expires=expires))
    commands.unix_time = lambda: int(expires) + 1
    try:
        assert device.receive(Message(b"TOGGLE", b"1", expires=expires)) == first
        assert not device.receive(Message(b"TOGGLE", b"2", expires=expires))["ok"]
    finally:
        commands.unix_time = unix_time


def test_a_failing_output_is_answered():
    device = Device()

    def fail(payload, now):
        raise OSError(5)

    device.commands.actuators[0].command = fail
    answer = device.receive(Message(b"ON", b"1"))
    assert not answer["ok"] and answer["error"].startswith("OSError: ")


def test_a_user_property_id_identifies_a_command():
    device = Device()
    for _ in range(3):
        device.receive(Message(b"TOGGLE", None, colour="red", id="7f3a"))
    assert device.output.written == [1]
    device.receive(Message(b"TOGGLE", None, id="7f3b"))
    assert device.output.written == [1, 0]


def test_commands_without_an_id_are_all_executed():
    device = Device()
    device.receive(Message(b"TOGGLE"))
    device.receive(Message(b"TOGGLE"))
    assert device.output.written == [1, 0]


def test_a_command_that_is_too_long_is_refused_without_copying_it():
    class Long(Message):
        @property
        def payload(self):
            raise MemoryError

        @payload.setter
        def payload(self, data):
            pass

        def __len__(self):
            return 100000

    device = Device()
    answer = device.receive(Long(b""))
    assert answer["error"] == "100000 bytes, expected at most 256" and not device.output.written


def test_reordered_and_late_repeats_are_not_executed():
    device = Device()
    for key in (b"1", b"2", b"3", b"2", b"1", b"3"):
        device.receive(Message(b"TOGGLE", key))
    assert device.output.written == [1, 0, 1]


def test_the_last_keep_commands_are_known():
    device = Device(keep=3)
    for i in range(4):
        device.receive(Message(b"ON", b"%d" % i))
    count = len(device.output.written)
    device.receive(Message(b"ON", b"3"))
    assert len(device.output.written) == count
    device.receive(Message(b"ON", b"0"))  # the device no longer remembers it
    assert len(device.output.written) == count + 1


def test_a_repeated_invalid_command_gets_the_same_refusal():
    device = Device()
    first = device.receive(Message(b"EXPLODE", b"1"))
    assert not first["ok"]
    assert device.receive(Message(b"EXPLODE", b"1")) == first


def test_a_stored_refusal_that_is_too_long_stays_a_refusal():
    dedup = command_dedup.CommandDedup(4)
    for ok in ("true", "false"):
        dedup.set(ok, '{"ok": %s, "state": "%s"}' % (ok, "x" * 200))
        assert dedup.get(ok) == '{"ok": %s}' % ok


def test_an_expired_command_is_refused():
    device = Device()
    now = int(time.time())
    answer = device.receive(Message(b"ON", b"1", expires=str(now - 10)))
    assert answer["error"] == "the command has expired" and not device.output.written
    assert device.receive(Message(b"ON", b"2", expires=str(now + 1000)))["ok"]
    assert device.receive(Message(b"ON", b"3", expires="%d.75" % (now + 1000)))["ok"]
    count = len(device.output.written)
    wrong = (
        "soon",
        "",
        "-5",
        "+5",
        "1e9",
        "nan",
        " 5",
        "0x7",
        "1_0",
        "1.2.3",
        str((now + 99) * 1000),
    )
    for text in wrong:
        answer = device.receive(Message(b"ON", b"4", expires=text))
        assert answer["error"] == "expires: expected seconds since 1970", text
    assert len(device.output.written) == count


def test_expires_is_checked_but_not_applied_without_a_clock():
    commands.unix_time = lambda: 0
    try:
        device = Device()
        assert device.receive(Message(b"ON", b"1", expires="5"))["ok"]
        assert device.receive(Message(b"ON", b"2", expires="soon"))["error"].startswith("expires: expected")
    finally:
        commands.unix_time = unix_time


def test_commands_are_known_after_a_restart():
    device = Device(path=PATH)
    first = device.receive(Message(b"TOGGLE", b"1"))
    for i in range(2, 9):
        device.receive(Message(b"ON", b"%d" % i))
    device = Device(path=PATH, output=device.output)
    count = len(device.output.written)
    assert device.receive(Message(b"ON", b"8")) == {"ok": True, "name": "lamp", "state": "ON"}
    assert len(device.output.written) == count
    device.receive(Message(b"ON", b"9"))
    device = Device(path=PATH, output=device.output)
    device.receive(Message(b"ON", b"9"))
    assert len(device.output.written) == count + 1
    assert first["ok"]
    os.remove(PATH)


class Cut(Exception):
    """The power fails."""


class Stopping:
    """Replacement for `open` that raises `Cut` after `bytes_left` bytes were written."""

    def __init__(self, bytes_left):
        self.bytes_left = bytes_left

    def __call__(self, path, mode):
        self.file = open(path, mode)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def seek(self, at):
        return self.file.seek(at)

    def read(self, n):
        return self.file.read(n)

    def write(self, data):
        part = data[: self.bytes_left]
        self.file.write(part)
        self.bytes_left -= len(part)
        if len(part) < len(data):
            raise Cut
        return len(data)


def test_a_power_cut_at_any_byte_does_not_execute_a_command_twice():
    """TOGGLE is executed once or refused; after ON the switch is always on."""
    for word, level in ((b"TOGGLE", 1), (b"ON", 1)):
        for cut in range(0, 2 * 192 + 1, 5):
            output = Output()
            Device(path=PATH, output=output).receive(Message(b"OFF", b"0"))
            command_dedup.open = Stopping(cut)
            try:
                Device(path=PATH, output=output).receive(Message(word, b"1"))
            except Cut:
                pass
            command_dedup.open = open
            device = Device(path=PATH, output=output)
            answer = device.receive(Message(word, b"1"))  # the broker sends it again
            changes = output.written.count(1)
            if word == b"TOGGLE":
                assert changes <= 1
                assert changes == 1 or not answer["ok"], cut
            else:
                assert answer["ok"] and output.value() == level
            before = len(output.written)
            device.receive(Message(b"OFF", b"0"))  # the device still remembers earlier commands
            assert len(output.written) == before, cut
            os.remove(PATH)


def test_a_file_with_other_contents_is_replaced():
    for content in (b"", b"not slots", bytes(192 * 4), b"\xff" * 192 * 4):
        with open(PATH, "wb") as file:
            file.write(content)
        device = Device(path=PATH)
        assert device.receive(Message(b"ON", b"1"))["ok"]
        assert os.stat(PATH)[6] == 192 * 4
    os.remove(PATH)
