"""Backlog: readings taken offline are stored with timestamps and published later, in RAM and on flash."""

import json
import os

from app import backlog, backlog_file
from app.backlog import Backlog
from app.backlog_file import FileBacklog
from app.node import telemetry
from app.node.telemetry import Telemetry
from sensors.schema import FIELDS
from umqtt5 import MQTTError
from umqtt5.core.topics import Topic

NOW = 1800000000


class Outbox:
    count = 0


class Session:
    outbox = Outbox()


class Client:
    def __init__(self):
        self.session = Session()
        self.session.outbox = Outbox()
        self.is_connected = False
        self.forbids = None
        self.sent = []
        self.packet_id = 0

    def topic(self, name):
        return Topic(name)

    def publish(self, topic, payload, qos=0, retain=False, properties=b""):
        if self.forbids:
            raise self.forbids
        if not self.is_connected:
            return 0
        self.sent.append((topic.name, payload, qos, bytes(properties)))
        self.packet_id += 1
        return self.packet_id


class Harness:
    """A backlog on a simulated clock; `clock` is the Unix time at the start, 0 if it is not set."""

    def __init__(self, keep=10, policy="oldest", path=None, quantities=("t", "air/h"), clock=NOW):
        self.now = 0
        self.client = Client()
        self.clock = clock
        backlog.ticks_diff = backlog_file.ticks_diff = telemetry.ticks_diff = lambda a, b: a - b
        backlog.ticks_add = backlog_file.ticks_add = telemetry.ticks_add = lambda a, b: a + b
        backlog.unix_time = telemetry.unix_time = lambda: self.clock and self.clock + self.now // 1000
        topics = [Topic("p/dut/sensor/" + name) for name in quantities]
        if path:
            self.backlog = FileBacklog(self.client, "p/dut", topics, keep, policy, 0, path)
        else:
            self.backlog = Backlog(self.client, "p/dut", topics, keep, policy, 0)

    def add_readings(self, *texts, number=0, every=1000):
        for text in texts:
            assert self.backlog.add(number, text, self.now)
            self.now += every

    def publish_all(self, acknowledged=True, rounds=100):
        """Connect and run the backlog; returns the readings that it publishes."""
        self.client.is_connected = True
        before = len(self.client.sent)
        for _ in range(rounds):
            self.backlog.run(self.now)
            self.now += 100
            if acknowledged:
                self.backlog.on_ack(self.client.packet_id)
        found = []
        for _, payload, _, _ in self.client.sent[before:]:
            found += json.loads(payload)
        return found


def values(readings):
    return [reading[2] for reading in readings]


def test_readings_are_published_with_name_and_timestamp():
    harness = Harness()
    harness.add_readings("1.5", "2.5")
    harness.add_readings("ON", number=1)
    assert harness.publish_all() == [["t", NOW, "1.5"], ["t", NOW + 1, "2.5"], ["air/h", NOW + 2, "ON"]]
    assert len(harness.backlog) == 0
    assert [(topic, qos) for topic, _, qos, _ in harness.client.sent] == [(b"p/dut/backlog", 1)]


def test_readings_are_kept_until_their_puback():
    harness = Harness()
    harness.add_readings("1", "2")
    assert values(harness.publish_all(acknowledged=False)) == ["1", "2"]
    assert len(harness.backlog) == 2
    harness.backlog.on_ack(harness.client.packet_id + 7)  # the PUBACK of another message
    assert len(harness.backlog) == 2
    harness.backlog.on_ack(harness.client.packet_id)
    assert len(harness.backlog) == 0
    assert harness.publish_all() == []


