"""Home Assistant discovery: the discovery message, its files, when it is published and withdrawn."""

import json
import os

from actuators import load_module, schema
from app import discovery, discovery_files, discovery_message, discovery_publisher
from app.discovery import Discovery
from umqtt5 import MQTTError

TOPIC = "homeassistant/device/dut/config"
FILES = ("discovery.sent", "discovery.new", "discovery.tmp")


class Telemetry:
    """The part of `Telemetry` that discovery reads: a table of quantities."""

    def __init__(self, *rows):
        self.rows = rows

    def list_quantities(self):
        return iter(self.rows)


def sensor(name, key=None, unit="V", device_class="voltage", state_class="measurement", expiry=None):
    topic = "p/dut/sensor/" + name + ("/" + key if key else "")
    return (name, key or name, topic, unit, device_class, state_class, 2, expiry)


class Pin:
    level = 0

    def value(self, level=None):
        return self.level

    def duty_u16(self, value):
        pass


class Pins:
    def output(self, name):
        return Pin()

    def pwm(self, name, frequency):
        return Pin()


def actuator(kind, name, **config):
    for field, spec in schema.FIELDS[kind].items():
        config.setdefault(field, list(spec[1]) if spec[0] is list else spec[1])
    config["name"] = name
    return load_module(kind).make(config, Pins())


def lamp(name="lamp"):
    return actuator("switch", name)


def clean():
    for path in FILES:
        try:
            os.remove(path)
        except OSError:
            pass


def prepare(*rows, actuators=(), topic=TOPIC, base="p/dut"):
    discovery_message.prepare(topic, "dut", base + "/status", base, Telemetry(*rows), actuators)


def read(path):
    """Return the topic and the JSON of a file."""
    with open(path) as file:
        topic, _, text = file.read().partition("\n")
    return topic, json.loads(text)


def build(*rows, **options):
    """Return the discovery JSON of a device that was never announced."""
    clean()
    prepare(*rows, **options)
    topic, found = read("discovery.new")
    assert topic == options.get("topic", TOPIC)
    clean()
    return found


def exists(path):
    return path in os.listdir()


def test_the_message_describes_the_device():
    found = build(sensor("a"))
    assert found["dev"]["ids"] == ["umqtt5-dut"] and found["dev"]["name"] == "dut"
    assert found["dev"]["mf"] == "umqtt5" and found["o"] == {"name": "umqtt5"}
    assert found["avty_t"] == "p/dut/status" and found["qos"] == 1


def test_a_sensor_has_device_class_unit_and_precision():
    found = build(sensor("outside", "temperature", "\u00b0C", "temperature"), sensor("rain", None, "", ""))
    one = found["cmps"]["sensor/outside/temperature"]
    assert one["p"] == "sensor" and one["name"] == "Outside temperature"
    assert one["uniq_id"] == "umqtt5-dut/sensor/outside/temperature"
    assert one["~"] == "p/dut/sensor/outside/temperature" and one["stat_t"] == "~"
    assert one["dev_cla"] == "temperature" and one["unit_of_meas"] == "\u00b0C"
    assert one["stat_cla"] == "measurement" and one["sug_dsp_prc"] == 2
    assert "ent_cat" not in one
    other = found["cmps"]["sensor/rain"]
    assert other["name"] == "Rain" and other["dev_cla"] is None and other["unit_of_meas"] is None


def test_the_expiry_of_a_reading_is_announced():
    found = build(sensor("a", expiry=90), sensor("b"))
    assert found["cmps"]["sensor/a"]["exp_aft"] == 90
    assert found["cmps"]["sensor/b"]["exp_aft"] == 0  # readings never expire


def test_health_and_signal_are_diagnostic_entities():
    found = build(sensor("signal", None, "dBm", "signal_strength"))["cmps"]
    assert found["sensor/signal"]["ent_cat"] == "diagnostic"
    for key in ("uptime", "heap_free", "heap_free_min", "stall", "connects", "reset"):
        one = found["sensor/health/" + key]
        assert one["ent_cat"] == "diagnostic" and one["~"] == "p/dut/health"
        assert one["val_tpl"] == "{{value_json.%s}}" % key
    assert found["sensor/health/heap_free"]["unit_of_meas"] == "B"
    assert "sug_dsp_prc" not in found["sensor/health/reset"]  # not a number


