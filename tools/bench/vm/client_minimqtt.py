"""Benchmark adapter of MiniMQTT: one message at a time, no QoS 2, with `recv` instead of `recv_into`."""

import socket

from adafruit_minimqtt.adafruit_minimqtt import MQTT

ALIASES = False
WAIT = 0.01  # seconds; the timeout of `loop` must not be shorter than that of the socket


class Client:
    """Adapter with the interface of client_baseline."""

    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.topic = topic
        self.payload = payload
        self.mqtt = MQTT(
            broker="127.0.0.1", port=port, client_id="bench", socket_pool=Pool(), socket_timeout=WAIT
        )
        self.mqtt.on_message = self.on_message
        self.mqtt.connect()

    def on_message(self, client, topic, payload):
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
        self.mqtt.loop(WAIT)

    def idle(self, n):
        for _ in range(n):
            self.mqtt.loop(WAIT)

    def close(self):
        self.mqtt.disconnect()


class Pool:
    """CircuitPython's socket pool, in which an address is a tuple of host and port."""

    SOCK_STREAM = socket.SOCK_STREAM

    def getaddrinfo(self, host, port, family, kind):
        return [(socket.AF_INET, kind, 0, "", (host, port))]

    def socket(self, family, kind):
        return Socket(socket.socket(family, kind))


class Socket:
    """A socket whose `connect` accepts a tuple of host and port."""

    def __init__(self, sock):
        self._sock = sock
        self.send = sock.send
        self.recv = sock.recv
        self.close = sock.close
        self.settimeout = sock.settimeout

    def connect(self, address):
        self._sock.connect(socket.getaddrinfo(address[0], address[1])[0][-1])
