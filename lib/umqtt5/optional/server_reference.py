"""Where the broker sends us (4.11): 0x9C Use another server, for once; 0x9D Server moved, for good.

Loaded where `client.follow_redirects` is set and a connection has ended. With `follow_redirects = True` the first
of the broker's references is taken, `name`, `name:port` or `[address]:port`. A function that
chooses gets the whole reference. User name and password go there, too: know your broker.
"""

from micropython import const

_MOST = const(4)  # hops at once; then the back-off pauses
_STABLE = const(30000)  # ms


def parse_reference(reference, port):
    """Host and port of the first of these references, None where there is none."""
    name = (reference.split() or ("",))[0]
    if name.startswith("["):
        name, bracket, after = name[1:].partition("]")
        colon, digits = after[:1] if bracket else "]", after[1:]
    else:
        name, colon, digits = name.partition(":")
    if colon:
        if colon != ":" or not digits.isdigit() or not 0 < int(digits[:6]) < 65536:
            return None
        port = int(digits)
    return (name, port) if name else None


def _chosen(client, reference):
    """The user's choice, or ours."""
    found = None
    with client.session.catch_errors:
        found = (
            parse_reference(reference, client.port)
            if client.follow_redirects is True
            else client.follow_redirects(reference)
        )
    return found


def redirect(client, uptime_ms):
    """The connection has ended after so many ms: have the next one go where it should."""
    if not hasattr(client, "_redirects"):
        client._redirects = [0, None]  # hops, and the address to come back to
    trail = client._redirects
    if uptime_ms > _STABLE:
        trail[0] = 0
    error = client.error
    reference = error.server_reference if hasattr(error, "server_reference") else None
    found = None
    if reference and error.code in (0x9C, 0x9D) and client._should_connect and trail[0] < _MOST:
        found = _chosen(client, reference)
    if not found:
        trail[0] = 0
        if trail[1]:  # it was for once
            client.host, client.port = trail[1]
            trail[1] = None
        return
    trail[0] += 1
    if error.code == 0x9D:
        trail[1] = None
    elif not trail[1]:
        trail[1] = (client.host, client.port)
    client.host, client.port = found
    client.error = None  # `connect` goes on
    client._reconnect_delay = 0
