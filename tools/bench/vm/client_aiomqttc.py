"""Benchmark adapter of aiomqttc (asyncio, no QoS 2). The client checks for a PUBACK every 100 ms."""

import asyncio
import builtins

builtins.TimeoutError = asyncio.TimeoutError  # aiomqttc uses the built-in name, which MicroPython lacks

from aiomqttc import MQTTClient  # noqa: E402

ALIASES = False


class Client:
    """Adapter with the interface of client_baseline."""

    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.topic = topic
        self.payload = payload
        self.run = asyncio.get_event_loop().run_until_complete
        self.mqtt = MQTTClient("bench", "127.0.0.1", port)
        self.mqtt.on_message = self.on_message
        if not self.run(self.mqtt.connect()):
            raise OSError("not connected")

    async def on_message(self, client, topic, payload, retain):
        self.count.increment()

    def publish(self, topic, payload):
        self.run(self.mqtt.publish(topic, payload, 0))

    def subscribe(self, topic):
        self.run(self.mqtt.subscribe(topic))
        self.run(self._idle(100))

    def qos0(self, n):
        self.run(self._publish(n, 0))

    def qos1(self, n):
        self.run(self._publish(n, 1))

    def qos1_window(self, n):
        self.run(self._window(n))

    async def _publish(self, n, qos):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            await mqtt.publish(topic, payload, qos)

    async def _window(self, n):
        while n > 0:
            await asyncio.gather(*[self.mqtt.publish(self.topic, self.payload, 1) for _ in range(min(n, 20))])
            n -= 20

    def poll(self):
        self.run(self._idle(1))

    def idle(self, n):
        self.run(self._idle(n))

    async def _idle(self, n):
        for _ in range(n):
            await asyncio.sleep_ms(0)

    def close(self):
        self.run(self.mqtt.disconnect())
