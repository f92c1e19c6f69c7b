"""Telemetry: when readings are published; period, dead band, smoothing, failures, events."""

from app import bus_diagnosis, missing_driver
from app.node import telemetry
from app.node.telemetry import Telemetry
from sensors.schema import FIELDS
from umqtt5 import MQTTError
from umqtt5.core.topics import Topic


class Driver:
    """A sensor; the test sets its next value or error."""

    quantities = (("x", "V", "voltage", 2, "measurement"),)

    def __init__(self, *keys):
        if keys:
            self.quantities = tuple((key, "V", "voltage", 1, "measurement") for key in keys)
        self.next = [1.0]
        self.takes = 0
        self.starts = 0
        self.reads = 0
        self.fails = None

    def start(self):
        self.starts += 1
        return self.takes

    def read(self, values):
        self.reads += 1
        if self.fails:
            raise self.fails
        values[:] = self.next


class Event(Driver):
    has_changed = False
    quantities = (("door", "", "door", 0, None),)

    def poll(self, now):
        return 50


class Client:
    def __init__(self):
        self.sent = []
        self.up = True
        self.forbids = None

    @property
    def is_connected(self):
        return self.up

    def topic(self, name):
        return Topic(name)

    def publish(self, topic, payload, qos=0, retain=False, properties=b""):
        if self.forbids:
            raise self.forbids
        if not self.up:
            return 0
        name = topic.name.decode()
        if not (name.endswith("/error") and not payload):
            self.options = (qos, retain, bytes(properties))
            self.sent.append((name[len("p/dut/sensor/") :], payload))
        return 1


class Harness:
    """A device with one sensor on a simulated clock."""

    def __init__(self, driver=None, make_fails=None, **config):
        self.now = 1000
        self.client = Client()
        self.driver = driver or Driver()
        telemetry.ticks_ms = lambda: self.now
        telemetry.ticks_diff = lambda a, b: a - b
        telemetry.ticks_add = lambda a, b: a + b
        telemetry.load_module = missing_driver.load_module = lambda kind: self
        self.make_fails = make_fails
        made = {name: field[1] for name, field in FIELDS.items()}
        made.update(kind="x", name="s", period=10)
        made.update(config)
        self.telemetry = Telemetry(self.client, "p/dut", [made], None)

    def make(self, config, pins):
        if self.make_fails:
            raise self.make_fails
        return self.driver

    def advance(self, ms, *values):
        """Advance the clock by `ms`; returns the published payloads."""
        if values:
            self.driver.next = list(values)
        before = len(self.client.sent)
        ends = self.now + ms
        while True:
            wait = self.telemetry.run(self.now)
            assert wait >= 0
            if self.now + wait >= ends:
                break
            self.now += max(1, wait)
        self.now = ends
        self.telemetry.run(self.now)
        return [payload for _, payload in self.client.sent[before:]]


def test_readings_are_published_at_their_period():
    harness = Harness()
    assert harness.advance(0) == ["1.00"]
    assert harness.advance(30_000, 2.25) == ["2.25", "2.25", "2.25"]
    assert harness.client.sent[-1] == ("s", "2.25")


def test_precision_sets_the_number_of_decimals():
    assert Harness(precision=0).advance(0, 2.6) == ["3"]
    assert Harness(precision=3).advance(0, 2.6) == ["2.600"]
    assert Harness(precision=3).advance(0, 7) == ["7"]
    assert Harness(Driver("a")).advance(0, -0.26) == ["-0.3"]


def test_each_quantity_has_its_own_topic():
    harness = Harness(Driver("temperature", "humidity"))
    harness.advance(0, 20.0, 55.0)
    assert harness.client.sent == [("s/temperature", "20.0"), ("s/humidity", "55.0")]


def test_a_missing_quantity_is_not_published():
    harness = Harness(Driver("temperature", "humidity"))
    harness.advance(0, 20.0, None)
    assert harness.client.sent == [("s/temperature", "20.0")]


def test_a_slow_sensor_does_not_block():
    harness = Harness()
    harness.driver.takes = 750
    assert harness.advance(0) == []
    assert harness.telemetry.run(harness.now) == 750
    assert harness.advance(749) == []
    assert harness.advance(1) == ["1.00"]


