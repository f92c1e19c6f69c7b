"""Where the broker sends us (4.11): 0x9C Use another server, for once; 0x9D Server moved, for good.

Loaded where `client.follow` is set and a connection has ended. With `follow = True` the first
of the broker's references is taken, `name`, `name:port` or `[address]:port`. A function that
chooses gets the whole reference. User name and password go there, too: know your broker.
"""

from micropython import const

_MOST = const(4)  # hops at once; then the back-off pauses
_STABLE = const(30000)  # ms


def address(reference, port):
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
    with client.session.guard:
        found = address(reference, client.port) if client.follow is True else client.follow(reference)
    return found


def moved(client, lived):
    """The connection has ended after so many ms: have the next one go where it should."""
    if not hasattr(client, "_trail"):
        client._trail = [0, None]  # hops, and the address to come back to
    trail = client._trail
    if lived > _STABLE:
        trail[0] = 0
    error = client.error
    reference = error.reference if hasattr(error, "reference") else None
    found = None
    if reference and error.code in (0x9C, 0x9D) and client._wanted and trail[0] < _MOST:
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
    client._pause = 0
