"""ThingSpeak: connect, publish one reading, disconnect, sleep; each time with another client."""

import gc

import network
from dht import DHT22
from machine import Pin, deepsleep
from umqtt.simple import MQTTClient

from settings import PORT, SERVER

CHANNEL = "123456"
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect("home", "secret")
while not wlan.isconnected():
    pass
print("address", wlan.ifconfig()[0])
sensor = DHT22(Pin(4))
topic = "channels/" + CHANNEL + "/publish"
client = MQTTClient(b"", SERVER.encode(), PORT, user="", password="")
for _ in range(4):
    gc.collect()
    sensor.measure()
    client.connect()
    client.publish(
        topic, "field1=%.1f&field2=%.1f&status=MQTTPUBLISH" % (sensor.temperature(), sensor.humidity())
    )
    client.disconnect()
    client.sock.close()
    client = MQTTClient(b"device", SERVER, PORT, user=None, password="ignored")
deepsleep(20000)