def test_smoothing_averages_readings():
    harness = Harness(smoothing=0.5)
    assert harness.advance(0, 0.0) == ["0.00"]
    assert harness.advance(10_000, 8.0) == ["4.00"]
    assert harness.advance(10_000) == ["6.00"]


def test_within_the_dead_band_readings_are_published_after_max_silence():
    harness = Harness(dead_band=0.5, max_silence=60)
    assert harness.advance(0, 10.0) == ["10.00"]
    assert harness.advance(10_000, 10.5) == []
    assert harness.advance(10_000, 10.51) == ["10.51"]
    assert harness.advance(59_000, 10.3) == []
    assert harness.advance(1_000) == ["10.30"]


def test_a_slow_drift_beyond_the_dead_band_is_published():
    harness = Harness(dead_band=0.5)
    sent = []
    for i in range(11):
        sent += harness.advance(10_000, i / 10)
    assert len(sent) == 2  # the first value, and one that differs by more than 0.5


def test_a_dead_band_of_0_publishes_each_change():
    harness = Harness(dead_band=0)
    assert harness.advance(0, 1.0) == ["1.00"]
    assert harness.advance(10_000) == []
    assert harness.advance(10_000, 1.25) == ["1.25"]


def test_an_unsent_reading_is_replaced_by_the_next():
    harness = Harness(dead_band=0)
    harness.client.up = False
    assert harness.advance(0, 1.0) == []
    harness.client.up = True
    assert harness.advance(10_000) == ["1.00"]


def test_a_missed_reading_is_published_after_reconnecting():
    harness = Harness(period=3600)
    harness.client.up = False
    harness.advance(0, 1.0)
    harness.client.up = True
    harness.telemetry.on_connected(harness.now)
    assert harness.advance(0, 2.0) == ["2.00"]
    # the connection was lost between two readings, so none is missing
    harness.telemetry.on_connected(harness.now)
    assert harness.advance(0) == []


def test_qos_retain_and_expiry_are_taken_from_the_config():
    harness = Harness(qos=2, retain=True, expiry=0x12345)
    harness.advance(0)
    assert harness.client.options == (2, True, b"\x02\x00\x01\x23\x45")


def test_a_failing_sensor_is_reported_once_and_retried_with_back_off():
    harness = Harness()
    harness.driver.fails = OSError(110)
    harness.advance(0)
    assert len(harness.client.sent) == 1 and harness.client.sent[0][0] == "s/error"
    assert harness.client.sent[0][1].startswith("OSError: ") and harness.client.options[1]
    harness.advance(600_000)
    assert len(harness.client.sent) == 1
    # at once, after 10, 20, 40, 80 and 160 s, then every 300 s
    assert harness.driver.reads == 6
    harness.advance(3_000_000)
    assert harness.driver.reads == 6 + 10


def test_another_failure_and_the_recovery_are_reported():
    harness = Harness()
    harness.driver.fails = OSError(110)
    harness.advance(0)
    harness.driver.fails = ValueError("wrong checksum")
    assert harness.advance(10_000) == ["ValueError: wrong checksum"]
    harness.driver.fails = None
    assert harness.advance(20_000) == ["1.00"]
    assert harness.advance(10_000) == ["1.00"]  # at the normal period again


def test_a_failure_while_offline_is_reported_after_reconnecting():
    harness = Harness()
    harness.client.up = False
    harness.driver.fails = OSError(110)
    harness.advance(0)
    harness.client.up = True
    assert len(harness.advance(10_000)) == 1


def test_a_reading_that_is_not_a_number_is_a_failure():
    harness = Harness()
    for value in (float("nan"), float("inf"), float("-inf")):
        harness = Harness()
        assert harness.advance(0, value) == ["ValueError: not a number"]


def test_smoothing_restarts_after_a_failure():
    harness = Harness(smoothing=0.9)
    harness.advance(0, 100.0)
    harness.driver.fails = OSError(5)
    harness.advance(10_000)
    harness.driver.fails = None
    assert harness.advance(10_000, 0.0) == ["0.00"]


def test_a_reading_that_the_broker_forbids_is_dropped_and_the_sensor_works():
    harness = Harness(retain=True)
    harness.client.forbids = MQTTError(0x95)  # Packet too large
    assert harness.advance(60_000) == []
    assert harness.driver.reads == 7
    harness.client.forbids = None
    assert harness.advance(10_000) == ["1.00"]


