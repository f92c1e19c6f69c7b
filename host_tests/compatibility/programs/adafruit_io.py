"""Adafruit IO: send readings to a feed, receive a slider, at most so many messages a minute."""

import time

from dht import DHT22
from lab import reached
from machine import ADC, Pin
from umqtt.simple import MQTTClient, MQTTException

from settings import PORT, SERVER

USER = "maker"
KEY = "aio_0123456789abcdef"
FEED = bytes("{:s}/feeds/{:s}".format(USER, "temperature"), "utf-8")
SLIDER = bytes("{:s}/feeds/{:s}".format(USER, "slider"), "utf-8")
ERRORS = bytes("{:s}/errors".format(USER), "utf-8")

client = MQTTClient(
    client_id=b"kitchen", server=SERVER, port=PORT, user=USER, password=KEY, keepalive=60, ssl=False
)
sensor, light = DHT22(Pin(4)), ADC(Pin(34))
levels = []


def on_message(topic, msg):
    if topic == SLIDER:
        levels.append(int(str(msg, "utf-8")))
        print("slider", levels[-1])
    else:
        print("message", topic, msg)


client.set_callback(on_message)
try:
    client.connect()
except (OSError, MQTTException) as error:
    print("could not connect", type(error).__name__)
    raise SystemExit
client.subscribe(SLIDER)
client.subscribe(ERRORS)
reached("subscribed")
sent = time.ticks_ms() - 1000
while len(levels) < 3:
    if time.ticks_diff(time.ticks_ms(), sent) >= 0:
        sensor.measure()
        client.publish(topic=FEED, msg=str(sensor.temperature()))
        client.publish(FEED + b"-light", bytes(str(light.read_u16()), "utf-8"))
        print("sent", sensor.temperature())
        sent = time.ticks_ms() + 100000
    client.check_msg()
    time.sleep_ms(1)
client.disconnect()
