"""Example of umqtt.simple: publish over TLS with `ssl=True`, without a check of the certificate."""

from umqtt.simple import MQTTClient

from settings import SERVER, TLS_PORT


def main(server=SERVER):
    client = MQTTClient(
        "umqtt_client",
        server=server,
        port=TLS_PORT,
        user="name",
        password="secret",
        keepalive=60,
        ssl=True,
        ssl_params={"server_hostname": server},
    )
    client.connect()
    client.publish(b"foo_topic", b"hello")
    client.disconnect()
    print("done")


main()