def test_an_event_is_published_at_once():
    harness = Harness(Event(), period=300, qos=1)
    assert harness.advance(0, "OFF") == ["OFF"]
    assert harness.telemetry.run(harness.now) == 50
    harness.driver.has_changed = True
    assert harness.advance(0, "ON") == ["ON"]
    assert not harness.driver.has_changed
    assert harness.advance(1_000) == []


def test_an_unsent_event_is_published_later():
    harness = Harness(Event(), period=300, qos=1)
    harness.advance(0, "OFF")
    harness.client.up = False
    harness.driver.has_changed = True
    harness.advance(500, "ON")
    assert harness.driver.has_changed
    harness.client.up = True
    assert harness.advance(50) == ["ON"]


def test_publish_now_publishes_an_unchanged_reading():
    harness = Harness(dead_band=5)
    harness.advance(0, 1.0)
    assert harness.advance(20_000) == []
    harness.telemetry.sensors[0].publish_now(harness.now)
    assert harness.advance(0) == ["1.00"]


def test_measure_now_reads_all_sensors():
    harness = Harness(period=3600)
    harness.driver.takes = 750
    harness.advance(1000)
    harness.telemetry.measure_now(harness.now)
    assert harness.telemetry.is_busy
    harness.advance(749)
    assert harness.telemetry.is_busy
    harness.advance(1)
    assert not harness.telemetry.is_busy


# ---- expiry


def expiry(**config):
    """Return the expiry of a reading, and the Message Expiry Interval of its message."""
    harness = Harness(**config)
    harness.advance(0)
    properties = harness.client.options[2]
    interval = int.from_bytes(properties[1:], "big") if properties else None
    return list(harness.telemetry.list_quantities())[0][-1], interval


def test_a_reading_expires_after_three_times_the_longest_normal_silence():
    assert expiry(period=10) == (90, None)
    assert expiry(period=0.1) == (60, None)
    assert expiry(period=86400) == (3 * 86400 + 60, None)
    assert expiry(period=10, dead_band=0.5) == (3 * 3610 + 60, None)
    assert expiry(period=10, dead_band=0, max_silence=600) == (3 * 610 + 60, None)
    assert expiry(period=10, expiry=45) == (45, 45)
    assert expiry(period=10, retain=True) == (
        90,
        90,
    )  # the broker removes a retained reading that is not renewed


def test_within_the_dead_band_a_reading_is_published_before_it_expires():
    for period, expiry in ((10, 100), (10, 16), (60, 180), (10, 5)):
        harness = Harness(period=period, dead_band=1, expiry=expiry)
        published_at = harness.now
        for _ in range(100):
            if harness.advance(period * 1000):
                silence = harness.now - published_at
                assert silence <= max(period, expiry) * 1000, (period, expiry)
                published_at = harness.now
        assert harness.now - published_at < 2 * expiry * 1000
    # an expiry that is longer than `max_silence` does not shorten it
    harness = Harness(dead_band=1, max_silence=60, expiry=1000)
    assert len(harness.advance(600_000)) == 11


# ---- errors while offline, and sensors whose driver cannot be created


def test_an_error_is_published_after_reconnecting_without_another_measurement():
    harness = Harness(period=86400)
    harness.client.up = False
    harness.driver.fails = OSError(110)
    harness.advance(60_000)
    assert not harness.client.sent
    harness.client.up = True
    assert len(harness.advance(1000)) == 1 and harness.driver.reads == 1
    assert harness.advance(60_000) == []
    harness.telemetry.on_connected(harness.now)  # the last connection may have lost it
    assert len(harness.advance(1000)) == 1 and harness.driver.reads == 1


def test_a_device_starts_without_a_sensor_that_cannot_be_created_and_uses_it_later():
    harness = Harness(Driver("a", "b"), make_fails=OSError(19))
    for ms in (0, 70_000):
        harness.advance(ms)
    assert [topic for topic, _ in harness.client.sent] == ["s/error"]
    assert harness.client.sent[0][1].startswith("OSError: ")
    assert not harness.telemetry.is_busy
    harness.telemetry.save()
    harness.make_fails = None
    harness.advance(160_000, 1.5, 2.5)
    assert harness.client.sent[1:3] == [("s/a", "1.5"), ("s/b", "2.5")]
    assert [quantity[1] for quantity in harness.telemetry.list_quantities()] == ["a", "b"]


