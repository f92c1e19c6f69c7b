"""Publishes a reading, then sleeps for a minute and starts again. Needs a board and a broker."""

import machine

import settings
from umqtt5 import Client
from umqtt5.wifi import Wifi

SLEEP = 60_000  # ms
AWAKE = 15_000  # ms to find the network; without it the battery would be empty soon

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
try:
    if wifi.wait(AWAKE):
        # the broker keeps the session while the board sleeps, and with it messages for its subscriptions
        client = Client(
            settings.BROKER,
            settings.PORT,
            client_id=settings.CLIENT_ID,
            clean_start=False,
            session_expiry=3600,
            timeout=5000,
        )
        client.connect()
        if client.publish("well/level", b"1.73", qos=1, retain=True, wait=5000):
            print("acknowledged")
        client.disconnect()
    else:
        print("Wi-Fi:", wifi.status)
except Exception as error:  # the board must sleep, whatever happens
    print("not published:", error)
wifi.stop()
machine.deepsleep(SLEEP)  # the board starts again, with boot.py and main.py
