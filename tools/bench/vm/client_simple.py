"""Benchmark adapter of umqtt.simple: one message at a time, no QoS 2."""

from umqtt.simple import MQTTClient

ALIASES = False


class Client:
    """Adapter with the interface of client_baseline."""

    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.mqtt = MQTTClient(b"bench", "127.0.0.1", port, keepalive=60)
        self.mqtt.set_callback(self.on_message)
        self.mqtt.connect()
        self.topic = topic.encode()
        self.payload = payload

    def on_message(self, topic, payload):
        self.count.increment()

    def publish(self, topic, payload):
        self.mqtt.publish(topic, payload)

    def subscribe(self, topic):
        self.mqtt.subscribe(topic)

    def qos0(self, n):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            mqtt.publish(topic, payload)

    def qos1(self, n):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            mqtt.publish(topic, payload, False, 1)

    def poll(self):
        self.mqtt.wait_msg()

    def idle(self, n):
        for _ in range(n):
            self.mqtt.check_msg()

    def close(self):
        self.mqtt.disconnect()
