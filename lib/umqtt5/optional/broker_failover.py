"""Several brokers, tried in turn; loaded where `Client` is given a list for `host`.

Each is a host name, `(host, port)`, or `"host:port"`. The first is tried first, also after a
connection that was stable; one that fails makes room for the next at once, and a pause comes
when all have failed.
"""

from .server_reference import parse_reference


class BrokerFailover:
    """The brokers of one client; `dropped` is called when a connection has ended."""

    def __init__(self, client, hosts):
        self.brokers = [self._pair(host, client.port) for host in hosts]
        if not self.brokers:
            raise ValueError("host: an empty list")
        self._at = 0
        client.host, client.port = self.brokers[0]
        client._disconnect_hooks.append(self.dropped)

    @staticmethod
    def _pair(host, port):
        pair = parse_reference(host, port) if isinstance(host, str) else host
        if not pair or len(pair) != 2:
            raise ValueError("host: %s" % repr(host))
        return pair

    def dropped(self, client, uptime_ms):
        """Go on to the next, after a link that was up begin anew."""
        if not client._should_connect or (client.host, client.port) != self.brokers[self._at]:
            return  # ended by us, or somewhere else by the broker's word
        self._at = 0 if uptime_ms else (self._at + 1) % len(self.brokers)
        client.host, client.port = self.brokers[self._at]
        if self._at:
            client._reconnect_delay = 0


def attach(client, hosts):
    """Have a client try these."""
    BrokerFailover(client, hosts)
