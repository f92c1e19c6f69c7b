"""How the device is: free heap, uptime, what it has sent, how often it had to reconnect."""

import gc
import json
from time import ticks_add, ticks_diff, ticks_ms


class Health:
    """Publishes `<base>/health` every `period` ms, as JSON."""

    def __init__(self, client, base, period):
        self._client = client
        self._topic = client.topic(base + "/health")
        self._period = period
        self._due = self._last = ticks_ms()
        self._up = 0  # ms, counted here because ticks wrap

    def run(self, now):
        """Publish where it is due; returns the ms until it is."""
        self._up += ticks_diff(now, self._last)
        self._last = now
        if ticks_diff(self._due, now) <= 0:
            self._due = ticks_add(now, self._period)
            self._client.publish(self._topic, json.dumps(self.figures()))
        return ticks_diff(self._due, now)

    def figures(self):
        """What is published: bytes, seconds, counts."""
        client = self._client
        gc.collect()
        return {
            "uptime": self._up // 1000,
            "heap_free": gc.mem_free(),
            "heap_used": gc.mem_alloc(),
            "messages": client.session.messages,
            "bytes": client.session.bytes,
            "alias_saved": client.session.saved,
            "connects": client.connects,
        }
