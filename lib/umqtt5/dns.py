"""Name resolution that does not block: DNS (RFC 1035) and one-shot multicast DNS (RFC 6762) over UDP.

The TCP transport looks up the host name of the client with this module. Other code uses it like this:

    from time import sleep_ms, ticks_ms
    from umqtt5 import dns

    lookup = dns.Lookup("pool.ntp.org")
    while not lookup.address:
        sleep_ms(lookup.step(ticks_ms()))  # raises OSError if no address is found
    print(lookup.address)

MicroPython's `getaddrinfo` blocks the whole program for about 7 s for each DNS server that does not answer.
Rules:

- The servers are asked in turn, one per second, until one of them answers or the timeout is over. Names that
  end in `.local` are also asked by multicast: first if they have two labels, last if they have more.
- Addresses are cached until their time to live is over, but returned at most 3 times: if no connection is
  possible, they may have changed. If a name has several addresses, each lookup returns the next one.
- The last known addresses are kept. If no server answers, or all servers fail, the lookup returns one of them
  after 2 s, or after half of its timeout. If a server answers that the name does not exist, the lookup fails.
- A response must have the identifier and the question of the query, and come from a server that was asked.
  Identifier and source port are random.
- `getaddrinfo` is used if the system does not report its DNS servers, never because servers do not answer. On
  CPython it runs in a thread, unless `servers` is set. On MicroPython's unix port it is also used if a server
  has just answered that the name has no address, because the system may know other names.
"""

import socket
import sys
from errno import ECONNABORTED, EHOSTUNREACH, EINVAL, ETIMEDOUT

from micropython import const

from .optional.dns_message import encode_name, is_ipv4, make_query, parse_response

if sys.implementation.name == "cpython":
    from .cpython.compat import ticks_ms
    from .cpython.system_query import SystemQuery
else:
    from time import ticks_ms

    SystemQuery = None  # type: ignore[assignment,misc]

# DNS servers: a list of IPv4 addresses, or of pairs (address, port). None means the server of the network
# interface (MicroPython reports only the first), or those in /etc/resolv.conf on the unix port.
servers = None
mdns_server = ("224.0.0.251", 5353)  # address and port of multicast queries

_PORT = const(53)
_INTERVAL = const(1000)  # ms between two queries
_LAST_ADDRESS_DELAY = const(2000)  # ms after which a lookup returns the last known address
_MAX_RESPONSE = const(512)  # bytes; longer responses are ignored (RFC 1035, section 4.2.1)
_MAX_READS = const(8)  # maximum number of datagrams read in one step
_MAX_QUESTIONS = const(8)  # maximum number of names asked for one name, because of CNAME records
_MAX_NAMES = const(8)  # maximum number of names in the cache
_MAX_USES = const(3)  # number of times that an address is returned before the name is looked up again
_MIN_TTL = const(2)  # s; after the lookup, the transport must find the address in the cache
_MAX_TTL = const(86400)  # s
_TICKS_MASK = const(0x3FFFFFFF)
_NAME_ERROR = const(3)
_CODES = (
    "",
    "FORMERR",
    "SERVFAIL",
    "",
    "NOTIMP",
    "REFUSED",
    "incompletely",
)  # by response code; the last is -1

_cache: dict = {}  # `_Entry` by encoded name


class LookupPending(OSError):
    """Raised by a transport that must first look up a host name. `lookup` is the `Lookup`.

    The client runs the lookup, then calls the transport again.
    """

    def __init__(self, lookup):
        super().__init__(ETIMEDOUT, lookup.name + ": the name lookup has not ended yet")
        self.lookup = lookup


