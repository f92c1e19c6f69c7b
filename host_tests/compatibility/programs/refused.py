"""A program that shows why the broker refuses it, and tries another password."""

from umqtt.simple import MQTTClient, MQTTException

from settings import PASSWORD_PORT, SERVER

client = MQTTClient("guest", SERVER, PASSWORD_PORT, user="me", password="wrong")
for password in ("wrong", b"right"):
    client.pswd = password
    try:
        print("connected", client.connect())
        client.publish("in", "hello")
        client.disconnect()
    except MQTTException as error:
        print("refused", error.args, error)
