"""How the device is: its heap, its link, how often and why it was reset."""

import gc
import json
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from umqtt5.link_statistics import CAUSES, Counters

_IDLE = const(1000)  # ms


class Health:
    """Publishes `<base>/health` every `period` ms, as JSON. `reset` is why the board was reset."""

    def __init__(self, client, base, period, reset):
        self._client = client
        self._topic = client.topic(base + "/health")
        self._period = period
        self._reset = reset
        self._due = self._last = ticks_ms()
        self._up = 0  # ms, counted here because ticks wrap
        self._least = gc.mem_free()
        self._counters = Counters(client)
        self.more = None  # a function that adds to the figures

    def run(self, now):
        """Publish where it is due; returns the ms until it is."""
        self._up += ticks_diff(now, self._last)
        self._last = now
        if ticks_diff(self._due, now) <= 0:
            if not self._client.connected:
                return _IDLE
            self._due = ticks_add(now, self._period)
            self._client.publish(self._topic, json.dumps(self.figures()))
        return ticks_diff(self._due, now)

    def again(self):
        """It is due now."""
        self._due = self._last

    @property
    def up(self):
        """ms since the start."""
        return self._up

    def figures(self):
        """What is published: bytes, seconds, ms, counts."""
        client = self._client
        gc.collect()
        free = gc.mem_free()
        self._least = min(self._least, free)
        figures = {
            "uptime": self._up // 1000,
            "heap_free": free,
            "heap_used": gc.mem_alloc(),
            "heap_least": self._least,
            "messages": client.session.messages,
            "bytes": client.session.bytes,
            "alias_saved": client.session.saved,
            "connects": client.connects,
            "stall": self._counters.stall,
            "reset": self._reset,
        }
        for cause in CAUSES:
            if self._counters.drops[cause]:
                figures["drops_" + cause] = self._counters.drops[cause]
        if self.more:
            self.more(figures)
        self._counters.stall = 0  # the longest since the last time
        return figures
