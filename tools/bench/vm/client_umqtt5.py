"""Benchmark adapter of umqtt5: default buffer sizes, except a larger outbox for 20 messages in flight."""

import umqtt5

ALIASES = True


class Client:
    """Adapter with the interface of client_baseline."""

    inflight = 8  # maximum number of unacknowledged messages; the outbox has 256 bytes for each
    make_journal = None  # function that attaches a journal to a client and returns the journal

    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.acknowledged = 0
        sizes = {"outbox": 256 * self.inflight, "inflight": self.inflight, "aliases": 8 * aliased}
        self.mqtt = umqtt5.Client("127.0.0.1", port, client_id="bench", **sizes)
        self.mqtt.on_ack = self.on_ack
        self.journal = self.make_journal(self.mqtt) if self.make_journal else None
        self.mqtt.connect()
        self.topic = self.mqtt.topic(topic)
        self.payload = payload
        if aliased:
            self.mqtt.publish(self.topic, payload)

    def on_ack(self, answer):
        self.acknowledged += 1

    def on_message(self, message):
        self.count.increment()

    def publish(self, topic, payload):
        self.mqtt.publish(topic, payload)

    def subscribe(self, topic):
        subscription = self.mqtt.subscribe(topic, self.on_message)
        while subscription.reason is None:
            self.mqtt.poll(0)

    def qos0(self, n):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            while not mqtt.publish(topic, payload):
                mqtt.poll(0)

    def qos1(self, n, qos=1):
        mqtt = self.mqtt
        for _ in range(n):
            self.acknowledged = 0
            mqtt.publish(self.topic, self.payload, qos)
            while not self.acknowledged:
                mqtt.poll(0)

    def qos2(self, n):
        self.qos1(n, 2)

    def qos1_window(self, n):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        self.acknowledged = 0
        for _ in range(n):
            while not mqtt.publish(topic, payload, 1):
                mqtt.poll(0)
        while self.acknowledged < n:
            mqtt.poll(0)

    def poll(self):
        self.mqtt.poll(0)

    def idle(self, n):
        for _ in range(n):
            self.mqtt.poll(0)

    def close(self):
        self.mqtt.disconnect()
