"""What a device may tell of its link; loaded where it is used.

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
    """Counts from now on, in fixed memory; all modulo 2**30.

    `drops` are the ends of connections and of tries to connect, by cause: `refused` by the
    broker at CONNECT, `broker` by its DISCONNECT, `protocol` for what it did wrong, `timeout` of
    a wait, `network` for any other OSError, `ours` by `disconnect`. `stall` is the longest time
    in ms that the program did not poll.
    """

    def __init__(self, client):
        self._client = client
        self.drops = dict([(cause, 0) for cause in DISCONNECT_CAUSES])
        self.max_poll_gap = 0
        self._polled = -1  # when a poll has returned
        self._poll = client.poll
        client.poll = self.poll
        client._disconnect_hooks.append(self._dropped)

    def poll(self, timeout=0):
        """`Client.poll`, whose place it takes."""
        ticks = self._client._ticks_ms
        if self._polled >= 0:
            self.max_poll_gap = max(self.max_poll_gap, (ticks() - self._polled) & _MASK)
        try:
            return self._poll(timeout)
        finally:
            self._polled = ticks()

    def _dropped(self, client, uptime_ms):
        self.drops[disconnect_cause(client, uptime_ms)] += 1

    def snapshot(self):
        """All of it as a new dict, bytes and ms."""
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


def disconnect_cause(client, uptime_ms):
    """Which of the causes has ended a connection that was up for so many ms, 0 for never."""
    error = client.error
    if error is None:
        return "ours"
    if isinstance(error, MQTTError):
        if not error.from_broker:
            return "protocol"
        return "broker" if uptime_ms else "refused"
    return "timeout" if error.errno == ETIMEDOUT else "network"
