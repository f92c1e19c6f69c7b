"""Example of umqtt.robust: a retained last will and a status message at each connect."""

import umqtt.robust
from lab import reached

from settings import PORT, SERVER


class StatusClient(umqtt.robust.MQTTClient):
    DELAY = 0.05

    def connect(self, clean_session=True):
        self.set_last_will(b"tele/test/LWT", b"Offline", retain=True)
        try:
            return super().connect(clean_session)
        finally:
            self.publish(b"tele/test/LWT", b"Online", retain=True)


online = []


def on_message(topic, msg):
    if msg == b"Online":  # the broker may publish the will when it ends
        online.append(topic)


client = StatusClient("test_client", SERVER, PORT, keepalive=5)
client.set_callback(on_message)
client.connect(clean_session=False)
client.subscribe(b"tele/test/#", 1)
print(client.wait_msg(), online)
reached("online", sent=1)
while len(online) < 2:
    client.wait_msg()
print(online)
client.sock.close()
reached("closed")
