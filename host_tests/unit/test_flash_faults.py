"""Bookkeeping never prevents the start: the whole device runs although any of its files fails in any way.

The test records which files the device uses, so a file that is added to the firmware is tested, too.
"""

import json
import os
import sys

from answering_broker import BrokerSimulation
from faulty_flash import FAULTS, FaultyFlash
from simulation import restore_real_clock

import slot
from app import crash, flash_error
from app.config import config as config_module
from app.node import node as node_module
from helper import publish_packet

_REQUIRED = ("config.json",)
# the WebAssembly VM is slow: it runs every fourth fault
_STEP = 4 if sys.platform == "webassembly" else 1
SHOW_TRACEBACK = False  # for debugging: stop at the first failure


class Reset(Exception):
    """The board was reset."""


class Pin:
    level = 0

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = level


class Pins:
    """A board without Wi-Fi, with a memory that survives deep sleep."""

    BOARD = "test"
    WIFI = False
    READINGS: dict = {}
    OUTPUTS = {"lamp": 2}
    BUSES: dict = {}
    ATTENUATIONS: dict = {}
    INPUT_PINS = OUTPUT_PINS = ANALOG_PINS = WAKE_PINS = "0-39"
    PIN_RESTRICTIONS: dict = {}
    BUFFERS = {"rx": 1024, "tx": 1024, "outbox": 2048, "inflight": 8, "aliases": 16}
    lamp = Pin()
    memory = b""
    interrupt = None

    @staticmethod
    def output(pin, *args):
        return Pins.lamp

    @staticmethod
    def digital_input(pin, pull):
        return Pin()

    @staticmethod
    def on_edge(pin, handler, edge):
        Pins.interrupt = handler

    @staticmethod
    def read_rtc_memory():
        return Pins.memory

    @staticmethod
    def write_rtc_memory(data):
        Pins.memory = bytes(data)

    @staticmethod
    def reset():
        raise Reset

    @staticmethod
    def deep_sleep(ms, feed):
        raise Reset

    light_sleep = None


SETTINGS = {
    "device": "dut",
    "broker": {"host": "b"},
    "sensors": [{"kind": "pulse", "name": "meter", "pin": 4, "period": 0.1}, {"kind": "heap_free"}],
    "actuators": [{"name": "lamp", "pin": "lamp"}],
    "ntp": [],
    "backlog": {"keep": 10, "on_flash": True},
    "dedup_on_flash": True,
    "update": {"key": "0f" * 32},
}
DEEP_SLEEP = dict(SETTINGS, power={"mode": "deep", "period": 60})


class Run:
    """One run of the device from the start to the reset, with a broker that is offline at first."""

    command_id = 0

    def __init__(self, settings):
        self.settings = settings
        self.lamp_switched = self.status_published = False

    def run(self):
        crash.is_reset_expected = False
        slot.select()
        slot.begin_trial()
        crash.begin_start("watchdog")
        crash.begin_start("reset")
        try:
            os_error()
        except OSError as error:
            crash.count(error)
            crash.save(error)
        config = config_module.load("config.json", Pins)
        saved = save_constructors()
        try:
            self._run_node(config)
        finally:
            restore(saved)
            restore_real_clock()
        crash.leave_safe_mode()
        crash.clear_count()

    def _run_node(self, config):
        node_module.Client = self._make_client
        node = node_module.Node()
        node.create(config, Pins, None, 0)
        if node._cycle:
            node._cycle.should_sleep = lambda *args: False
        sim = self.sim
        sim.broker_listens = False
        Pins.lamp.level = 0
        for _ in range(3):
            self._step(node)
            for sensor in node._telemetry.sensors:
                sensor.measure_now(0)
        Pins.interrupt(None)
        node._telemetry.save()
        sim.broker_listens = True
        node._client.disconnect()
        has_sent = False
        for _ in range(12):
            self._step(node)
            if Pins.lamp.level:
                break
            topic = b"umqtt5/dut/switch/lamp/set"
            if not has_sent and topic in sim.subscription_ids:
                self._send_command(sim, topic, b"ON")
                has_sent = True
        for _ in range(3):
            self._step(node)
        self.lamp_switched = Pins.lamp.level == 1
        bodies = sim.received_bodies(0x30)
        self.status_published = any([b"dut/status" in body for body in bodies])
        assert any([b"dut/answer" in body for body in bodies]), "no answer"
        try:
            if node._cycle:
                node._cycle.should_sleep = lambda *args: True
                node.step()
            self._send_command(sim, b"umqtt5/dut/restart/set", b"now")
            for _ in range(5):
                self._step(node)
        except Reset:
            return
        raise AssertionError("the board was not reset")

    def _step(self, node):
        self.sim.sleep(5000)
        node.step()

    def _make_client(self, host, port, **options):
        options.pop("ssl")
        self.sim = BrokerSimulation(**options)
        return self.sim.client

    def _send_command(self, sim, topic, payload):
        Run.command_id += 1  # commands of earlier runs are stored in `dedup`
        properties = sim.subscription_ids[topic] + b"\x26\x00\x02id\x00\x04%04d" % Run.command_id
        sim.stream.inbox += publish_packet(topic, payload, 1, 99, properties)


