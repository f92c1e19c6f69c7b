"""The device: one client, its sensors, its actuators, one loop."""

import sys
from time import ticks_ms

from micropython import const

from actuators import make as make_actuators
from umqtt5 import Client

from .. import crash
from .command_dedup import Repeats
from .commands import Commands
from .health import Health
from .telemetry import Telemetry
from .wifi import Net

_LONGEST_WAIT = const(1000)  # ms
_SESSION_EXPIRY = const(3600)  # s, at least
_GOOD = const(300000)  # ms after which a start counts as good


class Node:
    """`config` as `config.load` returns it, `pins` the board's module.

    In safe mode, after too many crashes, there are no sensors and no actuators: what is left can
    still be asked what has happened, and be mended.
    """

    # parts that only some devices have; what is set in `__init__` takes a larger piece of the heap
    _cycle = _clock = _watchdog = _discovery = _tasmota = _update = None
    _needs_time = False

    def __init__(self, config, pins, safe_mode, began):
        self._name = config["device"]
        base = config["prefix"] + "/" + self._name
        sleeps = config["power"]["mode"] != "on" and not safe_mode
        absence = _sleeper(config) if sleeps else 0
        self._client = client = _client(config, pins, absence)
        if config["journal"]:
            from ..message_journal import Outbox

            Outbox(client, self._name, config["journal"])
        self._where = "%s:%d" % (client.host, client.port)
        client.on_state = self._state
        client.on_subscribed = self._subscribed
        client.on_ack = self._acknowledged
        delay = max(absence, config["broker"]["will_delay"])
        will = base + "/status", b"offline"
        if config["tasmota"]:
            from ..tasmota import will as will_of

            will = will_of(self._name)  # there is one a connection
        client.will(*will, qos=1, retain=True, delay=delay)
        self._status = client.topic(base + "/status")
        self._online = False  # whether it has been said
        self._crash = client.topic(base + "/crash")
        self._told = 0  # the packet identifier of the crash that is told
        self._good = False
        self._safe_mode = safe_mode
        if safe_mode:
            print("%s: safe mode: it has crashed %d times" % (self._name, crash.TOO_OFTEN))
            config["sensors"] = config["actuators"] = ()
        self._equip(client, base, config, pins, will[0])
        if sleeps:
            from ..power import Cycle

            self._cycle = Cycle(client, pins, config["power"], self._telemetry.sensors, began)
            self._health.more = self._cycle.figures

    def _equip(self, client, base, config, pins, status):
        import os

        self._net = Net(config["wifi"])
        # what is needed once is let go at once: the heap is nowhere as full as here
        self._telemetry = Telemetry(client, base, config.pop("sensors"), pins, config["stamp"])
        actuators = make_actuators(config.pop("actuators"), pins)
        reset = pins.reset_cause() if hasattr(pins, "reset_cause") else "unknown"
        files = os.listdir()
        # also where something is to be withdrawn; in safe mode nothing is there, and nothing has gone
        if not self._safe_mode and (config["discovery"] or "announced" in files or "announced.new" in files):
            told = reset == "deep sleep" and "announced.new" not in files
            from ..discovery import Discovery

            what = (status, base, self._telemetry, actuators)
            self._discovery = Discovery(client, self._name, config["discovery"], what, told)
        if config["backlog"]["keep"] and self._telemetry.sensors:
            sleeps = config["power"]["mode"] == "deep"
            self._telemetry.keep(lambda topics: _backlog(client, base, topics, **config["backlog"]), sleeps)
        repeats = Repeats(config["remember"], "repeats" if config["remember_on_flash"] else None)
        self._commands = Commands(client, base, actuators, repeats)
        if config["tasmota"]:
            from ..tasmota import Tasmota

            self._tasmota = Tasmota(client, self._name, self._commands)
        now = ticks_ms()
        self._commands.link(False, now)
        self._health = Health(client, base, int(config["health"] * 1000), reset)
        if self._discovery and config["power"]["mode"] == "on":  # else all is told in each wake
            self._discovery.listened = (self._telemetry, self._health)
        self._parts: list = [self._telemetry, self._health, self._commands]
        for part in (self._tasmota, self._discovery, self._equip_update(client, base, config, pins)):
            if part:
                self._parts.append(part)
        if config["ntp"] and hasattr(pins, "set_clock"):
            from ..ntp import Clock

            self._clock = Clock(config["ntp"], pins.set_clock)
            if config["broker"]["tls"]:  # a certificate is checked against the clock
                self._needs_time = True
        if config["watchdog"] and hasattr(pins, "watchdog"):
            from ..watchdog import Watchdog

            self._watchdog = Watchdog(pins.watchdog, int(config["reset_after"] * 1000), now)

    def _equip_update(self, client, base, config, pins):
        self._reset_board = pins.reset
        if config["update"]:
            from ..update import Update

            what = (base, self._name, pins.BOARD, config["update"])
            self._update = Update(client, *what, self._restart, ticks_ms())
        return self._update

    def made(self):
        """What makes the parts is let go: there is one of each, and 4 KB of heap are worth it."""
        client, session = self._client, self._client.session
        parts = (self, client, session, session.outbox, self._net)
        parts += (self._telemetry, self._telemetry.backlog, self._commands, self._health, self._watchdog)
        parts += (self._discovery, self._tasmota, self._update)
        for part in parts:
            if part is not None:
                type(part).__init__ = None  # to delete it would leave it in its table
        for part in self._telemetry.sensors:
            type(part).__init__ = type(part.driver).__init__ = None
        Node._equip = Node._equip_update = None

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
        wait = _LONGEST_WAIT
        for part in self._parts:
            wait = min(wait, part.run(now))
        if self._cycle:
            wait = self._rest(now, wait)
        client.poll(wait)
        if self._watchdog:
            self._watchdog.progress(now, client.connected)
        if not self._good and self._health.up > _GOOD:
            self._good = True
            crash.good()

    def _rest(self, now, wait):
        """Sleep, where it is time to; returns the ms until there is something to do."""
        cycle = self._cycle
        active = self._commands.active() or self._update and self._update.busy
        if not cycle.over(now, self._online and self._telemetry.read(), active):
            return min(wait, cycle.wait(now))
        if cycle.delivered:
            crash.good()
        if cycle.deep:
            self._telemetry.unsent(now)
            self.safe()  # an output does not outlive a deep sleep
        cycle.sleep(self._net.off, self._watchdog and self._watchdog.feed)
        self._telemetry.again(ticks_ms())
        self._health.again()
        return 0

    def _tell(self):
        """What is said once a connection, and once a crash."""
        if not self._online:
            word = b"safe mode" if self._safe_mode else b"online"
            self._online = self._client.publish(self._status, word, qos=1, retain=True) > 0
            if not self._told:
                text = crash.read()
                self._told = self._client.publish(self._crash, text, qos=1, retain=True) if text else -1

    def safe(self):
        """Its actuators to their safe states, what it counts into its file: it is about to end."""
        self._commands.safe(ticks_ms())
        self._telemetry.save()

    def _restart(self):
        """An update, or its end, wants the board reset."""
        self.safe()
        self._reset_board()

    def _state(self, client, connected, error):
        self._online = False
        self._commands.link(connected, ticks_ms())
        if self._tasmota:
            self._tasmota.link()
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
            _no_words()

    def _subscribed(self, subscription, answer):
        if answer.reason >= 0x80:
            self._refused(subscription.filter.decode(), answer.reason)

    def _acknowledged(self, answer):
        if self._discovery and self._discovery.acknowledged(answer):
            return
        self._telemetry.acknowledged(answer.packet_id)
        if answer.packet_id == self._told:
            crash.told()
            self._told = -1
        if answer.reason >= 0x80:
            self._refused("message %d" % answer.packet_id, answer.reason)

    def _refused(self, what, reason):
        from umqtt5.reason_codes import name

        print("%s: %s: refused: %s" % (self._name, what, name(reason)))
        _no_words()


