"""Tasmota-compatible commands and replies (`cmnd`, `stat`, `tele` topics)."""

from actuators import make, schema
from app.tasmota import Tasmota, make_will
from umqtt5.core.topics import Topic


class Pin:
    def __init__(self):
        self.level = 0

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = level

    def duty_u16(self, value):
        pass


class Pins:
    def output(self, name):
        return Pin()

    def pwm(self, name, frequency):
        return Pin()


class Commands:
    def __init__(self, actuators):
        self.actuators = actuators
        self.runs = 0

    def run(self, now):
        self.runs += 1

    def check_age(self, message):
        if message.is_old:
            raise ValueError("too old")


class Client:
    is_connected = True

    def __init__(self):
        self.sent = []

    def topic(self, name):
        return Topic(name)

    def subscribe(self, topic, handler, qos=0, retain_handling=0):
        self.filter, self.handler = topic, handler

    def publish(self, topic, payload, qos=0, retain=False):
        name = topic if isinstance(topic, str) else topic.name.decode()
        self.sent.append((name, payload if isinstance(payload, str) else payload.decode()))
        return 1


class Message:
    def __init__(self, topic, payload, retain):
        self.topic, self.payload, self.retain = topic, payload, retain
        self.is_old = False

    def __len__(self):
        return len(self.payload)


class Harness:
    """A device with a lamp and a valve that are interlocked, and a servo."""

    def __init__(self):
        configs = [
            {"kind": "switch", "name": "lamp", "pin": "a", "interlock": ["water"]},
            {"kind": "servo", "name": "flap", "pin": "b"},
            {"kind": "valve", "name": "water", "pin": "c"},
        ]
        for config in configs:
            for field, spec in schema.FIELDS[config["kind"]].items():
                if field not in config:
                    config[field] = list(spec[1]) if spec[0] is list else spec[1]
        self.lamp, self.flap, self.water = self.actuators = make(configs, Pins())
        self.client = Client()
        self.commands = Commands(self.actuators)
        self.tasmota = Tasmota(self.client, "dut", self.commands)

    def send(self, command, payload, retain=False):
        """Send a command; returns the messages published in reply."""
        self.client.sent = []
        self.client.handler(Message("cmnd/dut/" + command, payload, retain))
        return self.client.sent


def test_online_status_and_all_states_are_published():
    harness = Harness()
    harness.tasmota.run(0)
    expected = [("tele/dut/LWT", "Online"), ("stat/dut/POWER1", "OFF"), ("stat/dut/POWER2", "OFF")]
    assert harness.client.sent == expected
    harness.tasmota.run(0)
    assert len(harness.client.sent) == 3
    harness.tasmota.on_state()
    harness.tasmota.run(0)
    assert harness.client.sent[3:] == [("tele/dut/LWT", "Online")]
    assert make_will("dut") == ("tele/dut/LWT", b"Offline")


def test_power_commands_switch_and_get_a_reply():
    harness = Harness()
    harness.tasmota.run(0)
    for payload, on in ((b"ON", "ON"), (b"off", "OFF"), (b"2", "ON"), (b"Toggle", "OFF"), (b"1", "ON")):
        sent = harness.send("POWER1", payload)
        assert sent == [("stat/dut/RESULT", '{"POWER1":"%s"}' % on), ("stat/dut/POWER1", on)]
        assert harness.lamp.state() == on
    assert harness.commands.runs == 5  # `Commands.run` publishes the state topic of the device
    harness.send("power", b"0")
    assert harness.lamp.state() == "OFF"
    harness.send("POWER2", b"ON")  # only switches and valves are numbered
    assert harness.water.on and harness.flap.angle is None


def test_an_empty_payload_queries_the_state():
    harness = Harness()
    harness.lamp.command(b"ON", 0)
    assert harness.send("POWER", b"")[0] == ("stat/dut/RESULT", '{"POWER1":"ON"}')
    assert harness.lamp.state_version == 1


def test_a_retained_command_is_ignored():
    harness = Harness()
    assert harness.send("POWER1", b"ON", retain=True) == []
    assert not harness.lamp.on


def test_a_refused_command_is_answered_with_the_current_state():
    harness = Harness()
    harness.water.command(b"ON", 0)
    assert harness.send("POWER1", b"ON")[0] == ("stat/dut/RESULT", '{"POWER1":"OFF"}')


def test_unknown_commands_and_payloads_get_an_error_reply():
    harness = Harness()
    for command in ("POWER0", "POWER3", "POWER-1", "POWER1x", "POWER100", "POWER\u00b2", "Color", "", "POWE"):
        assert harness.send(command, b"ON") == [("stat/dut/RESULT", '{"Command":"Unknown"}')]
    for payload in (b"3", b"128", b"blink", b"\xff\xfe", b"ON" * 50000, b'{"a":1}'):
        assert harness.send("POWER1", payload) == [("stat/dut/RESULT", '{"Command":"Error"}')]
    assert not harness.lamp.on and not harness.water.on


def test_a_command_that_is_too_old_gets_an_error_reply():
    harness = Harness()
    message = Message("cmnd/dut/POWER1", b"TOGGLE", False)
    message.is_old = True
    harness.client.handler(message)
    assert harness.client.sent == [("stat/dut/RESULT", '{"Command":"Error"}')]
    assert not harness.lamp.on
