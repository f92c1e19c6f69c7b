"""Answers requests at clock/time, and sends a request itself. Needs a broker."""

import time

import settings
from umqtt5 import Client, Message
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()

client = Client(settings.BROKER, settings.PORT, client_id=settings.CLIENT_ID)


def tell_time(message: Message) -> bytes:
    hour, minute, second = time.localtime()[3:6]
    return b"%02d:%02d:%02d" % (hour, minute, second)


# MQTT 5.0 has a response topic and correlation data, so any MQTT 5.0 client can ask
client.responder("clock/time", tell_time)
client.connect()
while True:
    try:
        # another device would answer; here it is the function above
        print("it is", client.request("clock/time", b"", timeout=5000).decode())
    except OSError as error:
        print("no response:", error)
    wifi.poll(client.is_connected)
    client.poll(5000)