def _no_words():
    """The reason codes in words are let go: they are 2 KB that are seldom needed."""
    if sys.modules.pop("umqtt5.reason_codes", None):
        del sys.modules["umqtt5"].reason_codes


def _client(config, pins, absence):
    broker = config["broker"]
    return Client(
        broker["host"],
        broker["port"],
        ssl=_context(**broker["tls"]) if broker["tls"] else None,
        client_id=config["device"],
        user=broker["user"],
        password=broker["password"],
        keep_alive=broker["keep_alive"],
        session_expiry=max(_SESSION_EXPIRY, 2 * absence),
        **pins.BUFFERS,
    )


def _sleeper(config):
    """What is different where it sleeps; returns for how many seconds it may not be heard of."""
    from ..power import longest_absence

    absence = longest_absence(config["power"])
    for sensor in config["sensors"]:
        sensor["qos"] = 1  # it sleeps when all has arrived
        sensor["expiry"] = sensor["expiry"] or absence
    return absence


def _context(ca, cert, key):
    from umqtt5 import tls

    return tls.context(ca, cert, key)


def _backlog(client, base, topics, keep, policy, on_flash):
    if on_flash:
        from ..backlog_file import Saved

        return Saved(client, base, topics, keep, policy, ticks_ms(), "backlog")
    from ..backlog import Backlog

    return Backlog(client, base, topics, keep, policy, ticks_ms())


def run(config, pins, safe_mode, began):
    """Never returns. `began` are the ticks of its start."""
    node = Node(config, pins, safe_mode, began)
    config.clear()  # what is needed of it is where it is needed
    node.made()
    try:
        while True:
            node.step()
    finally:
        node.safe()
