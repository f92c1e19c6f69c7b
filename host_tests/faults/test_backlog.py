"""A client that was offline receives more QoS 2 messages than it can store identifiers for."""

from __future__ import annotations

import time

from host_tests.conftest import require_mosquitto
from tools.broker import Mosquitto
from umqtt5 import Client

COUNT = 1500


def test_a_backlog_of_messages_arrives_although_the_receive_maximum_is_exceeded() -> None:
    """mosquitto 2.0 ignores the Receive Maximum when it resumes a session, so the client ends it with 0x93.

    The broker must receive the acknowledgements before each connection ends. Otherwise it sends the same
    messages again.
    """
    require_mosquitto()
    numbers: list[int] = []
    answers: list[int] = []
    with Mosquitto("max_queued_messages 0") as broker:
        address = broker.address.host, broker.address.port
        client = Client(*address, client_id="offline", inflight=8, rx=256)
        client.max_reconnect_delay = 100
        client.on_ack = lambda answer: answers.append(answer.reason)
        subscription = client.subscribe(
            "backlog", lambda message: numbers.append(int(message.payload[:4])), 2
        )
        client.connect()
        while subscription.reason is None:
            client.poll(20)
        client.disconnect()
        with Client(*address, outbox=16384, inflight=60) as sender:
            for number in range(COUNT):
                while not sender.publish("backlog", b"%04d" % number + bytes(80), qos=1 + number % 2):
                    sender.poll(5)
            while sender.session.outbox.count:
                sender.poll(5)
        client.publish("status", b"back", qos=2)
        client.connect(wait=False)
        deadline = time.monotonic() + 60
        while (len(set(numbers)) < COUNT or not answers) and time.monotonic() < deadline:
            client.poll(20)
        client.disconnect()
    assert set(numbers) == set(range(COUNT)), (len(set(numbers)), client.connection_count)
    assert len(numbers) < COUNT * 1.02, len(numbers)  # mosquitto may repeat messages: decision 0009
    assert answers == [0]
