"""Benchmark adapter of chumicro-mqtt: each call of `handle` does one step of work; no QoS 2."""

from time import ticks_ms

from chumicro_mqtt import MQTTClient
from chumicro_sockets.sockets_factory import fixed_connector_factory

ALIASES = False


class Client:
    """Adapter with the interface of client_baseline."""

    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.topic = topic
        self.payload = payload
        self.acknowledged = 0
        self.pending_acks = 0
        connector = fixed_connector_factory("127.0.0.1", port)
        self.mqtt = mqtt = MQTTClient(transport_factory=connector, client_id="bench", rx_buffer_size=1024)
        self.ready = False
        mqtt.on_connect = self.on_ready
        mqtt.on_subscribe = self.on_ready
        mqtt.on_message = self.on_message
        mqtt.connect()
        self.until_ready()

    def until_ready(self):
        while not self.ready:
            self.poll()
            if self.mqtt.last_error:
                raise self.mqtt.last_error

    def on_ready(self, *arguments):
        self.ready = True

    def on_message(self, topic, payload):
        self.count.increment()

    def on_ack(self, topic, payload):
        self.pending_acks -= 1

    def publish(self, topic, payload):
        self.mqtt.publish(topic, payload)
        self.poll()

    def subscribe(self, topic):
        self.ready = False
        self.mqtt.subscribe(topic)
        self.until_ready()

    def qos0(self, n):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            mqtt.publish(topic, payload)
            mqtt.handle(ticks_ms())

    def qos1(self, n, most=1):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            self.pending_acks += 1
            mqtt.publish(topic, payload, qos=1, on_publish=self.on_ack)
            mqtt.handle(ticks_ms())
            while self.pending_acks >= most:
                mqtt.handle(ticks_ms())
        while self.pending_acks:
            mqtt.handle(ticks_ms())

    def qos1_window(self, n):
        self.qos1(n, 20)

    def poll(self):
        now = ticks_ms()
        if self.mqtt.check(now):
            self.mqtt.handle(now)

    def idle(self, n):
        for _ in range(n):
            self.poll()

    def close(self):
        self.mqtt.disconnect()