class _Entry:
    """The addresses of a name. They are fresh until `ms` after the ticks `since`, for `uses` lookups."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.at = 0  # index of the next address
        self.since = ticks_ms()
        self.ms = self.uses = 0

    def set_fresh(self, now, ttl):
        self.since = now
        self.ms = min(max(ttl, _MIN_TTL), _MAX_TTL) * 1000
        self.uses = _MAX_USES * len(self.addresses)

    def get_address(self, is_use):
        """Return the next address. Unless `is_use`, the next call returns the same one."""
        address = self.addresses[self.at]
        if is_use:
            self.at = (self.at + 1) % len(self.addresses)
            self.uses -= 1
        return address


def _store(key, addresses):
    """Return a new entry of the cache."""
    entry = _Entry(addresses)
    old = _cache.get(key)
    if old:  # begin with the address that would be next, because the last one may not be reachable
        if old.addresses[old.at] in addresses:
            entry.at = addresses.index(old.addresses[old.at])
    elif len(_cache) >= _MAX_NAMES:
        del _cache[max(_cache, key=lambda key: (entry.since - _cache[key].since) & _TICKS_MASK)]
    _cache[key] = entry
    return entry


def remember(name, addresses):
    """Store the last known addresses of a name, a list of IPv4 addresses (str), for example after a restart.

    They are used if no DNS server answers. Raises ValueError if the name or an address is not valid.
    """
    for address in addresses or ("",):
        if not is_ipv4(address):
            raise ValueError("addresses: %s is not an IPv4 address" % repr(address))
    _store(encode_name(name), list(addresses))


def resolve(host):
    """Return the address of a host for a transport; an address is returned unchanged.

    Raises LookupPending if the address must be looked up first, OSError if it can't be looked up, and
    PermanentError if `host` is not a valid name.
    """
    try:
        lookup = Lookup(host)
    except ValueError as error:
        from .optional.permanent_error import PermanentError

        raise PermanentError(EINVAL, str(error))
    if not lookup.address:
        lookup.is_use = False  # this function will be called again, and use the address
        raise LookupPending(lookup)
    return lookup.address


class Lookup:
    """A lookup of the address of a name.

    `address` is None until the address is known. This may be at once: if `name` is an address or "localhost",
    or if the cache has its address. `pollable` is the object that `select.poll` reports as readable when an
    answer has arrived. It is None before the first `step` and after the lookup. `timeout` in ms limits the
    lookup. It can be changed until the first `step`.

    Raises ValueError if `name` is not valid or `dns.servers` contains a name, and OSError if there is no
    DNS server.
    """

    address = None
    pollable = None
    is_use = True  # whether the next lookup of this name returns another address
    _start = None  # ticks of the first step
    _due = 0  # ms from the first step to the next query
    _turn = 0  # number of queries sent
    _questions = 0  # number of names asked because of CNAME records
    _reason = None  # number and text of the error of a server
    _system_query = None  # `SystemQuery` instead of DNS queries, only on CPython

    def __init__(self, name, timeout=10000):
        self.name = name
        self.timeout = timeout
        if is_ipv4(name) or (name.count(":") > 1 and "/" not in name):
            self.address = name  # IPv4 or IPv6
            return
        self._key = self._question = encode_name(name)
        self._is_local = self._key.endswith(b"\5local\0")
        if self._key.endswith(b"\x09localhost\0"):  # RFC 6761, section 6.3
            self.address = "127.0.0.1"
            return
        entry = _cache.get(self._key)
        now = ticks_ms()
        if entry and entry.uses > 0 and (now - entry.since) & _TICKS_MASK < entry.ms:
            self.address = entry.get_address(True)
            return
        self._is_system = servers is None
        if not SystemQuery or not self._is_system:
            self._choose_servers(now)

    def _choose_servers(self, now):
        """Set the servers to ask. If the system does not report any, call `getaddrinfo`."""
        found = servers
        if self._is_system:
            from .optional.system_names import read_system

            found, self.address = read_system(self.name.lower())
            if self.address:
                return
        self._servers = [_parse_server(server) for server in found or ()]
        self._mdns = None
        if self._is_local:
            # multicast names have two labels as a rule, and others may be known to a DNS server
            at = 0 if self._key[self._key[0] + 1 :] == b"\5local\0" else len(self._servers)
            self._mdns = _parse_server(mdns_server)
            self._servers.insert(at, self._mdns)
        elif found is None:
            self._ask_system(now)
        elif not found:
            self._fail(now, EHOSTUNREACH, "no DNS server is known. Is the network up?")

    def step(self, now):
        """Send the next query if it is due, and read the answers. `now` is `time.ticks_ms()`.

        Returns the number of ms until the next step is due, unless `pollable` is ready earlier. Returns 0 if
        `address` is known. Raises OSError if the lookup has failed.
        """
        wait = 0
        try:
            if not self.address:
                if self._start is None:
                    self._open()
                    self._start = now
                else:
                    self._receive(now)
                if not self.address:
                    wait = self._send_if_due(now)
        except OSError:
            self.close()
            raise
        if self.address:
            self.close()
        return wait

    def close(self):
        """End the lookup."""
        if self.pollable:
            self.pollable.close()
            self.pollable = None

    def _open(self):
        """Open the socket on a random port."""
        if SystemQuery and self._is_system:
            self._system_query = SystemQuery(self.name)
            self.pollable = self._system_query.pollable
            return
        self.pollable = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.pollable.setblocking(False)
        self._query_id = _random(2)
        for _ in range(_MAX_READS):
            port = 0xC000 | int.from_bytes(_random(2), "big")
            try:
                self.pollable.bind(_socket_address("0.0.0.0", port))
                return
            except OSError:
                pass  # the port is in use. If all are, the system chooses one

    def _send_if_due(self, now):
        """Send a query if it is due. Returns the ms until the next step, 0 if the lookup has ended."""
        elapsed = (now - self._start) & _TICKS_MASK
        limit = int(self.timeout)
        if self._key in _cache:
            limit = min(_LAST_ADDRESS_DELAY, limit >> 1)
        limit = max(1, limit)  # the first step must not end the lookup, because `pollable` is None then
        if elapsed >= limit:
            number, text = self._reason or (ETIMEDOUT, "no DNS server answered")
            if self._is_local and not self._reason:
                text = "no device in this network answered (mDNS)"
            self._fail(now, number, text)
            return 0
        if self._system_query:
            return limit - elapsed
        if elapsed >= self._due:
            self._send(now)
        return min(limit, self._due) - elapsed

    def _send(self, now):
        """Send a query to the next server."""
        server = self._servers[self._turn % len(self._servers)]
        self._turn += 1
        self._due = ((now - self._start) & _TICKS_MASK) + _INTERVAL
        query = make_query(self._question, self._query_id, server is self._mdns)
        try:
            self.pollable.sendto(query, server[1])
        except OSError as error:
            self._reason = error.errno, "no DNS query could be sent. Is the network up?"

    def _receive(self, now):
        """Read the datagrams that have arrived."""
        if self._system_query:
            addresses = self._system_query.addresses()
            if addresses:
                self._finish(addresses, 0, now)
            elif addresses is not None:
                self._fail(now, ETIMEDOUT, "no DNS server answered")
            return
        for _ in range(_MAX_READS):
            try:
                data, source = self.pollable.recvfrom(_MAX_RESPONSE + 1)
            except OSError:
                return  # nothing has arrived
            if 0 < len(data) <= _MAX_RESPONSE:
                self._check(data, _split_address(source), now)
            if self.address:
                return
        if not data:
            # on ESP32, a socket that has received an empty datagram returns nothing else from then on
            self._fail(now, ECONNABORTED, "the socket for DNS queries has failed")

    def _check(self, data, source, now):
        """Check a response, and use it if it is valid."""
        for server in self._servers:
            # a device answers a multicast query from its own address and the port of multicast DNS
            if source == server[2] or (server is self._mdns and source[1] == server[2][1]):
                break
        else:
            return
        response = parse_response(data, self._question, self._query_id, server is self._mdns)
        if response is None:
            return
        code, addresses, ttl, alias = response
        if addresses:
            self._finish(addresses, ttl, now)
        elif server is self._mdns:
            return
        elif not code and alias != self._question and self._questions < _MAX_QUESTIONS:
            self._questions += 1
            self._question = alias
            self._query_id = _random(2)
            self._send(now)
        elif self._is_local or code not in (0, _NAME_ERROR):
            self._skip_server(server, code, now)
        elif not SystemQuery and self._is_system and hasattr(socket, "AF_UNIX"):
            self._ask_system(now)  # does not block for long, because the server answers
        else:
            text = "unknown host (NXDOMAIN)" if code else "the DNS has no IPv4 address for this name"
            raise OSError(EHOSTUNREACH, "%s: %s" % (self.name, text))

    def _skip_server(self, server, code, now):
        """Ask the other servers, because this one has failed."""
        if not self._is_local:
            words = _CODES[code] if code < 6 else "with error %d" % code
            self._reason = EHOSTUNREACH, "DNS server %s answers %s" % (server[0], words)
        self._servers.remove(server)
        if self._servers:
            self._send(now)
        else:
            self._fail(now, *self._reason)

    def _ask_system(self, now):
        """Use the addresses that `getaddrinfo` returns."""
        from .optional.system_names import call_getaddrinfo

        try:
            addresses = call_getaddrinfo(self.name)
        except OSError:
            if self._start is None:  # no server has answered that there is no address
                self._fail(now, EHOSTUNREACH, "unknown host")
            else:
                raise OSError(EHOSTUNREACH, self.name + ": unknown host (NXDOMAIN)")
        else:
            self._finish(addresses, 0, now)

    def _finish(self, addresses, ttl, now):
        """Store the addresses and return one of them."""
        entry = _store(self._key, addresses)
        entry.set_fresh(now, ttl)
        self.address = entry.get_address(self.is_use)

    def _fail(self, now, number, text):
        """Use the last known address. Raises OSError if there is none."""
        entry = _cache.get(self._key)
        if not entry:
            raise OSError(number, "%s: %s" % (self.name, text))
        entry.set_fresh(now, 0)
        self.address = entry.get_address(self.is_use)


def _parse_server(server):
    """Return (IP address, socket address, `_split_address` of it). Raises ValueError if it is a name."""
    address, port = (server, _PORT) if isinstance(server, str) else server
    if not is_ipv4(address):
        raise ValueError("dns.servers: %s is not an IPv4 address" % repr(address))
    found = _socket_address(address, port)
    return address, found, _split_address(found)


def _socket_address(address, port):
    """Return an IP address and a port in the format of this port of MicroPython."""
    return socket.getaddrinfo(address, port)[0][-1]  # does not ask a server


def _split_address(address):
    """Return (IP address, port) of a socket address, in a format that only serves to compare them."""
    if isinstance(address, tuple):
        return address[:2]
    return bytes(address[4:8]), bytes(address[2:4])  # on the unix port: a sockaddr_in


def _random(n):
    """Return `n` random bytes."""
    from os import urandom

    return urandom(n)
