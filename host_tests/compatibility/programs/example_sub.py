"""Example of umqtt.simple: wait for messages, then look for messages without waiting."""

import time

from lab import reached
from umqtt.simple import MQTTClient

from settings import PORT, SERVER

heard = []


def on_message(topic, msg):
    print((topic, msg))
    heard.append(msg)


client = MQTTClient("umqtt_client", SERVER, PORT)
client.set_callback(on_message)
client.connect()
client.subscribe(b"foo_topic")
reached("subscribed")
for _ in range(3):
    client.wait_msg()
    print("heard", len(heard))
reached("three")
while len(heard) < 5:
    client.check_msg()
    time.sleep_ms(5)
print(client.check_msg())
client.disconnect()
