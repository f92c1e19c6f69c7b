"""Import, connect and a hundred publishes, for the smallest heap in which they succeed."""

from umqtt5 import Client


def main(port):
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
