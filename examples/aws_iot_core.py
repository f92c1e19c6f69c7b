"""AWS IoT Core: TLS with a client certificate. Needs a thing with certificate, private key and policy.

In settings.py: BROKER is the endpoint of the account, such as 0123abcd-ats.iot.eu-central-1.amazonaws.com,
CLIENT_ID the name of the thing, CERT and KEY its certificate and private key, CA the root certificate Amazon
Root CA 1 (https://www.amazontrust.com/repository/AmazonRootCA1.pem). The policy of the thing must allow
iot:Connect for this client identifier, and iot:Publish, iot:Subscribe and iot:Receive for the topics.
"""

import json

import settings
from clock import set_clock
from umqtt5 import Client, Message, tls
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()
set_clock()

# port 443 needs alpn="x-amzn-mqtt-ca", which MicroPython 1.29 does not have
context = tls.context(ca=settings.CA, cert=settings.CERT, key=settings.KEY)
client = Client(settings.BROKER, settings.TLS_PORT, client_id=settings.CLIENT_ID, ssl=context)
shadow = "$aws/things/" + settings.CLIENT_ID + "/shadow/update"


@client.on(shadow + "/delta", qos=1)  # AWS IoT Core has no QoS 2
def change(message: Message) -> None:
    wanted = json.loads(message.payload)["state"]
    print("wanted", wanted)
    client.publish(shadow, json.dumps({"state": {"reported": wanted}}), qos=1)


client.connect()
while True:
    client.publish(shadow, json.dumps({"state": {"reported": {"temperature": 21.5}}}), qos=1)
    wifi.poll(client.is_connected)
    client.poll(10000)