def test_a_digital_input_is_a_binary_sensor():
    one = build(sensor("back_door", None, "", "door", None))["cmps"]["binary_sensor/back_door"]
    assert one["p"] == "binary_sensor" and one["name"] == "Back door" and one["dev_cla"] == "door"
    assert one["~"] == "p/dut/sensor/back_door" and "stat_cla" not in one


def test_actuators_are_announced_with_their_topics_and_ranges():
    servo = actuator("servo", "flap", low=10, high=90)
    found = build(actuators=[lamp(), servo])["cmps"]
    assert found["switch/lamp"]["~"] == "p/dut/switch/lamp" and found["switch/lamp"]["cmd_t"] == "~/set"
    assert (found["number/flap"]["min"], found["number/flap"]["max"]) == (10, 90)


def test_text_is_escaped():
    base = 'p"\\\u00e9/dut'
    found = build(("a", "a", base + "/sensor/a", '"', "x\\", "measurement", 2, None), base=base)
    one = found["cmps"]["sensor/a"]
    assert one["~"] == base + "/sensor/a" and one["unit_of_meas"] == '"' and one["dev_cla"] == "x\\"
    assert found["avty_t"] == base + "/status"


def test_an_unchanged_message_is_not_written_to_flash():
    clean()
    prepare(sensor("a"))
    discovery_files.replace_file("discovery.new", "discovery.sent")
    prepare(sensor("a"))
    assert exists("discovery.sent") and not exists("discovery.new")
    prepare(sensor("a", unit="mV"))
    assert exists("discovery.new")
    clean()


def test_removed_entities_are_withdrawn_until_the_puback():
    clean()
    prepare(sensor("a"), sensor("b"), actuators=[lamp()])
    discovery_files.replace_file("discovery.new", "discovery.sent")
    for _ in range(2):  # the power fails before the broker has the message
        prepare(sensor("a"))
        found = read("discovery.new")[1]["cmps"]
        assert found["sensor/b"] == {"p": "sensor"} and found["switch/lamp"] == {"p": "switch"}
        assert "uniq_id" in found["sensor/a"]
    discovery_files.replace_file("discovery.new", "discovery.sent")
    prepare(sensor("a"))
    assert "sensor/b" not in read("discovery.new")[1]["cmps"]
    clean()


def test_an_entity_that_returns_is_announced_again():
    clean()
    prepare(sensor("a"), sensor("b"))
    discovery_files.replace_file("discovery.new", "discovery.sent")
    prepare(sensor("a"))
    prepare(sensor("a"), sensor("b"))
    assert "uniq_id" in read("discovery.new")[1]["cmps"]["sensor/b"]
    clean()


def test_a_damaged_file_is_replaced():
    for content in (b"", b"\xff\xfe\x00", b"no topic", TOPIC.encode() + b'\n,"sensor/x'):
        clean()
        with open("discovery.sent", "wb") as file:
            file.write(content)
        prepare(sensor("a"))
        assert "sensor/a" in read("discovery.new")[1]["cmps"]
    clean()
    prepare(sensor("a"))
    discovery_files.replace_file("discovery.new", "discovery.sent")
    with open("discovery.sent", "a") as file:
        file.write("}")
    prepare(sensor("a"))
    assert exists("discovery.new")
    clean()


# ---- publishing


class Answer:
    def __init__(self, packet_id, reason=0):
        self.packet_id = packet_id
        self.reason = reason


class Message:
    def __init__(self, payload, retain=False):
        self.payload = payload
        self.retain = retain

    def equals(self, data):
        return self.payload == data


class Outgoing:
    """Replacement for `umqtt5.streaming_send`: reads the whole payload at once, in pieces of 7 bytes."""

    def send(self, client, topic, reader, size, qos, retain):
        if client.full:
            return 0
        start = reader.tell()
        for _ in range(2):  # after a lost connection the payload is read again
            reader.seek(start)
            payload, piece = b"", bytearray(7)
            n = reader.readinto(piece)
            while n:
                payload += bytes(piece[:n])
                n = reader.readinto(piece)
        assert len(payload) == size and qos == 1 and retain
        return client.publish(topic, payload, 1, True)


