"""The device: one client, its sensors, its actuators, one loop."""

from time import ticks_ms

from actuators import make as make_actuators
from sensors import make as make_sensor
from umqtt5 import Client

from .commands import Commands
from .health import Health
from .net import Net
from .telemetry import Telemetry

_LONGEST_WAIT = 1000  # ms


class Node:
    """`config` as `config.load` returns it, `pins` the board's module."""

    def __init__(self, config, pins):
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
        client.will(base + "/status", b"offline", qos=1, retain=True)
        self._status = client.topic(base + "/status")
        self._online = False  # whether it has been said
        self._net = Net(config["wifi"])
        self._telemetry = Telemetry(client, base, [make_sensor(s, pins) for s in config["sensors"]])
        self._commands = Commands(client, base, make_actuators(config["actuators"], pins))
        self._commands.link(False, ticks_ms())
        self._health = Health(client, base, int(config["health"] * 1000))

    def step(self):
        """One round: read, publish, obey. Takes as long as there is nothing to do, a second at most."""
        now = ticks_ms()
        if self._net.up():
            self._client.connect(wait=False)
        if self._client.connected and not self._online:
            self._online = self._client.publish(self._status, b"online", qos=1, retain=True) > 0
        wait = min(self._telemetry.run(now), self._health.run(now), self._commands.run(now))
        self._client.poll(min(_LONGEST_WAIT, wait))

    def safe(self):
        """Its actuators to their safe states: it is about to end."""
        self._commands.safe(ticks_ms())

    def _state(self, client, connected, error):
        self._online = False
        self._commands.link(connected, ticks_ms())
        if connected:
            print("%s: connected to %s" % (self._name, self._where))
            if not client.session.resumed:
                self._commands.forget()
        else:
            why = "closed" if error is None else error
            print("%s: no link to %s: %s" % (self._name, self._where, why))

    def _subscribed(self, subscription, answer):
        if answer.reason >= 0x80:
            from umqtt5.reasons import name

            what = subscription.filter.decode()
            print("%s: %s: refused: %s" % (self._name, what, name(answer.reason)))

    def _acknowledged(self, answer):
        if answer.reason >= 0x80:
            from umqtt5.reasons import name

            print("%s: message %d: refused: %s" % (self._name, answer.packet_id, name(answer.reason)))


def _context(ca, cert, key):
    from umqtt5 import tls

    return tls.context(ca, cert, key)


def run(config, pins):
    """Never returns."""
    node = Node(config, pins)
    try:
        while True:
            node.step()
    finally:
        node.safe()
