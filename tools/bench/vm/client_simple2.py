"""Benchmark adapter of umqtt.simple2: QoS 1 with a callback for each acknowledgement, no QoS 2."""

from umqtt.simple2 import MQTTClient

ALIASES = False


class Client:
    """Adapter with the interface of client_baseline."""

    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.mqtt = MQTTClient(b"bench", "127.0.0.1", port, keepalive=60)
        self.mqtt.set_callback(self.on_message)
        self.mqtt.set_callback_status(self.on_ack)
        self.mqtt.connect()
        self.pending_acks = 0
        self.topic = topic.encode()
        self.payload = payload

    def on_message(self, topic, payload, retain, dup):
        self.count.increment()

    def on_ack(self, packet_id, status):
        self.pending_acks -= 1

    def publish(self, topic, payload):
        self.mqtt.publish(topic.encode(), payload)

    def subscribe(self, topic):
        self.pending_acks = 1
        self.mqtt.subscribe(topic.encode())
        while self.pending_acks:
            self.mqtt.wait_msg()

    def qos0(self, n):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            mqtt.publish(topic, payload)

    def qos1(self, n, most=1):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        self.pending_acks = 0
        for _ in range(n):
            self.pending_acks += 1
            mqtt.publish(topic, payload, False, 1)
            while self.pending_acks >= most:
                mqtt.wait_msg()
        while self.pending_acks:
            mqtt.wait_msg()

    def qos1_window(self, n):
        self.qos1(n, 20)

    def poll(self):
        self.mqtt.check_msg()

    def idle(self, n):
        for _ in range(n):
            self.mqtt.check_msg()

    def close(self):
        self.mqtt.disconnect()
