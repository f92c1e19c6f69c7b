"""umqtt.simple2: QoS 1 with a callback for each acknowledgement, no QoS 2."""

from umqtt.simple2 import MQTTClient

ALIASES = False


class Client:
    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.mqtt = MQTTClient(b"bench", "127.0.0.1", port, keepalive=60)
        self.mqtt.set_callback(self.got)
        self.mqtt.set_callback_status(self.acked)
        self.mqtt.connect()
        self.owed = 0
        self.topic = topic.encode()
        self.payload = payload

    def got(self, topic, payload, retain, dup):
        self.count.one()

    def acked(self, packet_id, status):
        self.owed -= 1

    def publish(self, topic, payload):
        self.mqtt.publish(topic.encode(), payload)

    def subscribe(self, topic):
        self.owed = 1
        self.mqtt.subscribe(topic.encode())
        while self.owed:
            self.mqtt.wait_msg()

    def qos0(self, n):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            mqtt.publish(topic, payload)

    def qos1(self, n, most=1):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        self.owed = 0
        for _ in range(n):
            self.owed += 1
            mqtt.publish(topic, payload, False, 1)
            while self.owed >= most:
                mqtt.wait_msg()
        while self.owed:
            mqtt.wait_msg()

    def window(self, n):
        self.qos1(n, 20)

    def pump(self):
        self.mqtt.check_msg()

    def idle(self, n):
        for _ in range(n):
            self.mqtt.check_msg()

    def close(self):
        self.mqtt.disconnect()
