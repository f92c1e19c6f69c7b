"""Link statistics: counts connections, messages, bytes and disconnects by cause, for a health topic.

statistics = LinkStatistics(client)
...
client.publish("device/link", json.dumps(statistics.snapshot()))
"""

from errno import ETIMEDOUT

from micropython import const

from .core.errors import MQTTError

_MASK = const(0x3FFFFFFF)
DISCONNECT_CAUSES = ("refused", "broker", "protocol", "timeout", "network", "ours")


class LinkStatistics:
    """Counters of the link, in fixed memory, modulo 2**30.

    `drops` counts ended connections and failed tries to connect, by cause: `refused` by the broker at
    CONNECT, `broker` for a DISCONNECT from the broker, `protocol` for a protocol error of the broker,
    `timeout`, `network` for any other OSError, `ours` for `disconnect`. `max_poll_gap` is the longest time in
    ms from the end of one `poll` to the start of the next; you may set it to 0. `drops` and `max_poll_gap`
    start when this object is created. The counters of messages, bytes and connections start when the client
    is created.
    """

    def __init__(self, client, replace_poll=True):
        """Start to count. Without `replace_poll`, call `before_poll` and `after_poll` around each `poll`."""
        self._client = client
        self.drops = dict([(cause, 0) for cause in DISCONNECT_CAUSES])
        self.max_poll_gap = 0
        self._polled = -1  # ticks when the last poll returned
        if replace_poll:
            self._poll = client.poll
            client.poll = self.poll
        client._disconnect_hooks.append(self._count_drop)

    def poll(self, timeout=0):
        """Call `Client.poll` and measure the time since the last call. Replaces `Client.poll`."""
        self.before_poll()
        try:
            return self._poll(timeout)
        finally:
            self.after_poll()

    def before_poll(self):
        """Measure the time since the last `poll`."""
        if self._polled >= 0:
            gap = (self._client._ticks_ms() - self._polled) & _MASK
            self.max_poll_gap = max(self.max_poll_gap, gap)

    def after_poll(self):
        """Begin to measure the time until the next `poll`."""
        self._polled = self._client._ticks_ms()

    def _count_drop(self, client, uptime_ms):
        self.drops[_disconnect_cause(client, uptime_ms)] += 1

    def snapshot(self):
        """Return all counters as a new dict; sizes in bytes, times in ms."""
        session = self._client.session
        figures = {
            "connects": self._client.connection_count,
            "stall": self.max_poll_gap,
            "messages": session.messages_sent,
            "messages_received": session.messages_received,
            "bytes": session.bytes_sent,
            "bytes_received": session.bytes_received,
            "bytes_saved_by_aliases": session.bytes_saved,
            "resent": session.messages_resent,
            "refused": session.messages_refused,
        }
        for name in DISCONNECT_CAUSES:
            figures["drops_" + name] = self.drops[name]
        return figures


def _disconnect_cause(client, uptime_ms):
    """Return why the connection has ended. It was up for `uptime_ms`, 0 if never."""
    error = client.error
    if error is None:
        return "ours"
    if isinstance(error, MQTTError):
        if not error.from_broker:
            return "protocol"
        return "broker" if uptime_ms else "refused"
    return "timeout" if getattr(error, "errno", 0) == ETIMEDOUT else "network"
