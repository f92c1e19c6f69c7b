"""Example of umqtt.simple: switch a LED by messages."""

import binascii

import machine
from lab import reached
from machine import Pin
from umqtt.simple import MQTTClient

from settings import PORT, SERVER

led = Pin(2, Pin.OUT, value=1)  # the LED lights at level 0
CLIENT_ID = binascii.hexlify(machine.unique_id())
TOPIC = b"led"
state = 0


def on_message(topic, msg):
    global state
    print((topic, msg))
    if msg == b"on":
        led.value(0)
        state = 1
    elif msg == b"off":
        led.value(1)
        state = 0
    elif msg == b"toggle":
        led.value(state)
        state = 1 - state
    elif msg == b"end":
        raise KeyboardInterrupt


client = MQTTClient(CLIENT_ID, SERVER, PORT)
client.set_callback(on_message)
client.connect()
client.subscribe(TOPIC)
reached("subscribed")
try:
    while True:
        client.wait_msg()
except KeyboardInterrupt:
    print("interrupted")
finally:
    client.disconnect()
