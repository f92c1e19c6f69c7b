"""A whole device on a simulated clock whose ticks wrap around at 2**30 ms (12.4 days), as on boards.

Time passes in long steps, so that idle weeks take a fraction of a second. `Device` replaces the clocks of all
modules of the device until `close`.
"""

import gc
import json
import os
import sys

from answering_broker import BrokerSimulation
from packet_reader import read_string

import sensors
from app import backlog, discovery, discovery_publisher
from app import config as config_module
from app.node import node as node_module
from app.node import telemetry
from umqtt5 import streaming_send

PERIOD = 1 << 30  # ms after which ticks wrap around
HOUR = 3_600_000  # ms
DAY = 24 * HOUR
WEEK = 7 * DAY
IS_CPYTHON = sys.implementation.name == "cpython"  # `gc` does not tell: the library adds to that of CPython
STEP = HOUR // 3 if IS_CPYTHON else HOUR  # ms that pass while an idle device waits; the VMs are slower
if IS_CPYTHON:
    gc.mem_free = gc.mem_alloc = lambda: 100_000

_CLOCK_NAMES = ("ticks_ms", "ticks_diff", "ticks_add")


def ticks_diff(a, b):
    """Return a - b as `time.ticks_diff` does on a board."""
    return ((a - b + PERIOD // 2) & (PERIOD - 1)) - PERIOD // 2


def ticks_add(ticks, ms):
    """Return ticks + ms as `time.ticks_add` does on a board, which accepts less than half of the period."""
    assert -PERIOD // 2 < ms < PERIOD // 2, ms
    return (ticks + ms) & (PERIOD - 1)


class Pin:
    """A `machine.Pin` whose interrupt handler runs at once."""

    def __init__(self, level=1):
        self.level = level
        self.handler = None

    def value(self, level=None):
        if level is not None:
            self.level = level
        return self.level

    def set(self, level):
        """Change the level of an input, and call the interrupt handler if the edge is watched."""
        edge = "rising" if level > self.level else "falling"
        changes = level != self.level
        self.level = level
        if self.handler and changes and self.edge in (edge, "both"):
            self.handler(self)


class Pins:
    """A board with a pump, a door contact, a meter and a level sensor."""

    BOARD = "host"
    WIFI = False
    READINGS: dict = {}
    OUTPUTS = {"pump": 2, "valve": 3}
    BUSES: dict = {}
    ATTENUATIONS: dict = {}
    INPUT_PINS = OUTPUT_PINS = ANALOG_PINS = WAKE_PINS = "any"
    PIN_RESTRICTIONS: dict = {}

    def __init__(self):
        self.door, self.meter = Pin(0), Pin(1)
        self.outputs = {}
        self.voltage = 1.0  # None if the sensor fails

    def reset(self):
        raise AssertionError("the device resets itself")

    def output(self, name, *more, **options):
        return self.outputs.setdefault(name, Pin(0))

    def digital_input(self, pin, pull):
        return self.door if pin == "door" else self.meter

    def on_edge(self, pin, handler, edge):
        pin.handler, pin.edge = handler, edge
        return True

    def analog_input(self, pin, attenuation):
        return self.read_voltage

    def read_voltage(self):
        if self.voltage is None:
            raise OSError(5)
        return self.voltage


CONFIG = {
    "device": "dut",
    "prefix": "p",
    "discovery": "ha",
    "broker": {"host": "broker"},
    "ntp": [],
    "watchdog": False,
    "health": 3600,
    "sensors": [
        {"kind": "analog", "name": "level", "pin": "level", "period": 7200},
        {
            "kind": "analog",
            "name": "flat",
            "pin": "level",
            "period": 7200,
            "dead_band": 1,
            "max_silence": 86400,
        },
        {"kind": "digital", "name": "door", "pin": "door", "period": 86400},
        {"kind": "pulse", "name": "rain", "pin": "meter", "period": 7200, "debounce": 0.02},
    ],
    "actuators": [
        {"name": "pump", "pin": "pump", "max_on": 7200, "min_off": 3600, "safe": "OFF", "safe_after": 3600},
        {"name": "valve", "pin": "valve", "safe": "HOLD"},
    ],
}


class Device:
    """The device. Its ticks at the start are `offset`; `now` is the number of ms since then.

    `pins` is the board, `changes` are changes of the config.
    """

    def __init__(self, offset, pins=None, **changes):
        self.sim = BrokerSimulation(rx=1024, tx=1024, outbox=2048, inflight=8, keep_alive=30)
        self.sim.now = self.started_at = offset
        self.step_ms = None  # ms that each wait takes; None if it takes as long as the device asks for
        self.pins = pins or Pins()
        self._saved = []
        self._replace(node_module, "_create_client", lambda *args: self.sim.client)
        self._replace(node_module, "_release_client_code", lambda *args: None)
        self._replace(node_module, "release_reason_codes", lambda: None)  # loading them again takes time
        # other tests replace these for good
        self._replace(telemetry, "load_module", sensors.load_module)
        self._replace(telemetry, "unix_time", lambda: 0)
        self._replace(backlog, "unix_time", lambda: 0)
        self._replace(discovery, "_release_modules", lambda: None)
        self._replace(discovery_publisher, "streaming_send", streaming_send)
        if IS_CPYTHON:
            self._replace(gc, "collect", lambda: None)  # it takes longer than everything else
        self.sim.sleep = self._sleep
        settings = dict(CONFIG)
        settings.update(changes)
        with open("long-config.json", "w") as file:
            file.write(json.dumps(settings))
        config = config_module.load("long-config.json", self.pins)
        self._replace_clocks()
        self.node = node_module.Node()
        try:
            self.node.create(config, self.pins, None, self.ticks())
        except Exception:
            self.close()
            raise
        self._replace_clocks()  # those of the modules that `create` has imported

    def ticks(self):
        return self.sim.now & (PERIOD - 1)

    @property
    def now(self):
        return self.sim.now - self.started_at

    def _sleep(self, ms):
        self.sim.now += self.step_ms if self.step_ms and ms > 1 else max(1, ms)

    def _replace(self, module, name, value):
        self._saved.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def _replace_clocks(self):
        values = self.ticks, ticks_diff, ticks_add
        for name in list(sys.modules):
            module = sys.modules[name]
            if name.startswith("umqtt5.core.connection"):
                module.ticks_ms, module.sleep_ms = self.ticks, self._sleep
            if name.split(".")[0] in ("app", "sensors", "actuators"):
                for clock, value in zip(_CLOCK_NAMES, values):
                    if hasattr(module, clock) and getattr(module, clock) is not value:
                        self._replace(module, clock, value)

    def close(self):
        """Restore what was replaced, and remove the files of the device."""
        for module, name, value in reversed(self._saved):
            setattr(module, name, value)
        for path in os.listdir():
            if path.startswith(("discovery.", "pulse-", "long-config", "start")):
                os.remove(path)

    def run(self, ms, step=None):
        """Run the main loop for `ms`; each wait takes `step` ms, or as long as the device asks for."""
        ends = self.sim.now + ms
        self.step_ms = step
        while self.sim.now < ends:
            if not self.sim.broker_listens and self.sim.streams:
                self.sim.stream.closed_by_broker = True
            self.node.step()
        self.step_ms = None

    def command(self, text, name="switch/pump"):
        """Send a command to an actuator, and run the loop for 1 s."""
        from helper import publish_packet

        topic = ("p/dut/%s/set" % name).encode()
        self.sim._packet_id += 1
        properties = self.sim.subscription_ids[topic]
        self.sim.stream.inbox += publish_packet(topic, text, 1, self.sim._packet_id, properties)
        self.run(1000)

    def take_messages(self):
        """Return the payloads by topic that the broker has received since the last call."""
        found = {}
        for first, body in self.sim.packets:
            if first & 0xF0 == 0x30:
                topic, at = read_string(body, 0)
                at += 2 if first & 6 else 0
                found.setdefault(topic[len(b"p/dut/") :].decode(), []).append(body[at + 1 + body[at] :])
        del self.sim.packets[:]
        return found
