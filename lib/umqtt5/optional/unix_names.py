"""Names on MicroPython's unix port: /etc/hosts, and the DNS servers in /etc/resolv.conf."""

import socket

HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"


def _read_fields(path):
    """Return the fields of each line of a file, without comments; [] if there is no such file."""
    try:
        with open(path) as file:
            return [line.partition("#")[0].split() for line in file]
    except OSError:
        return []


def read_servers():
    """Return the addresses of the DNS servers."""
    return [f[1] for f in _read_fields(RESOLV_CONF) if len(f) > 1 and f[0] == "nameserver"]


def find_host(name):
    """Return the address of a name in the hosts file, None if it is not there. Prefers IPv4."""
    found = None
    for fields in _read_fields(HOSTS):
        if name in [field.lower() for field in fields[1:]]:
            if ":" not in fields[0]:
                return fields[0]
            found = found or fields[0]
    return found


def format_address(address):
    """Return the IP address in a socket address of the unix port, which is a bytearray."""
    found = socket.sockaddr(address)  # type: ignore[attr-defined]
    return socket.inet_ntop(found[0], found[1])  # type: ignore[attr-defined]