def os_error():
    raise OSError("the pump is gone")


def save_constructors():
    """Return what `Node.create` deletes to free heap, so that the next run has it."""
    from umqtt5.journal import journal, journal_outbox, record_log

    saved = [(node_module, "_release_client_code", node_module._release_client_code)]
    saved += [(node_module, "Client", node_module.Client)]
    node_module._release_client_code = lambda *classes: None
    for owner in (journal.Journal, record_log.RecordLog, journal_outbox.JournalOutbox):
        saved.append((owner, "__init__", owner.__init__))
    for name in ("_open", "_hook", "_needed_size"):
        saved.append((journal.Journal, name, getattr(journal.Journal, name)))
    return saved


def restore(saved):
    for owner, name, value in saved:
        setattr(owner, name, value)


def remove_all(folder="."):
    for name in os.listdir(folder):
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            remove_all(path)
            os.rmdir(path)
        else:
            os.remove(path)


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def prepare(settings, path=None, content=None):
    """Write a config, and optionally a damaged file in place of the one that a healthy run has left."""
    write("config.json", json.dumps(settings).encode())
    if content is None:
        return
    remove(path)
    if isinstance(content, bytes):
        write(path, content)
        return
    os.mkdir(path)
    if content == "full folder":
        write(path + "/inside", b"1")


def remove(path):
    try:
        if os.stat(path)[0] & 0x4000:
            remove_all(path)
            os.rmdir(path)
        else:
            os.remove(path)
    except OSError:
        pass


def in_new_folder(function):
    """Call a function in a new folder, because the folder of the test may contain other files."""
    try:
        os.mkdir("files")
    except OSError:
        pass
    before = os.getcwd()
    os.chdir("files")
    try:
        remove_all()
        return function()
    finally:
        remove_all()
        os.chdir(before)
        path = [name for name in sys.path if name not in ("a", "b")]
        sys.path[:] = path


def find_paths(settings):
    """Return the paths that the device uses in a healthy run."""
    prepare(settings)
    paths = set()
    for _ in range(2):  # in the second run the files of the first one exist
        with FaultyFlash() as flash:
            run = Run(settings)
            run.run()
        assert run.lamp_switched and run.status_published, flash.lines
        paths |= flash.paths
    return paths


def check_fault(settings, path, fault):
    """Run the device with a fault of a path; returns None if it starts, connects and executes a command."""
    prepare(settings, path, fault.content)
    flash_error._reported.clear()
    run = Run(settings)
    try:
        with FaultyFlash(path, fault) as flash:
            run.run()
        assert run.lamp_switched and run.status_published
        about = [line for line in flash.lines if path in line]
        assert len(set(about)) == len(about), "printed twice"
    except Exception as error:
        if SHOW_TRACEBACK:
            raise
        return "%s %s: %s %s, printed: %s" % (path, fault.name, type(error).__name__, error, flash.lines[:9])
    finally:
        remove(path)
    return None


