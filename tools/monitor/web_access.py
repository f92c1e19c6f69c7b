"""Access to the page of the monitor: the token of the link, the Host and the Origin of a request."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _split_host(header: str) -> tuple[str, str]:
    """Return host and port of a Host header, in lower case; two empty texts if it is malformed."""
    host, port = header.lower(), ""
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return "", ""
        port = port[1:]
    elif ":" in host:
        host, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return "", ""
    return host, port


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


class Access:
    """Decides which requests may use the page.

    A web page of another site can send requests to this computer from the browser of the user. With DNS
    rebinding it can even read the responses, because its own name then leads here. Therefore a request must
    name this computer by an address or by a name of its own (Host), commands must come from the page itself
    (Origin), and a request must have the token.
    """

    def __init__(self, token: str, is_on_network: bool) -> None:
        self._token = token.encode()
        self._is_on_network = is_on_network
        name = socket.gethostname().lower()
        self._names = {*_LOOPBACK, name, f"{name.partition('.')[0]}.local"} if is_on_network else {*_LOOPBACK}

    def allows_token(self, token: str) -> bool:
        """Return whether the token is right. The comparison takes the same time for each wrong one."""
        return secrets.compare_digest(token.encode(errors="replace"), self._token)

    def allows_host(self, header: str) -> bool:
        """Return whether a Host header names this computer. An address cannot be rebound, a name can."""
        host, _ = _split_host(header)
        return host in self._names or (self._is_on_network and _is_address(host))

    def allows_origin(self, origin: str, host: str) -> bool:
        """Return whether an Origin header is that of the page, which was loaded from `host`."""
        scheme, separator, origin_host = origin.partition("://")
        return (
            scheme == "http"
            and bool(separator)
            and self.allows_host(host)
            and _split_host(origin_host) == _split_host(host)
            and _split_host(host) != ("", "")
        )


def find_network_address(bound_to: str) -> str:
    """Return the address under which other computers reach a server that is bound to `bound_to`."""
    if not ipaddress.ip_address(bound_to).is_unspecified:
        return bound_to
    is_v6 = ":" in bound_to
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    # a UDP socket selects the interface and sends nothing; the addresses are reserved for documentation
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("2001:db8::1" if is_v6 else "192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "::1" if is_v6 else "127.0.0.1"
