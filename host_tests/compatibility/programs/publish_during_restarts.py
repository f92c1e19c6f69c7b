"""A logger that uses umqtt.robust: it publishes at QoS 0 while the broker restarts, and loses nothing."""

from lab import reached
from umqtt.robust import MQTTClient

from settings import PORT, SERVER

MQTTClient.DELAY = 0.05
client = MQTTClient("logger", SERVER, PORT)
client.connect()
for i in range(8):
    if i % 2:
        reached("restart", sent=i)
    client.publish(b"log", b"line %d" % i)
print("published")
client.disconnect()
