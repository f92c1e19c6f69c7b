"""The maximum age of commands that the broker has queued while the device was away."""

import json
import sys

import actuators
from actuators import schema
from app.node import command_dedup, commands
from helper import raises

PERIOD = 0x3FFFFFFF  # of ticks


class Session:
    resumed = True
    _last_read = 0


class Message:
    retain = False

    def __init__(self, payload=b"TOGGLE", expiry=None, expires=None):
        self.payload = payload
        self._expiry = expiry
        self._expires = expires

    def __len__(self):
        return len(self.payload)

    def property(self, identifier, nth=0):
        if identifier == 0x02:
            return self._expiry
        if identifier == 0x26 and self._expires and not nth:
            return ("expires", self._expires)
        return None


class Subscription:
    pass


class Client:
    def __init__(self):
        self.handlers = {}
        self.subscriptions = {}
        self.said = []
        self.markers = []
        self.has_room = True

    def topic(self, name):
        return name

    def subscribe(self, topic, handler, qos, retain_handling):
        self.handlers[topic] = handler

    def unsubscribe(self, topic):
        del self.handlers[topic]
        return Subscription()

    def publish(self, topic, payload, qos=0, retain=False):
        if topic == "base/session":
            if not self.has_room:
                return 0
            self.markers.append(payload)
        return 1

    def respond(self, message, payload, qos, topic):
        self.said.append(json.loads(payload))


class Output:
    def value(self, level=None):
        if level is not None:
            self.level = level
        return self.level

    level = 0


class Device:
    """A device with the switch `lamp` and a clock in ms that does not wrap; its ticks do."""

    def __init__(self, max_age=10000, start=PERIOD - 20000):
        self.now = start
        self.modules = [commands, command_dedup]
        self._set_clock()
        config = {field: spec[1] for field, spec in schema.FIELDS["switch"].items()}
        config.update(name="lamp", interlock=[])
        self.client = Client()
        self.session = Session()
        lamp = actuators.load_module("switch").Switch(config, Output())
        self.commands = commands.Commands(self.client, "base", [lamp], command_dedup.CommandDedup(4), max_age)
        self.commands.on_state(False, self._ticks())
        self.session.resumed = False
        self.connect()
        self.session.resumed = True

    def _ticks(self):
        return self.now & PERIOD

    def _set_clock(self):
        for module in self.modules:
            module.ticks_ms = self._ticks
            module.ticks_diff = lambda a, b: (a - b + 0x20000000 & PERIOD) - 0x20000000
            if hasattr(module, "ticks_add"):
                module.ticks_add = lambda a, b: a + b & PERIOD

    def connect(self):
        self.session._last_read = self._ticks()
        self.commands.on_state(True, self._ticks(), self.session)
        queued = sys.modules.get("app.queued_commands")
        if queued:
            queued.ticks_diff = commands.ticks_diff
            if queued not in self.modules:
                self.modules.append(queued)

    def disconnect(self):
        self.commands.on_state(False, self._ticks(), self.session)

    def read(self):
        """Receive some bytes."""
        self.session._last_read = self._ticks()

    def wait(self, seconds):
        for _ in range(seconds * 2):
            self.now += 500
            self.commands.run(self._ticks())

    def wait_long(self, hours):
        for _ in range(hours):
            self.now += 3600000
            self.commands.run(self._ticks())

    def return_marker(self, n=-1):
        self.client.handlers["base/session"](Message(self.client.markers[n]))
        self.commands.run(self._ticks())

    def command(self, **properties):
        """Receive TOGGLE; returns the error, None if it was executed."""
        self.client.handlers["base/switch/lamp/set"](Message(**properties))
        return self.client.said[-1].get("error")


def absent(seconds, **settings):
    """Return a device that was away for some seconds and is connected again."""
    device = Device(**settings)
    device.wait(60)
    device.read()
    device.disconnect()
    device.wait(seconds)
    device.connect()
    return device


def test_a_command_is_executed_after_a_short_absence():
    device = absent(4)
    assert device.command() is None
    assert not device.client.markers  # the marker is used only if commands may be too old


