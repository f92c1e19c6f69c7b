"""Example of umqtt.simple: publish one message."""

from umqtt.simple import MQTTClient

from settings import PORT, SERVER


def main(server=SERVER):
    client = MQTTClient("umqtt_client", server, PORT)
    print(client.connect())
    client.publish(b"foo_topic", b"hello")
    client.disconnect()


main()
