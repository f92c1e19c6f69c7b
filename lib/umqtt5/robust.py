"""API compatible with umqtt.robust, over MQTT 5.0: the client of `simple` that reconnects by itself.

from umqtt5.robust import MQTTClient
"""

import sys

from micropython import const

from . import simple
from .simple import MQTTException  # noqa: F401  for programs that import both names from one module

if sys.implementation.name == "cpython":
    from .cpython.compat import sleep_ms
else:
    from time import sleep_ms

_MASK = const(0x3FFFFFFF)


class MQTTClient(simple.MQTTClient):
    """The client of umqtt.robust; see `simple.MQTTClient`.

    If the connection is lost, `publish`, `wait_msg` and `check_msg` do not raise OSError. They call
    `reconnect`, which tries every `DELAY` seconds until it succeeds, and then they continue. The session is
    kept. If the broker has lost the session, the client subscribes again.
    """

    DELAY = 2  # seconds between two tries to reconnect
    DEBUG = False  # whether `log` prints

    def delay(self, i):
        """Sleep before try number `i` to reconnect."""
        sleep_ms(int(self.DELAY * 1000))

    def log(self, in_reconnect, e):
        """Print an error if `DEBUG` is set."""
        if self.DEBUG:
            print("mqtt reconnect: %r" % e if in_reconnect else "mqtt: %r" % e)

    def reconnect(self):
        """Connect to the same session, and try every `DELAY` seconds until it succeeds.

        If the last connection began less than `DELAY` seconds ago, sleep first. Otherwise two devices with
        the same client identifier would flood the broker, because each new connection of one device ends the
        connection of the other.
        """
        link = self.umqtt5_link
        if link.connected_at >= 0:
            if (link.client._ticks_ms() - link.connected_at) & _MASK < self.DELAY * 1000:
                self.delay(0)
        i = 0
        while True:
            try:
                return self.connect(False)
            except OSError as error:
                self.log(True, error)
                i += 1
                self.delay(i)

    def publish(self, topic, msg, retain=False, qos=0):
        """Publish like `simple.MQTTClient.publish`; reconnect if the connection is lost.

        A message that is already in the outbox is sent after the reconnect and is not published twice.
        """
        link = self.umqtt5_link
        packet_id = 0
        while True:
            try:
                if packet_id not in link.acks:
                    packet_id = link.send(topic, msg, retain, qos)
                if qos:
                    link.wait_for_ack(packet_id)
                return
            except OSError as error:
                self.log(False, error)
            self.reconnect()

    def wait_msg(self):
        """Wait for a message like `simple.MQTTClient.wait_msg`; reconnect if the connection is lost."""
        while True:
            try:
                return super().wait_msg()
            except OSError as error:
                self.log(False, error)
            self.reconnect()

    def check_msg(self, attempts=2):
        """Handle a message if one has arrived; reconnect at most `attempts` times."""
        while attempts:
            self.umqtt5_link.timeout = 0
            try:
                return super().wait_msg()
            except OSError as error:
                self.log(False, error)
            self.reconnect()
            attempts -= 1
