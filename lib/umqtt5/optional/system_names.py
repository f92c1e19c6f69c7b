"""Names that the system knows: the DNS servers of the network interface, and the system's `getaddrinfo`."""

import socket


def read_system(name):
    """Return the DNS servers of the system (None if it does not report them), and the address of the name.

    The address is None if the name is not in /etc/hosts.
    """
    try:
        import network
    except ImportError:
        from .unix_names import find_host, read_servers

        return read_servers(), find_host(name)
    try:
        if hasattr(network, "ipconfig"):
            server = network.ipconfig("dns")
        else:
            server = network.WLAN(network.STA_IF).ifconfig()[3]
    except (AttributeError, OSError, ValueError):
        return None, None
    if server == "0.0.0.0":
        return [], None
    return [server] if ":" not in server else None, None


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
    return found
