"""API compatible with umqtt.robust, over MQTT 5.0: the client of `simple` that reconnects by itself.

from umqtt5.robust import MQTTClient
"""

from micropython import const

from . import simple
from .simple import MQTTException  # noqa: F401  exported as in umqtt.robust

_MASK = const(0x3FFFFFFF)


class MQTTClient(simple.MQTTClient):
    """The client of umqtt.robust; see `simple.MQTTClient`.

    If the connection is lost, `publish`, `wait_msg` and `check_msg` do not raise OSError. They call
    `reconnect`, which tries every `DELAY` seconds until it succeeds, and then they continue. The session is
    kept. If the broker has lost the session, the client subscribes again.
    """

    def reconnect(self):
        """Reconnect; first sleep `DELAY` seconds if the last connection began less than `DELAY` seconds ago.

        Without the delay, two devices with the same client identifier would flood the broker, because each
        new connection of one device ends the connection of the other.
        """
        if self._since >= 0 and (self._client._ticks_ms() - self._since) & _MASK < self.DELAY * 1000:
            self.delay(0)
        return super().reconnect()

    def publish(self, topic, msg, retain=False, qos=0):
        """Publish like `simple.MQTTClient.publish`; reconnect if the connection is lost."""
        taken = self._packet_id = 0  # no message of this call is in the outbox yet
        while True:
            try:
                if not taken:
                    return super().publish(topic, msg, retain, qos)
                # the message is in the outbox and is sent after the reconnect: do not publish it twice
                if self._until(self._is_acked):
                    return None
            except OSError as error:
                self.log(False, error)
                taken = self._packet_id if qos else 0
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
            try:
                return super().check_msg()
            except OSError as error:
                self.log(False, error)
            self.reconnect()
            attempts -= 1
