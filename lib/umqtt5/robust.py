"""The calls of umqtt.robust over MQTT 5: as `simple`, and it reconnects by itself.

from umqtt5.robust import MQTTClient
"""

from micropython import const

from . import simple
from .simple import MQTTException  # noqa: F401  as there

_MASK = const(0x3FFFFFFF)


class MQTTClient(simple.MQTTClient):
    """See `simple.MQTTClient`, and umqtt.robust for what is not said here.

    A lost link is not raised: `reconnect` is called, every `DELAY` seconds until it works, and the
    call goes on. The session is the one there was: subscriptions that the broker has lost are made again.
    """

    def reconnect(self):
        """At once after a link that was up for `DELAY` seconds, else after as many.

        Two devices of one name, each of which takes the other's place, would storm the broker.
        """
        if self._since >= 0 and (self._client._ticks_ms() - self._since) & _MASK < self.DELAY * 1000:
            self.delay(0)
        return super().reconnect()

    def publish(self, topic, msg, retain=False, qos=0):
        taken = 0
        while True:
            try:
                if not taken:
                    return super().publish(topic, msg, retain, qos)
                # it waits in the outbox and is sent again by itself: a second one would be one too many
                if self._until(self._answered):
                    return None
            except OSError as error:
                self.log(False, error)
                taken = self._packet_id if qos else 0
            self.reconnect()

    def wait_msg(self):
        while True:
            try:
                return super().wait_msg()
            except OSError as error:
                self.log(False, error)
            self.reconnect()

    def check_msg(self, attempts=2):
        while attempts:
            try:
                return super().check_msg()
            except OSError as error:
                self.log(False, error)
            self.reconnect()
            attempts -= 1
