"""Azure Event Grid (MQTT broker of a namespace): TLS with a client certificate, user name. Needs a client.

In settings.py: BROKER is the MQTT host name of the namespace, such as
shed.westeurope-1.ts.eventgrid.azure.net, USER the authentication name of the client, CERT and KEY its
certificate and private key, CA the root certificate DigiCert Global Root G3
(https://cacerts.digicert.com/DigiCertGlobalRootG3.crt.pem). The permission bindings of the namespace must
allow the client to publish and to subscribe to the topics.
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
    settings.BROKER,  # a name, not an address: the namespace is found by it
    settings.TLS_PORT,
    client_id=settings.CLIENT_ID,
    user=settings.USER,
    ssl=tls.context(ca=settings.CA, cert=settings.CERT, key=settings.KEY),
)


@client.on("shed/set", qos=1)  # Azure Event Grid has no QoS 2
def handle(message: Message) -> None:
    print("received", message.payload)


client.connect()
while True:
    client.publish("shed/temperature", b"21.5", qos=1)
    wifi.poll(client.is_connected)
    client.poll(10000)