def check_all(settings, is_tested):
    """Try all faults of the paths for which `is_tested(path)` is true."""
    paths = find_paths(settings)
    paths = sorted([path for path in paths if path not in _REQUIRED and is_tested(path)])
    failures = []
    for path in paths:
        failures += [
            check_fault(settings, path, fault) for fault in [FAULTS[i] for i in range(0, len(FAULTS), _STEP)]
        ]
    failures = [failure for failure in failures if failure]
    assert not failures, "\n" + "\n".join(failures)
    return paths


_SLOT = ("slot", "slot.new", "./version", "a/version")
_CRASH = ("crash_count", "crash.txt")


def in_test(is_tested, settings=SETTINGS):
    return in_new_folder(lambda: check_all(settings, is_tested))


def test_the_device_runs_whatever_fails_in_the_files_of_updates():
    paths = in_test(lambda path: path in _SLOT)
    assert "slot" in paths and "slot.new" in paths


def test_the_device_runs_whatever_fails_in_the_files_of_crashes():
    assert len(in_test(lambda path: path in _CRASH)) == 2


def test_the_device_runs_whatever_fails_in_the_journal():
    assert in_test(lambda path: path[:7] == "journal", dict(SETTINGS, journal=6144))


def test_the_device_runs_whatever_fails_in_the_files_of_the_discovery_message():
    assert "discovery.sent" in in_test(lambda path: path[:9] == "discovery", dict(SETTINGS, discovery="ha"))


def test_the_device_runs_whatever_fails_in_its_other_files():
    others = _SLOT + _CRASH
    paths = in_test(lambda path: path not in others and path[:9] != "discovery" and path[:7] != "journal")
    for path in ("dedup", "backlog", "pulse-meter", "pulse-meter.new", "restarted"):
        assert path in paths


def test_a_device_that_sleeps_runs_whatever_fails_in_its_session_file():
    assert in_test(lambda path: path == "session", DEEP_SLEEP)


class FailingPart:
    """An actuator or telemetry whose methods fail."""

    name = "pump"
    has_failed = False

    def enter_safe_state(self, now, is_end=False):
        raise ValueError("outside its limits")

    def save(self):
        raise OSError(28)


class Valve:
    is_safe = has_failed = False

    def enter_safe_state(self, now, is_end=False):
        self.is_safe = True


def test_a_part_that_fails_does_not_keep_others_from_their_safe_states():
    node = node_module.Node()
    first, last = Valve(), Valve()
    node._name = "dut"
    node._actuators = [first, FailingPart(), last]
    node._telemetry = FailingPart()
    node.enter_safe_state()
    assert first.is_safe and last.is_safe


class Part:
    """A part of the device that raises `error`, if there is one, when it runs."""

    def __init__(self, error=None):
        self.error = error
        self.runs = 0

    def run(self, now):
        self.runs += 1
        if self.error:
            raise self.error
        return 7


def test_a_part_whose_module_cannot_be_loaded_is_tried_again_and_the_others_run():
    flash_error._reported.clear()
    for error in (ImportError("no module named app.update_offer"), OSError(5)):
        node = node_module.Node()
        node._flash_errors = flash_error.CatchFlashErrors()
        first, last = Part(error), Part()
        node._parts = [first, last]
        assert node._run_parts(0) == node._run_parts(0) == 7
        assert first.runs == last.runs == 2
        first.error = None
        node._run_parts(0)
    assert flash_error._reported == ["flash"]


def test_an_error_of_the_program_ends_it():
    node = node_module.Node()
    node._flash_errors = flash_error.CatchFlashErrors()
    node._parts = [Part(KeyError("state"))]
    try:
        node._run_parts(0)
    except KeyError:
        return
    raise AssertionError("not raised")
