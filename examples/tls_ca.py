"""Connects with TLS and checks the certificate of the broker. Needs a broker with TLS, and its CA."""

import settings
from clock import set_clock
from umqtt5 import Client, tls
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()
set_clock()

# without `ca`, tls.context raises ValueError: nobody would notice a false broker
context = tls.context(ca=settings.CA)
client = Client(settings.BROKER, settings.TLS_PORT, client_id=settings.CLIENT_ID, ssl=context)
client.connect()
print("connected, encrypted")
while True:
    client.publish("greenhouse/temperature", b"21.5", qos=1)
    wifi.poll(client.is_connected)
    client.poll(5000)