def test_each_exception_of_a_constructor_is_reported():
    for error in (
        MemoryError(),
        ImportError("no module"),
        ValueError("bad pin"),
        RuntimeError(),
        KeyError(1),
    ):
        harness = Harness(make_fails=error)
        harness.advance(0)
        assert harness.client.sent[0][1].startswith(type(error).__name__)


def test_the_readings_of_a_sensor_that_was_created_later_are_stored_while_offline():
    from app.backlog import Backlog

    find_quantities = missing_driver._find_quantities
    missing_driver._find_quantities = lambda config: ()
    harness = Harness(Driver("a", "b"), make_fails=OSError(19))
    missing_driver._find_quantities = find_quantities

    def make(topics):
        return Backlog(harness.client, "p/dut", topics, 10, "oldest", 0)

    harness.telemetry.attach_backlog(make, False)
    assert len(harness.telemetry.backlog.topics) == 0
    harness.client.up = harness.make_fails = False
    harness.advance(30_000, 1.5, 2.5)
    backlog = harness.telemetry.backlog
    assert [topic.name for topic in backlog.topics] == [b"p/dut/sensor/s/a", b"p/dut/sensor/s/b"]
    assert [backlog._records[20 * i + 4] for i in range(2)] == [0, 1]


def test_what_a_sensor_measures_is_known_although_it_cannot_be_created():
    from sensors import load_module

    class Board:
        READINGS = {"x": 1}

    missing_driver.load_module = load_module
    for kind, keys in (
        ("bme280", ("temperature", "humidity", "pressure")),
        ("sht3x", ("temperature", "humidity")),
        ("battery", ("voltage", "level")),
        ("analog", ("s",)),
        ("digital", ("s",)),
        ("pulse", ("count", "rate")),
        ("board_reading", ()),
    ):
        config = {name: field[1] for name, field in load_module(kind).FIELDS.items()}
        config.update(kind=kind, name="s")
        found = missing_driver._find_quantities(config)
        assert tuple([quantity[0] for quantity in found]) == keys, kind


class Bus:
    def __init__(self):
        self.scans = 0
        self.frees = 0
        self.problem = ""

    def scan(self):
        self.scans += 1
        return [0x40, 0x77]

    def free_i2c(self, name):
        assert name == "i2c"
        self.frees += 1
        return self.problem


def test_a_new_error_lists_the_devices_on_the_bus_once():
    harness = Harness()
    bus = harness.driver.bus = harness.telemetry.pins = Bus()
    harness.driver.bus_name = "i2c"
    harness.driver.fails = OSError("no answer")
    assert harness.advance(0) == ["OSError: no answer; on the bus: 0x40, 0x77"]
    assert harness.advance(100_000) == [] and bus.scans == 1
    assert bus.frees == harness.driver.reads == 4  # each failure tries to free the bus
    harness.driver.fails = ValueError("wrong chip")
    assert harness.advance(300_000) == ["ValueError: wrong chip; on the bus: 0x40, 0x77"]
    harness.driver.fails = OSError("no answer")
    bus.problem = "the bus i2c hangs: SDA (GPIO 21) is held low"
    assert harness.advance(300_000) == ["OSError: no answer; the bus i2c hangs: SDA (GPIO 21) is held low"]
    assert bus.scans == 2  # not while the bus hangs: each address would take its timeout


def test_an_error_is_reported_although_the_diagnosis_fails():
    harness = Harness()
    harness.driver.bus = Bus()
    harness.driver.bus.scan = None
    harness.driver.fails = OSError("no answer")
    assert harness.advance(0) == ["OSError: no answer"]
    assert bus_diagnosis._format([]) == "; no device answers on the bus"


def test_list_quantities_describes_each_quantity():
    harness = Harness(Driver("temperature", "humidity"), expiry=90, precision=3)
    assert list(harness.telemetry.list_quantities()) == [
        ("s", key, "p/dut/sensor/s/" + key, "V", "voltage", "measurement", 3, 90)
        for key in ("temperature", "humidity")
    ]
