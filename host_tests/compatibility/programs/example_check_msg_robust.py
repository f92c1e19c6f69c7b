"""Example of umqtt.robust: `check_msg` reconnects after the broker has closed the connection."""

import umqtt.robust
from lab import reached

from settings import PORT, SERVER


class Client(umqtt.robust.MQTTClient):
    DELAY = 0.05

    def reconnect(self):
        print("reconnecting")
        return super().reconnect()


client = Client("umqtt_client", SERVER, PORT, keepalive=5)
client.set_callback(print)
client.connect()
reached("connected")
print(client.check_msg())
client.publish(b"after", b"reconnect")
client.disconnect()
