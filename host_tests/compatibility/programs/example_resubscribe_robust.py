"""Example of umqtt.robust: a subclass that subscribes again after the session was lost."""

import umqtt.robust
from lab import reached

from settings import PORT, SERVER


class SubscribingClient(umqtt.robust.MQTTClient):
    DELAY = 0.05

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.topics = []

    def connect(self, clean_session=True):
        restored = super().connect(clean_session)
        if not restored:
            for topic in self.topics:
                self.subscribe(topic)
        return restored

    def reconnect(self):  # umqtt.robust of 2016 does not call `connect` of the subclass
        while True:
            try:
                return self.connect(False)
            except OSError:
                self.delay(1)

    def subscribe(self, topic):
        print("subscribing to", topic)
        super().subscribe(topic)
        if topic not in self.topics:
            self.topics.append(topic)


client = SubscribingClient("test_client", SERVER, PORT, keepalive=5)
client.set_callback(print)
client.connect()
client.subscribe(b"test/topic/a")
client.publish(b"test/topic/a", b"message 1")
client.wait_msg()
reached("restart", sent=1)
client.publish(b"test/topic/a", b"message 2")
client.wait_msg()
client.publish(b"test/topic/a", b"message 3")
client.wait_msg()
client.disconnect()
