"""Benchmark adapter of mqtt_as (asyncio, MQTT 3.1.1, no QoS 2).

The client looks for messages every 5 ms, and for a PUBACK every 100 ms.
"""

import asyncio

import mqtt_as
from mqtt_as import MQTTClient, config

ALIASES = False


class NoCollection:
    """Replacement for the module `gc`: a collection once per second would hide what the client allocates."""

    def collect(self):
        pass


mqtt_as.gc = NoCollection()


class Client:
    """Adapter with the interface of client_baseline."""

    def __init__(self, port, topic, payload, count, aliased):
        self.count = count
        self.topic = topic
        self.payload = payload
        self.run = asyncio.get_event_loop().run_until_complete
        settings = dict(config)
        settings.update(
            {"client_id": "bench", "server": "127.0.0.1", "port": port, "subs_cb": self.on_message}
        )
        self.mqtt = MQTTClient(settings)
        self.run(self.mqtt.connect(quick=True))

    def on_message(self, topic, payload, retained):
        self.count.increment()

    def publish(self, topic, payload):
        self.run(self.mqtt.publish(topic, payload))

    def subscribe(self, topic):
        self.run(self.mqtt.subscribe(topic))

    def qos0(self, n):
        self.run(self._publish(n, 0))

    def qos1(self, n):
        self.run(self._publish(n, 1))

    def qos1_window(self, n):
        self.run(self._window(n))

    async def _publish(self, n, qos):
        mqtt, topic, payload = self.mqtt, self.topic, self.payload
        for _ in range(n):
            await mqtt.publish(topic, payload, qos=qos)

    async def _window(self, n):
        publish, topic, payload = self.mqtt.publish, self.topic, self.payload
        while n > 0:
            await asyncio.gather(*[publish(topic, payload, qos=1) for _ in range(min(n, 20))])
            n -= 20

    def poll(self):
        self.run(self._wait())

    async def _wait(self):
        await asyncio.sleep_ms(20)  # a task reads the messages; a loop without a pause would only allocate

    def idle(self, n):
        self.run(self._idle(n))

    async def _idle(self, n):
        for _ in range(n):
            await asyncio.sleep_ms(0)

    def close(self):
        self.run(self.mqtt.disconnect())