def test_one_message_per_second_is_published_and_only_if_the_outbox_is_empty():
    harness = Harness(keep=60)
    harness.add_readings(*["%d.25" % n for n in range(60)])
    harness.client.is_connected = True
    harness.client.session.outbox.count = 1  # a live reading
    for _ in range(50):
        harness.backlog.run(harness.now)
        harness.now += 100
    assert not harness.client.sent
    harness.client.session.outbox.count = 0
    started = harness.now
    readings = harness.publish_all()
    assert values(readings) == ["%d.25" % n for n in range(60)]
    messages = len(harness.client.sent)
    assert 1 < messages <= (harness.now - started) // 1000 + 1
    assert max(len(payload) for _, payload, _, _ in harness.client.sent) <= 420


def test_a_full_backlog_drops_the_oldest_reading():
    harness = Harness(keep=3)
    harness.add_readings("1", "2", "3", "4", "5")
    assert values(harness.publish_all()) == ["3", "4", "5"]
    assert harness.backlog._dropped == 2


def test_the_policy_thin_keeps_readings_of_the_whole_time():
    harness = Harness(keep=8, policy="thin")
    for n in range(40):
        harness.add_readings("%d" % n)
        harness.add_readings("h%d" % n, number=1)
    readings = harness.publish_all()
    for name in ("t", "air/h"):
        times = [when for one, when, _ in readings if one == name]
        assert times == sorted(times) and len(times) >= 2
        assert times[0] <= NOW + 16 and times[-1] >= NOW + 70, times
    assert len(readings) <= 8


def test_the_policy_newest_keeps_one_reading_of_each_quantity():
    harness = Harness(policy="newest")
    harness.add_readings("1", "2")
    harness.add_readings("a", "b", number=1)
    harness.add_readings("3")
    assert harness.publish_all() == [["air/h", NOW + 3, "b"], ["t", NOW + 4, "3"]]


def test_readings_in_flight_are_neither_lost_nor_repeated():
    for policy in ("oldest", "thin", "newest"):
        harness = Harness(keep=3, policy=policy)
        harness.add_readings("1")
        harness.add_readings("a", number=1)
        told = values(harness.publish_all(acknowledged=False))
        harness.client.is_connected = False
        harness.add_readings("2", "3", "4")
        harness.backlog.on_ack(harness.client.packet_id)
        told += values(harness.publish_all())
        assert told[:2] == ["1", "a"] and told[-1] == "4" and len(set(told)) == len(told), (policy, told)


def test_setting_the_clock_later_gives_earlier_readings_their_timestamps():
    harness = Harness(clock=0)
    harness.add_readings("1", "2")
    harness.clock = NOW
    harness.now = 60000
    assert harness.publish_all() == [["t", NOW, "1"], ["t", NOW + 1, "2"]]


def test_without_a_clock_readings_have_no_timestamp():
    harness = Harness(clock=0)
    harness.add_readings("1")
    assert harness.publish_all() == [["t", None, "1"]]


def test_a_value_that_is_too_long_is_not_stored():
    harness = Harness()
    assert not harness.backlog.add(0, "x" * 15, 0)
    assert harness.backlog.add(0, "x" * 14, 0)


def test_a_refused_backlog_message_is_dropped():
    harness = Harness()
    harness.add_readings("1")
    harness.client.forbids = MQTTError(0x95, "too large")
    harness.publish_all()
    assert len(harness.backlog) == 0 and harness.backlog._dropped == 1


