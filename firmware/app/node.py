"""The device: one client, its sensors, its actuators, one loop."""

import gc
import os
import sys
from time import ticks_ms

from actuators import make as make_actuators
from umqtt5 import Client

from . import crash
from .commands import Commands
from .health import Health
from .net import Net
from .repeats import Repeats
from .telemetry import Telemetry

_LONGEST_WAIT = 1000  # ms
_ANNOUNCED = {"announced", "announced.new"}
_GOOD = 300000  # ms after which a start counts as good


class Node:
    """`config` as `config.load` returns it, `pins` the board's module.

    In safe mode, after too many crashes, there are no sensors and no actuators: what is left can
    still be asked what has happened, and be mended.
    """

    def __init__(self, config, pins, safe_mode=False):
        self._name = config["device"]
        broker = config["broker"]
        base = config["prefix"] + "/" + self._name
        self._client = client = Client(
            broker["host"],
            broker["port"],
            ssl=_context(**broker["tls"]) if broker["tls"] else None,
            client_id=self._name,
            user=broker["user"],
            password=broker["password"],
            keep_alive=broker["keep_alive"],
            **pins.BUFFERS,
        )
        self._where = "%s:%d" % (client.host, client.port)
        client.on_state = self._state
        client.on_subscribed = self._subscribed
        client.on_ack = self._acknowledged
        client.will(base + "/status", b"offline", qos=1, retain=True, delay=broker["will_delay"])
        self._status = client.topic(base + "/status")
        self._online = False  # whether it has been said
        self._net = Net(config["wifi"])
        sensors = () if safe_mode else config["sensors"]
        self._telemetry = Telemetry(client, base, sensors, pins)
        actuators = () if safe_mode else config["actuators"]
        repeats = Repeats(config["remember"], "repeats" if config["remember_on_flash"] else None)
        self._commands = Commands(client, base, make_actuators(actuators, pins), repeats)
        now = ticks_ms()
        self._commands.link(False, now)
        reset = pins.reset_cause() if hasattr(pins, "reset_cause") else "unknown"
        self._health = Health(client, base, int(config["health"] * 1000), reset)
        self._discovery = None
        if not safe_mode and (config["discovery"] or _ANNOUNCED & set(os.listdir())):
            what = (self._name, base, self._telemetry, self._commands.actuators)
            self._discovery = _discovery(client, config["discovery"], what, self._listened, reset)
        self._clock = None
        if config["ntp"] and hasattr(pins, "set_clock"):
            from .clock import Clock

            self._clock = Clock(config["ntp"], pins.set_clock)
        self._needs_time = self._clock and broker["tls"]  # a certificate is checked against the clock
        self._crash = client.topic(base + "/crash")
        self._told = 0  # the packet identifier of the crash that is told
        self._good = False
        self._safe_mode = safe_mode
        if safe_mode:
            print("%s: safe mode: it has crashed %d times" % (self._name, crash.TOO_OFTEN))
        self._watchdog = None
        if config["watchdog"] and hasattr(pins, "watchdog"):
            from .watchdog import Watchdog

            self._watchdog = Watchdog(pins.watchdog, int(config["reset_after"] * 1000), now)

    def step(self):
        """One round: read, publish, obey. Takes as long as there is nothing to do, a second at most."""
        now = ticks_ms()
        client = self._client
        up = self._net.up()
        if up and self._clock and self._clock.run(now):
            print("%s: the clock is set" % self._name)
        if up and not (self._needs_time and not self._clock.right):
            client.connect(wait=False)
        if client.connected:
            self._tell()
        wait = min(self._telemetry.run(now), self._health.run(now), self._commands.run(now))
        if self._discovery:
            wait = min(wait, self._discovery.run(now))
        client.poll(min(_LONGEST_WAIT, wait))
        if self._watchdog:
            self._watchdog.progress(now, client.connected)
        if not self._good and self._health.up > _GOOD:
            self._good = True
            crash.good()

    def _tell(self):
        """What is said once a connection, and once a crash."""
        if not self._online:
            word = b"safe mode" if self._safe_mode else b"online"
            self._online = self._client.publish(self._status, word, qos=1, retain=True) > 0
            if not self._told:
                text = crash.read()
                self._told = self._client.publish(self._crash, text, qos=1, retain=True) if text else -1

    def _listened(self, now):
        """Home Assistant has subscribed to what it was told of."""
        self._telemetry.anew(now)
        self._health.again()

    def safe(self):
        """Its actuators to their safe states, what it counts into its file: it is about to end."""
        self._commands.safe(ticks_ms())
        self._telemetry.save()

    def _state(self, client, connected, error):
        self._online = False
        self._commands.link(connected, ticks_ms())
        if connected:
            print("%s: connected to %s" % (self._name, self._where))
            self._telemetry.linked(ticks_ms())
            if not client.session.resumed:
                self._commands.forget()
                if self._discovery:
                    self._discovery.again()
        else:
            why = "closed" if error is None else error
            print("%s: no link to %s: %s" % (self._name, self._where, why))

    def _subscribed(self, subscription, answer):
        if answer.reason >= 0x80:
            from umqtt5.reasons import name

            what = subscription.filter.decode()
            print("%s: %s: refused: %s" % (self._name, what, name(answer.reason)))

    def _acknowledged(self, answer):
        if self._discovery and self._discovery.acknowledged(answer):
            return
        if answer.packet_id == self._told:
            crash.told()
            self._told = -1
        if answer.reason >= 0x80:
            from umqtt5.reasons import name

            print("%s: message %d: refused: %s" % (self._name, answer.packet_id, name(answer.reason)))


def _discovery(client, prefix, what, listened, reset):
    from .discovery import Discovery

    topic = prefix and "%s/device/%s/config" % (prefix, what[0])
    woken = reset == "deep sleep"  # before that, all was told
    if topic and not woken:
        from . import announcement

        try:
            announcement.prepare(topic, *what)
        except Exception as error:
            print("%s: discovery: %s: %s" % (what[0], type(error).__name__, error))
        del sys.modules["app.announcement"], sys.modules["app"].announcement
        gc.collect()
    return Discovery(client, prefix, topic, listened, woken)


def _context(ca, cert, key):
    from umqtt5 import tls

    return tls.context(ca, cert, key)


def run(config, pins, safe_mode):
    """Never returns."""
    node = Node(config, pins, safe_mode)
    config.clear()  # what is needed of it is where it is needed
    try:
        while True:
            node.step()
    finally:
        node.safe()
