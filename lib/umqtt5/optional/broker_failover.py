"""Broker failover: several brokers, tried in turn, `Client([host, ...])`.

Each broker is a host name, "host:port" or (host, port). If a broker fails, the next is tried at once. When
all brokers have failed, the client waits as usual before the next try. After an established connection is
lost, the client begins with the first broker again.
"""

from ..core.wire import check_int
from .server_reference import parse_reference


class BrokerFailover:
    """The brokers of one client, and the number of the one in use."""

    def __init__(self, client, hosts):
        if not isinstance(hosts, (list, tuple)):
            _raise_host_error(hosts)
        self.brokers = [self._parse(host, client.port) for host in hosts]
        if not self.brokers:
            raise ValueError("host must not be an empty list")
        self._at = 0
        client.host, client.port = self.brokers[0]
        client._disconnect_hooks.append(self._choose_next)

    @staticmethod
    def _parse(host, port):
        """Return (host, port) of a broker. Raises ValueError, TypeError."""
        pair = parse_reference(host, port) if isinstance(host, str) else host
        if isinstance(host, str) and (not pair or "/" in host or host.split() != [host]):
            _raise_host_error(host)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
            _raise_host_error(pair)
        check_int("port", pair[1], 65535)
        return pair

    def _choose_next(self, client, uptime_ms):
        """Disconnect hook: choose the broker for the next connection."""
        if not client._should_connect or (client.host, client.port) != self.brokers[self._at]:
            return  # `disconnect` was called, or the broker has redirected the client
        self._at = 0 if uptime_ms else (self._at + 1) % len(self.brokers)
        client.host, client.port = self.brokers[self._at]
        if self._at:
            client._reconnect_delay = 0


def _raise_host_error(host):
    from .argument_errors import check_host

    if not isinstance(host, (list, tuple)):
        check_host(host)
    raise ValueError('host must be a list of "name", "name:port" or (name, port): %s' % repr(host))


def attach(client, hosts):
    """Let a client try these brokers. Raises ValueError."""
    BrokerFailover(client, hosts)
