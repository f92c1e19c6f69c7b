"""Several brokers, tried in turn; loaded where `Client` is given a list for `host`.

Each is a host name, `(host, port)`, or `"host:port"`. The first is tried first, also after a
connection that was stable; one that fails makes room for the next at once, and a pause comes
when all have failed.
"""

from .server_reference import address


class Brokers:
    """The brokers of one client; `dropped` is called when a connection has ended."""

    def __init__(self, client, hosts):
        self.all = [self._pair(host, client.port) for host in hosts]
        if not self.all:
            raise ValueError("host: an empty list")
        self._at = 0
        client.host, client.port = self.all[0]
        client._drops.append(self.dropped)

    @staticmethod
    def _pair(host, port):
        pair = address(host, port) if isinstance(host, str) else host
        if not pair or len(pair) != 2:
            raise ValueError("host: %s" % repr(host))
        return pair

    def dropped(self, client, lived):
        """Go on to the next, after a link that was up begin anew."""
        if not client._wanted or (client.host, client.port) != self.all[self._at]:
            return  # ended by us, or somewhere else by the broker's word
        self._at = 0 if lived else (self._at + 1) % len(self.all)
        client.host, client.port = self.all[self._at]
        if self._at:
            client._pause = 0


def attach(client, hosts):
    """Have a client try these."""
    Brokers(client, hosts)
