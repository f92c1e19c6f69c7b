"""Runs in the VM to find the smallest heap: imports umqtt5, connects, publishes a hundred messages."""

from umqtt5 import Client


def main(port):
    """Publish a hundred messages at QoS 0, 1 and 2 in turn, and wait until all are acknowledged."""
    client = Client("127.0.0.1", port, client_id="bench", rx=256, tx=256, outbox=512, inflight=4)
    client.connect()
    topic = client.topic("building-7/room-12/humidity")
    for i in range(100):
        while not client.publish(topic, b"21.5", i % 3):
            client.poll(0)
    while client.session.outbox.count:
        client.poll(0)
    client.disconnect()
    print('BENCH {"done": true}')