def test_a_queued_command_is_refused_after_a_long_absence_until_the_marker_returns():
    device = absent(30)
    assert device.command() == (
        "not executed: the device was offline, so this command may be up to 30 s old; send it again, or with "
        "`expires` or a Message Expiry Interval"
    )
    device.wait(2)
    assert "32 s old" in device.command()
    device.return_marker()
    assert device.command() is None
    assert "base/session" not in device.client.handlers
    assert "app.queued_commands" not in sys.modules


def test_a_short_limit_and_no_limit():
    assert "may be up to 2 s old" in absent(2, max_age=1000).command()
    assert absent(1000, max_age=0).command() is None


def test_a_command_with_an_expiry_is_executed():
    device = absent(30)
    assert device.command(expiry=3600) is None
    commands.unix_time = lambda: 1800000000
    try:
        assert device.command(expires="1800000100") is None
        assert device.command(expires="1799999999") == "the command has expired"
        commands.unix_time = lambda: 0  # without a clock, `expires` cannot be checked
        assert "may be up to 30 s old" in device.command(expires="1800000100")
        device.return_marker()
        assert device.command(expires="1800000100") is None
    finally:
        from app.node.timestamps import unix_time

        commands.unix_time = unix_time


def test_a_new_session_has_no_queue():
    device = Device()
    device.disconnect()
    device.wait(1000)
    device.session.resumed = False
    device.connect()
    assert device.command() is None and not device.client.markers


def test_the_time_before_a_lost_connection_is_noticed_counts():
    """A command that was sent after the last received byte may be in the queue."""
    device = Device()
    device.wait(60)
    device.read()
    device.wait(40)
    device.disconnect()
    device.wait(2)
    device.connect()
    assert "may be up to 42 s old" in device.command()


def test_a_connection_that_is_lost_at_once_does_not_make_queued_commands_young():
    device = absent(30)
    for _ in range(3):
        device.disconnect()
        device.wait(1)
        device.connect()
    assert "may be up to 33 s old" in device.command()
    device.return_marker()
    for _ in range(5):  # the same for absences that are short enough each
        device.disconnect()
        device.wait(3)
        device.connect()
        device.wait(1)
    assert "may be up to 2" in device.command()


def test_the_marker_of_an_earlier_connection_is_ignored():
    device = absent(30)
    device.disconnect()
    device.wait(1)
    device.connect()
    assert len(device.client.markers) == 2 and device.client.markers[0] != device.client.markers[1]
    device.return_marker(0)
    assert "may be up to" in device.command()
    device.return_marker(1)
    assert device.command() is None


def test_the_marker_is_published_when_the_outbox_has_room():
    device = Device()
    device.wait(60)
    device.disconnect()
    device.wait(30)
    device.client.has_room = False
    device.connect()
    device.wait(2)
    assert not device.client.markers
    device.client.has_room = True
    device.wait(1)
    assert len(device.client.markers) == 1
    assert device.command()
    device.return_marker()
    assert device.command() is None


def test_without_the_marker_the_queue_ends_with_a_pause_or_after_a_minute():
    device = absent(30)
    device.wait(4)
    assert device.command()
    device.wait(4)
    assert device.command()
    device.wait(6)
    assert device.command() is None
    device = absent(30)
    for _ in range(61):
        device.wait(1)
        error = device.command()
    assert error is None


def test_an_absence_of_weeks_is_long():
    for days in (1, 6, 7, 12, 13, 20, 40):
        device = Device()
        device.disconnect()
        device.wait_long(days * 24)
        device.connect()
        assert "s old" not in device.command() and "more than a day" in device.command(), days


def test_a_connection_of_weeks_ends_the_queue():
    for days in (6, 7, 13, 20):
        device = absent(4)
        device.wait_long(days * 24)
        device.read()
        device.disconnect()
        device.wait(2)
        device.connect()
        assert device.command() is None, days


def test_the_age_after_deep_sleep_is_set_by_the_device():
    device = Device()
    fresh = commands.Commands(device.client, "base", device.commands.actuators, device.commands._dedup, 10000)
    fresh.on_state(False, device._ticks())
    fresh.max_absence = 300000
    device.commands = fresh
    device.now += 2000
    device.connect()
    assert "may be up to 302 s old" in device.command()


def test_check_age_is_for_all_kinds_of_commands():
    error = raises(ValueError, absent(30).commands.check_age, Message())
    assert "may be up to 30 s old" in str(error)