class Client:
    def __init__(self):
        self.is_connected = True
        self.full = False
        self.forbids = None
        self.sent = []
        self.filters = []

    def publish(self, topic, payload, qos=0, retain=False):
        if self.forbids:
            raise self.forbids
        self.sent.append((topic, payload))
        return len(self.sent)

    def subscribe(self, topic, handler, qos=0, retain_handling=0):
        self.filters.append(topic)
        self.handler = handler


class Harness:
    def __init__(self, prefix="homeassistant", told=False, what=None):
        self.now = 1000
        self.heard = []
        discovery.ticks_ms = lambda: self.now
        discovery.ticks_diff = lambda a, b: a - b
        discovery.ticks_add = lambda a, b: a + b
        discovery._release_modules = lambda: None
        discovery_publisher.streaming_send = Outgoing()
        self.client = Client()
        self.discovery = Discovery(self.client, "dut", prefix, what, told, (self, self))
        self.sensors = [self]

    def publish_now(self, now="health"):
        """Record the call; sensors pass `now`, the health report does not."""
        self.heard.append(now)

    def advance(self, ms):
        """Advance the clock by `ms`; returns the number of messages sent."""
        before = len(self.client.sent)
        ends = self.now + ms
        while self.now <= ends:
            self.discovery.run(self.now)
            self.now += 100
        return len(self.client.sent) - before

    def acknowledge(self, reason=0):
        return self.discovery.on_ack(Answer(len(self.client.sent), reason))


def test_the_message_is_published_once_from_its_file():
    clean()
    prepare(sensor("a"))
    harness = Harness()
    assert harness.client.filters == ["homeassistant/status"]
    assert harness.advance(10_000) == 1
    topic, payload = harness.client.sent[0]
    assert topic == TOPIC and "sensor/a" in json.loads(payload)["cmps"]
    assert exists("discovery.new")  # until its PUBACK
    assert not harness.discovery.on_ack(Answer(99))
    assert harness.acknowledge()
    assert exists("discovery.sent") and not exists("discovery.new")
    assert harness.advance(60_000) == 0
    harness.discovery.publish_now()
    assert harness.advance(1_000) == 1
    clean()


def test_what_the_broker_retains_of_removed_entities_is_removed():
    clean()
    contact = sensor("contact", state_class=None)
    prepare(sensor("a"), sensor("b", "x"), sensor("b", "y"), sensor("c"), contact, actuators=[lamp()])
    discovery_files.replace_file("discovery.new", "discovery.sent")
    prepare(sensor("b", "x"), sensor("contact"))
    harness = Harness()
    harness.advance(1_000)
    assert harness.acknowledge()
    removed = [topic for topic, payload in harness.client.sent[1:] if payload == b""]
    assert sorted(removed) == [
        "p/dut/sensor/a",
        "p/dut/sensor/a/error",
        "p/dut/sensor/b/y",
        "p/dut/sensor/c",
        "p/dut/sensor/c/error",
        "p/dut/switch/lamp",
    ]
    prepare(sensor("b", "x"), sensor("contact"))
    harness = Harness()
    harness.advance(1_000)
    harness.acknowledge()
    assert len(harness.client.sent) == 1  # they are removed only once
    clean()


def test_readings_are_republished_some_seconds_after_the_puback():
    clean()
    prepare(sensor("a"))
    harness = Harness()
    harness.advance(1_000)
    assert harness.heard == []
    harness.acknowledge()
    harness.advance(4_000)
    assert harness.heard == []
    harness.advance(2_000)
    assert len(harness.heard) == 2 and harness.heard[1] == "health"
    clean()


def test_publishing_waits_for_a_connection_and_outbox_space():
    clean()
    prepare(sensor("a"))
    harness = Harness()
    harness.client.is_connected = False
    assert harness.advance(5_000) == 0
    harness.client.is_connected = True
    harness.client.full = True
    assert harness.advance(5_000) == 0
    harness.client.full = False
    assert harness.advance(2_000) == 1
    clean()


