"""Health metrics: publishes uptime, free heap, connection statistics and the reset cause of the device."""

import gc
import json
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from umqtt5.link_statistics import DISCONNECT_CAUSES, LinkStatistics

from .publishing import dropped, publish

_IDLE = const(1000)  # ms


class Health:
    """Publisher of the metrics to `<base>/health`, every `period` ms; `reset_cause` is one of the metrics."""

    memory_errors = 0  # number of rounds in which a part of the device had not enough memory
    missing: list = []  # names of the parts for which there was not enough memory at the start

    def __init__(self, client, base, period, reset_cause):
        self._client = client
        self._topic = client.topic(base + "/health")
        self._period = period
        self._reset_cause = reset_cause
        self._due = self._last = ticks_ms()
        self._uptime = 0  # ms; added up here because ticks wrap around
        self._heap_free_min = gc.mem_free()
        self.statistics = LinkStatistics(client, False)  # `Node.step` measures: one nested call less
        self.add_metrics = None  # function that adds metrics to the dict

    def run(self, now):
        """Publish the metrics if they are due; returns the time in ms until the next call."""
        self._uptime += ticks_diff(now, self._last)
        self._last = now
        if ticks_diff(self._due, now) <= 0:
            if not self._client.is_connected:
                self._due = now  # ticks wrap around: later this past time would look like a future time
                return _IDLE
            self._due = ticks_add(now, self._period)
            publish(self._client, self._topic, json.dumps(self._collect()))
        return ticks_diff(self._due, now)

    def publish_now(self):
        """Publish the metrics at the next `run`."""
        self._due = self._last

    @property
    def uptime_ms(self):
        """Uptime in ms; does not wrap around."""
        return self._uptime

    def _collect(self):
        """Return the metrics as a dict. `uptime` is in seconds, `heap_*` in bytes, `stall` in ms."""
        client = self._client
        gc.collect()
        free = gc.mem_free()
        self._heap_free_min = min(self._heap_free_min, free)
        metrics = {
            "uptime": self._uptime // 1000,
            "heap_free": free,
            "heap_used": gc.mem_alloc(),
            "heap_free_min": self._heap_free_min,
            "messages": client.session.messages_sent,
            "bytes": client.session.bytes_sent,
            "alias_saved": client.session.bytes_saved,
            "connects": client.connection_count,
            "stall": self.statistics.max_poll_gap,
            "reset": self._reset_cause,
        }
        for cause in DISCONNECT_CAUSES:
            if self.statistics.drops[cause]:
                metrics["drops_" + cause] = self.statistics.drops[cause]
        if self.memory_errors:
            metrics["memory_errors"] = self.memory_errors
        if dropped:
            metrics["dropped"] = len(dropped)  # number of topics
        if self.missing:
            metrics["missing"] = " ".join(self.missing)
        if self.add_metrics:
            self.add_metrics(metrics)
        self.statistics.max_poll_gap = 0  # `stall` is the longest time between polls since the last report
        return metrics
