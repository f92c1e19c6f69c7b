"""The crash report is published, even if heap, outbox or broker allow only a part of it."""

from app.crash_report import publish
from umqtt5 import MQTTError


class Client:
    """A client that accepts at most `limit` bytes and otherwise raises `error`."""

    def __init__(self, limit=5000, error=MemoryError):
        self.limit, self.error = limit, error
        self.sent = None

    def publish(self, topic, payload, qos, retain):
        if len(payload) > self.limit:
            raise self.error
        self.sent = payload
        return 7


def write(size):
    with open("report", "wb") as file:
        file.write(b"x" * (size - 4) + b"end\n")


def test_the_whole_report_is_published():
    client = Client()
    write(800)
    assert publish(client, "t", "report") == 7 and client.sent == b"x" * 796 + b"end\n"


def test_the_end_of_a_report_is_published_if_the_report_is_too_large():
    for error in (MemoryError(), ValueError("outbox"), MQTTError(0x95)):
        for limit, expected in ((1500, 1500), (1499, 750), (400, 375), (200, 187)):
            client = Client(limit, error)
            write(3000)
            assert publish(client, "t", "report") == 7
            assert len(client.sent) == expected and client.sent[-4:] == b"end\n"


def test_a_report_that_cannot_be_published_is_given_up():
    write(1500)
    assert publish(Client(50), "t", "report") == -1


def test_a_missing_or_empty_report_is_not_published():
    open("report", "wb").close()
    client = Client()
    assert publish(client, "t", "report") == -1 and publish(client, "t", "none") == -1
    assert client.sent is None
