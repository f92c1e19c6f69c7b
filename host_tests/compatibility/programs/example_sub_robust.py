"""Example of umqtt.robust: a stored session receives what was published while the broker was away."""

from lab import reached
from umqtt.robust import MQTTClient

from settings import PORT, SERVER


def on_message(topic, msg):
    print((topic, msg))


MQTTClient.DELAY = 0.05
client = MQTTClient("umqtt_client", SERVER, PORT)
client.set_callback(on_message)
if not client.connect(clean_session=False):
    print("new session")
    client.subscribe(b"foo_topic", 1)
reached("subscribed")
client.wait_msg()
reached("restart")
for _ in range(2):
    client.wait_msg()
client.disconnect()

second = MQTTClient("umqtt_client", SERVER, PORT)
second.set_callback(on_message)
reached("away")
print("stored session:", second.connect(clean_session=False))
second.wait_msg()
second.disconnect()
