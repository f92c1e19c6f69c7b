"""Stores readings on flash until the broker has acknowledged them, also across a power cut. Needs a broker.

Stop the broker or the board and start it again: each reading arrives, in order.
"""

import time

import settings
from umqtt5 import Client
from umqtt5.journal import Journal
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print

# the broker keeps the session for a day, so that it recognizes what it has received already
client = Client(
    settings.BROKER, settings.PORT, client_id=settings.CLIENT_ID, session_expiry=86400, clean_start=False
)
journal = Journal(client, "outbox")  # the files outbox.0 and outbox.1
print("restored:", journal.restored_count)
client.on_state = lambda client, connected, error: print("connected" if connected else error)

is_started = False
while True:
    # 0: the outbox is full, and this reading is lost. Client(outbox=, inflight=) makes it larger
    if not client.publish("meter/reading", b"%d" % time.time(), qos=1):
        print("not stored:", journal.error or "the outbox is full")
    for _ in range(5):
        if wifi.poll(client.is_connected) and not is_started:
            client.connect(wait=False)
            is_started = True
        client.poll(1000)
        if not client.is_connected:
            time.sleep(0.1)
