"""HiveMQ Cloud: TLS, user name and password. Needs a cluster with access credentials.

In settings.py: BROKER is the host name of the cluster, such as 0123abcd.s1.eu.hivemq.cloud. USER and PASSWORD
are its credentials. CA is the root certificate ISRG Root X1 (https://letsencrypt.org/certs/isrgrootx1.pem).
"""

import settings
from clock import set_clock
from umqtt5 import Client, Message, tls
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()
set_clock()

client = Client(
    settings.BROKER,  # a name, not an address: the cloud finds the cluster by it
    settings.TLS_PORT,
    client_id=settings.CLIENT_ID,
    user=settings.USER,
    password=settings.PASSWORD,
    ssl=tls.context(ca=settings.CA),
)


@client.on("example/set", qos=1)
def handle(message: Message) -> None:
    print("received", message.payload)


client.connect()
while True:
    client.publish("example/temperature", b"21.5", qos=1)
    wifi.poll(client.is_connected)
    client.poll(5000)
