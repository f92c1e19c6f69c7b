"""AWS IoT: a thing with a certificate and a key publishes its state and receives the desired one."""

import json

from lab import reached
from umqtt.simple import MQTTClient

from settings import CERT_FILE, KEY_FILE, MUTUAL_TLS_PORT, SERVER

THING = "thing-1"

with open(KEY_FILE, "rb") as file:
    key = file.read()
with open(CERT_FILE, "rb") as file:
    cert = file.read()
state = {"led": "off"}


def report(client):
    client.publish("things/" + THING, json.dumps({"state": {"reported": state}}), qos=1)


def on_message(topic, msg):
    state.update(json.loads(msg)["state"])
    print("desired", topic, state)


client = MQTTClient(
    client_id=THING,
    server=SERVER,
    port=MUTUAL_TLS_PORT,
    keepalive=1200,
    ssl=True,
    ssl_params={"cert": cert, "key": key, "server_side": False},
)
client.set_callback(on_message)
client.connect()
client.subscribe("things/" + THING + "/delta", qos=1)
report(client)
reached("reported")
client.wait_msg()
report(client)
client.disconnect()