def test_live_readings_taken_offline_are_stored():
    harness = Harness()

    class Driver:
        quantities = (("t", "V", "voltage", 2, "measurement"),)

        def start(self):
            return 0

        def read(self, values):
            values[0] = harness.now / 1000

    class Kind:
        @staticmethod
        def make(config, pins):
            return Driver()

    telemetry.load_module = lambda kind: Kind
    telemetry.ticks_ms = lambda: harness.now
    config = {name: field[1] for name, field in FIELDS.items()}
    config.update(kind="x", name="s", period=10)
    live = Telemetry(harness.client, "p/dut", [config], None, timestamps=True)
    live.attach_backlog(lambda topics: Backlog(harness.client, "p/dut", topics, 10, "oldest", 0), False)
    for _ in range(35):
        live.run(harness.now)
        harness.now += 1000
    harness.client.is_connected = True
    assert not harness.client.sent
    harness.now = 36000
    live.on_connected(harness.now)
    live.run(harness.now)
    live.run(harness.now)
    topics = [topic for topic, _, _, _ in harness.client.sent]
    assert topics[0] == b"p/dut/sensor/s" and topics[-1] == b"p/dut/backlog"  # live readings first
    assert harness.client.sent[0][3] == b"\x26\x00\x04time\x00\x0a%d" % (NOW + 36)
    late = json.loads(harness.client.sent[-1][1])
    assert late == [["s", NOW + at, "%.2f" % at] for at in (0, 10, 20, 30)]


def files():
    return sorted(name for name in os.listdir() if name.startswith("backlog"))


def clean():
    for name in files():
        os.remove(name)


def test_readings_on_flash_survive_a_power_cut_except_those_of_the_last_minute():
    clean()
    harness = Harness(path="backlog")
    harness.add_readings("1", "2", every=1000)
    harness.backlog.run(harness.now)
    assert not files()
    harness.now += 60000
    harness.backlog.run(harness.now)
    harness.add_readings("3")
    again = Harness(path="backlog")
    assert again.publish_all() == [["t", NOW, "1"], ["t", NOW + 1, "2"]]
    assert not files()  # all readings are published


def test_the_file_stays_within_its_size():
    clean()
    harness = Harness(keep=5, path="backlog")
    for n in range(100):
        harness.add_readings("%d" % n)
        harness.backlog.save()
        assert os.stat("backlog")[6] <= 4 + 2 * 5 * 24
    assert values(Harness(keep=5, path="backlog").publish_all()) == ["95", "96", "97", "98", "99"]


def test_a_file_that_is_cut_anywhere_keeps_its_whole_readings():
    clean()
    harness = Harness(path="backlog")
    harness.add_readings("1", "2", "3")
    harness.backlog.save()
    with open("backlog", "rb") as file:
        whole = file.read()
    for cut in range(len(whole) + 1):
        with open("backlog", "wb") as file:
            file.write(whole[:cut])
        again = Harness(path="backlog")
        again.add_readings("4")
        again.backlog.save()
        known = ["1", "2", "3"][: max(0, cut - 4) // 24]
        assert values(Harness(path="backlog").publish_all(acknowledged=False)) == known + ["4"], cut
        clean()


def test_a_power_cut_while_the_file_is_replaced_loses_nothing():
    clean()
    harness = Harness(path="backlog")
    harness.add_readings("1", "2")
    harness.backlog.save()
    os.rename("backlog", "backlog.new")  # the old file is removed, the new one not yet renamed
    assert values(Harness(path="backlog").publish_all(acknowledged=False)) == ["1", "2"]
    assert files() == ["backlog"] or files() == ["backlog", "backlog.new"]
    clean()


def test_damaged_readings_and_those_of_other_sensors_are_ignored():
    clean()
    harness = Harness(path="backlog")
    harness.add_readings("1", "2")
    harness.backlog.save()
    with open("backlog", "rb") as file:
        whole = file.read()
    with open("backlog", "wb") as file:
        file.write(whole[:12] + bytes([whole[12] ^ 1]) + whole[13:])
    assert values(Harness(path="backlog").publish_all(acknowledged=False)) == ["2"]
    with open("backlog", "wb") as file:
        file.write(whole)
    assert Harness(path="backlog", quantities=("other",)).publish_all() == []
    clean()


def test_readings_of_a_run_without_a_clock_get_no_timestamp_later():
    clean()
    harness = Harness(path="backlog", clock=0)
    harness.add_readings("1")
    harness.backlog.save()
    assert Harness(path="backlog").publish_all() == [["t", None, "1"]]
    clean()
