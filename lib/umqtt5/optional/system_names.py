"""Names that the system knows: the DNS servers of the network interface, and the system's `getaddrinfo`."""

import socket
from errno import EHOSTUNREACH

from .dns_message import is_ipv4


def read_system(name):
    """Return the DNS servers of the system (None if it does not report them), and the address of the name.

    The address is None if the name is not in /etc/hosts.
    """
    try:
        import network
    except ImportError:
        from .unix_names import find_host, read_servers

        found = [server for server in read_servers() if is_ipv4(server)]
        return found or None, find_host(name)
    try:
        if hasattr(network, "ipconfig"):
            server = network.ipconfig("dns")
        else:
            server = network.WLAN(network.STA_IF).ifconfig()[3]
        if not is_ipv4(server):
            return None, None
    except Exception:  # the drivers of the ESP32 raise OSError and RuntimeError, other ports ValueError
        return None, None
    return [server] if server != "0.0.0.0" else [], None


def call_getaddrinfo(name):
    """Return the addresses of a name that the system finds, IPv4 first. Raises OSError."""
    found: list = []
    for info in socket.getaddrinfo(name, 1, 0, socket.SOCK_STREAM):
        address = info[-1]
        if isinstance(address, tuple):
            address = address[0]
        else:
            from .unix_names import format_address

            address = format_address(address)
        found.insert(0 if ":" not in address else len(found), address)
    if not found:
        raise OSError(EHOSTUNREACH, "no address")
    return found
