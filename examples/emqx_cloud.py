"""EMQX Cloud (Serverless or Dedicated): TLS, user name and password. Needs a deployment with one user.

In settings.py: BROKER is the address of the deployment, such as x0123abc.ala.eu-central-1.emqxsl.com. USER
and PASSWORD are those under Access Control. CA is the certificate on the page of the deployment.
"""

import settings
from clock import set_clock
from umqtt5 import Client, Message, MQTTError, tls
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()
set_clock()

client = Client(
    settings.BROKER,  # a name, not an address: the cloud finds the deployment by it
    settings.TLS_PORT,
    client_id=settings.CLIENT_ID,
    user=settings.USER,
    password=settings.PASSWORD,
    ssl=tls.context(ca=settings.CA),
    keep_alive=60,
)


@client.on("example/set", qos=1)
def handle(message: Message) -> None:
    print("received", message.payload)


try:
    client.connect()
except MQTTError as error:  # for example, the password is wrong
    print("refused:", error)
    raise
while True:
    client.publish("example/temperature", b"21.5", qos=1)
    wifi.poll(client.is_connected)
    client.poll(5000)
