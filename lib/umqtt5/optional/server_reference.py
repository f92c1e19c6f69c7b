"""Server Reference, redirection to another broker (section 4.11): 0x9C Use another server, 0x9D Server moved.

The client uses this module if `client.follow_redirects` is set. True selects the first of the broker's
references: `name`, `name:port` or `[address]:port`. A function gets all references as one str, and returns
(host, port), or None to ignore them. The client sends user name and password to the other server as well.

With 0x9C the redirection applies to one connection, with 0x9D to all later connections.
"""

from micropython import const

_MAX_REDIRECTS = const(4)  # maximum number of redirections in a row without a pause
_STABLE = const(30000)  # ms; a connection that lasts longer ends the row


def parse_reference(reference, port):
    """Return (host, port) of the first reference, None if it is not valid. `port` is the default."""
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


def _choose(client, reference):
    """Return the (host, port) to connect to, or None to ignore the references."""
    found = None
    with client.session.catch_errors:
        found = (
            parse_reference(reference, client.port)
            if client.follow_redirects is True
            else client.follow_redirects(reference)
        )
    return found


def redirect(client, uptime_ms):
    """Choose the server of the next connection. The last connection was up for `uptime_ms`, 0 if never."""
    if not hasattr(client, "_redirects"):
        client._redirects = [0, None]  # redirects in a row; (host, port) to return to after 0x9C
    redirects = client._redirects
    if uptime_ms > _STABLE:
        redirects[0] = 0
    error = client.error
    reference = error.server_reference if hasattr(error, "server_reference") else None
    found = None
    if reference and error.code in (0x9C, 0x9D) and client._should_connect and redirects[0] < _MAX_REDIRECTS:
        found = _choose(client, reference)
    if not found:
        redirects[0] = 0
        if redirects[1]:  # a redirection by 0x9C was for one connection
            client.host, client.port = redirects[1]
            redirects[1] = None
        return
    redirects[0] += 1
    if error.code == 0x9D:
        redirects[1] = None
    elif not redirects[1]:
        redirects[1] = (client.host, client.port)
    client.host, client.port = found
    client.error = None  # so that a `connect` that waits does not raise it
    client._reconnect_delay = 0
