"""Example of umqtt.simple: publish one message."""

from settings import PORT, SERVER
from umqtt.simple import MQTTClient


def main(server=SERVER):
    client = MQTTClient("umqtt_client", server, PORT)
    print(client.connect())
    client.publish(b"foo_topic", b"hello")
    client.disconnect()


main()
