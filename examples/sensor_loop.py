"""Publishes a reading every 5 seconds, and the state of the device. Needs a broker."""

import random

import settings
from umqtt5 import Client
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()

client = Client(settings.BROKER, settings.PORT, client_id=settings.CLIENT_ID)
client.on_state = lambda client, connected, error: print("connected" if connected else error)
client.will("greenhouse/status", b"offline", retain=True)  # published by the broker if the device disappears
temperature = client.topic("greenhouse/temperature")  # a handle: publishing to it allocates no memory


def read_temperature() -> float:
    return 20 + random.getrandbits(5) / 10  # replace this by your sensor


client.connect(wait=False)  # in the background: `poll` reconnects, too
client.publish("greenhouse/status", b"online", qos=1, retain=True)
while True:
    client.publish(temperature, b"%.1f" % read_temperature(), qos=1)
    for _ in range(5):
        wifi.poll(client.is_connected)  # joins the network again after a loss
        client.poll(1000)  # instead of sleep(1): sends, receives and reconnects
