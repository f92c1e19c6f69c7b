"""Node-RED: a dashboard sends JSON commands and asks for values; the program polls its socket."""

import json
import select

from lab import reached
from machine import ADC, Pin
from umqtt.simple import MQTTClient

from settings import PORT, SERVER

led, light = Pin(2, Pin.OUT), ADC(Pin(26))
running = True


def on_message(topic, msg):
    global running
    command = json.loads(msg)
    print(topic.decode().split("/")[-1], sorted(command.items()))
    if topic == b"dash/led":
        led.value(command["on"])
    elif topic == b"dash/ask":
        client.publish("device/light", json.dumps({"value": light.read_u16(), "id": command["id"]}))
    elif topic == b"dash/stop":
        running = False


client = MQTTClient("device", SERVER, PORT, keepalive=30)
client.set_callback(on_message)
client.connect()
client.subscribe(b"dash/#", qos=1)
poller = select.poll()
poller.register(client.sock, select.POLLIN)
print("idle", poller.poll(20))
reached("subscribed")
count = 0
while running:
    for _ in poller.poll(5000):
        client.check_msg()
        count += 1
print("polled", count)
poller.unregister(client.sock)
print(type(client.sock.fileno()).__name__)
client.disconnect()
