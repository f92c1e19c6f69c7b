"""A temperature and a lamp in Home Assistant, announced by MQTT discovery.

Needs a broker, and Home Assistant with its MQTT integration connected to it.
"""

import json

import settings
from umqtt5 import Client, Message
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()

client = Client(settings.BROKER, settings.PORT, client_id=settings.CLIENT_ID)
client.will("shed/status", b"offline", retain=True)  # Home Assistant shows the device as unavailable

SENSOR = {
    "p": "sensor",
    "uniq_id": "shed-t",
    "dev_cla": "temperature",
    "unit_of_meas": "°C",
    "stat_t": "shed/t",
}
LAMP = {
    "p": "switch",
    "uniq_id": "shed-lamp",
    "name": "Lamp",
    "stat_t": "shed/lamp",
    "cmd_t": "shed/lamp/set",
}
DISCOVERY = {
    "dev": {"ids": "shed", "name": "Shed"},
    "o": {"name": "umqtt5"},
    "avty_t": "shed/status",
    "cmps": {"temperature": SENSOR, "lamp": LAMP},
}


@client.on("shed/lamp/set", qos=1)
def switch_lamp(message: Message) -> None:
    client.publish("shed/lamp", message.payload, qos=1, retain=True)  # switch your lamp here


@client.on("homeassistant/status")
def announce(message: "Message | None" = None) -> None:  # also when Home Assistant starts
    client.publish("homeassistant/device/shed/config", json.dumps(DISCOVERY), qos=1, retain=True)
    client.publish("shed/status", b"online", qos=1, retain=True)


client.connect()
announce()
while True:
    client.publish("shed/t", b"21.5", qos=1)
    wifi.poll(client.is_connected)
    client.poll(10000)