def test_the_message_is_published_although_the_ticks_wrap_around_while_the_device_is_offline():
    from long_uptime import DAY, HOUR, PERIOD, ticks_add, ticks_diff

    for days in range(1, 25):
        clean()
        prepare(sensor("a"))
        harness = Harness()
        discovery.ticks_diff, discovery.ticks_add = ticks_diff, ticks_add
        harness.client.is_connected = False
        for _ in range(days * DAY // HOUR):
            harness.now = (harness.now + HOUR) % PERIOD
            harness.discovery.run(harness.now)
        harness.client.is_connected = True
        harness.discovery.run(harness.now)
        assert len(harness.client.sent) == 1, days
    clean()


def test_the_message_is_published_again_when_home_assistant_starts():
    clean()
    prepare(sensor("a"))
    harness = Harness(told=True)
    assert harness.advance(10_000) == 0
    harness.client.handler(Message(b"offline"))
    harness.client.handler(Message(b"online", retain=True))
    assert harness.advance(10_000) == 0
    harness.client.handler(Message(b"online"))
    assert harness.advance(10_000) == 1
    clean()


def test_a_renamed_device_withdraws_its_old_message_first():
    clean()
    prepare(sensor("a"), topic="homeassistant/device/old/config")
    discovery_files.replace_file("discovery.new", "discovery.sent")
    prepare(sensor("a"))
    harness = Harness()
    harness.advance(1_000)
    assert harness.client.sent == [("homeassistant/device/old/config", b"")]
    harness.acknowledge()
    assert harness.advance(1_000) == 1 and harness.client.sent[1][0] == TOPIC
    harness.acknowledge()
    assert read("discovery.sent")[0] == TOPIC and not exists("discovery.new")
    clean()


def test_a_message_without_puback_is_withdrawn_after_renaming():
    clean()
    prepare(sensor("a"), topic="old")  # it was sent, and the power failed before the PUBACK
    prepare(sensor("a"))
    assert read("discovery.sent")[0] == "old" and read("discovery.new")[0] == TOPIC
    prepare(sensor("a"), topic="newer")  # `old` may have been sent, so it is withdrawn first
    assert read("discovery.sent")[0] == "old" and read("discovery.new")[0] == "newer"
    clean()


def test_switching_discovery_off_withdraws_the_message():
    clean()
    prepare(sensor("a"))
    discovery_files.replace_file("discovery.new", "discovery.sent")
    harness = Harness(prefix=None)
    assert harness.client.filters == []
    harness.advance(1_000)
    assert harness.client.sent == [(TOPIC, b"")]
    harness.acknowledge()
    assert not exists("discovery.sent")
    assert harness.advance(10_000) == 0


def test_a_refused_message_is_not_retried_until_requested():
    clean()
    prepare(sensor("a"))
    harness = Harness()
    harness.advance(1_000)
    assert harness.acknowledge(0x87)
    assert exists("discovery.new")
    assert harness.advance(60_000) == 0 and harness.heard == []
    harness.client.forbids = MQTTError(0x9A)  # Retain not supported
    harness.discovery.publish_now()
    assert harness.advance(10_000) == 0
    harness.client.forbids = None
    harness.discovery.publish_now()
    assert harness.advance(1_000) == 1
    clean()


def test_a_missing_file_is_ignored():
    clean()
    harness = Harness()  # the file does not exist
    assert harness.advance(10_000) == 0


def test_the_message_is_prepared_while_offline():
    clean()
    harness = Harness(what=("p/dut/status", "p/dut", Telemetry(sensor("a")), ()))
    harness.client.is_connected = False
    harness.advance(1_000)
    assert "sensor/a" in read("discovery.new")[1]["cmps"]
    clean()


def test_a_failure_to_prepare_the_message_does_not_stop_the_device():
    def fails():
        raise MemoryError("no heap")

    telemetry = Telemetry()
    telemetry.list_quantities = fails
    clean()
    harness = Harness(what=("p/dut/status", "p/dut", telemetry, ()))
    assert harness.advance(5_000) == 0
    assert not exists("discovery.new")
