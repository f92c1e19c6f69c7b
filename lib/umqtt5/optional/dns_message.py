"""DNS messages (RFC 1035): the query for the IPv4 addresses of a name, and the check of a response.

A name is handled in the format of the messages, without compression and in lower case: the length of a label
in one byte, the label, and so on; the end is a label of length 0.
"""

from micropython import const

_MAX_ALIASES = const(8)  # maximum length of a chain of CNAME records in one response

_A = const(1)
_CNAME = const(5)
_NOT_FOR_HOSTS = "/:@\\\"'()<>,;%[]"  # characters of a URL, or of an address, that was passed as a name


def is_ipv4(text):
    """Return True if `text` is an IPv4 address of four numbers."""
    parts = text.split(".")
    for part in parts:
        if not part.isdigit() or len(part) > 3 or int(part) > 255:
            return False
    return len(parts) == 4


def encode_name(name):
    """Return a host name in the format of DNS messages. Raises ValueError."""
    wire = b""
    label = ""
    for label in (name[:-1] if name.endswith(".") else name).split("."):
        if not 0 < len(label) < 64:
            raise ValueError("host: a label of %s is empty or longer than 63 characters" % repr(name))
        for character in label:
            if not "!" <= character <= "~":
                raise ValueError(
                    "host: %s must be ASCII: write an international name in its xn-- form" % repr(name)
                )
            if character in _NOT_FOR_HOSTS:
                raise ValueError("host: %s is not allowed in %s" % (repr(character), repr(name)))
        wire += bytes((len(label),)) + label.lower().encode()
    if len(wire) > 254:
        raise ValueError("host: %s is longer than 253 characters" % repr(name))
    if label.isdigit():
        raise ValueError("host: %s is not an IPv4 address" % repr(name))
    return wire + b"\0"


def make_query(name, query_id, is_multicast):
    """Return a query for the IPv4 addresses of an encoded name.

    A multicast query asks for a unicast response (RFC 6762, section 5.4).
    """
    return (
        query_id
        + (b"\0\0" if is_multicast else b"\1\0")  # recursion desired
        + b"\0\1\0\0\0\0\0\0"
        + name
        + (b"\0\1\x80\1" if is_multicast else b"\0\1\0\1")
    )


def parse_response(data, name, query_id, is_multicast):
    """Return (response code, addresses, TTL in seconds, alias), None if `data` does not answer the query.

    The addresses are str. `alias` is the encoded name that the last CNAME record points to, or `name` if
    there is none. The response code is the number in the message (section 4.1.1), -1 if the server does not
    answer completely: a truncated response, or a referral to other servers.
    """
    try:
        return _parse(data, name, query_id, is_multicast)
    except (IndexError, ValueError):
        return None  # malformed


def _parse(data, name, query_id, is_multicast):
    flags, code = data[2], data[3] & 15
    class_mask = 0x7F if is_multicast else 0xFF  # the first bit has another meaning in multicast DNS
    has_id = data[:2] == query_id or (is_multicast and data[:2] == b"\0\0")
    if not has_id or flags & 0xF8 != 0x80:  # a response to a standard query
        return None
    questions = data[4] << 8 | data[5]
    at = 12
    if questions == 1:
        owner, at = _read_name(data, at)
        if owner != name or data[at] or data[at + 1] != _A:
            return None
        if data[at + 2] & class_mask or data[at + 3] != 1:
            return None
        at += 4
    elif questions or not (is_multicast or code):
        return None
    if code:
        return None if is_multicast else (code, (), 0, name)
    records, aliases, is_complete = _read_records(data, at, class_mask)
    addresses = []
    ttl = 0x7FFFFFFF
    for _ in range(_MAX_ALIASES):
        for owner, address, seconds in records:
            if owner == name:
                addresses.append(address)
                ttl = min(ttl, seconds)
        if addresses or name not in aliases:
            break
        name, seconds = aliases[name]
        ttl = min(ttl, seconds)
    else:
        return None  # a loop
    usable = [address for address in addresses if address]
    if not addresses and not aliases and not flags & 4 and not data[3] & 0x80:
        is_complete = False  # neither authoritative nor recursive: the server refers to another server
    return (0 if usable or is_complete else -1), usable, ttl, name


def _read_records(data, at, class_mask):
    """Return the A records, the CNAME records by owner, and whether the response is complete.

    An A record is (owner, address, TTL). `address` is None if no host can have it.
    """
    records = []
    aliases = {}
    is_truncated = data[2] & 2
    for _ in range(data[6] << 8 | data[7]):
        try:
            owner, at = _read_name(data, at)
            start = at + 10
            end = start + (data[at + 8] << 8 | data[at + 9])
            if end > len(data):
                raise IndexError
        except IndexError:
            if is_truncated:
                break
            raise
        kind = data[at] << 8 | data[at + 1]
        # a TTL of 2**31 or more counts as 0 (RFC 2181, section 8)
        ttl = 0 if data[at + 4] & 0x80 else int.from_bytes(data[at + 4 : at + 8], "big")
        if not data[at + 2] & class_mask and data[at + 3] == 1:
            if kind == _A:
                if end - start != 4:
                    raise ValueError
                # 0.0.0.0 and from 224.0.0.0 on (multicast, reserved, broadcast) are not addresses of hosts
                is_host = 0 < data[start] < 224
                text = "%d.%d.%d.%d" % tuple(data[start:end]) if is_host else None
                records.append((owner, text, ttl))
            elif kind == _CNAME:
                target, behind = _read_name(data, start)
                if behind != end:
                    raise ValueError
                aliases[owner] = target, ttl
        at = end
    return records, aliases, not is_truncated


def _read_name(data, at):
    """Return the name at an offset, and the offset behind it. Raises IndexError or ValueError."""
    name = b""
    behind = 0
    limit = at
    while True:
        n = data[at]
        if n >= 0xC0:
            behind = behind or at + 2
            at = (n & 0x3F) << 8 | data[at + 1]
            if not 12 <= at < limit:  # a pointer points backwards, so there can't be a loop
                raise ValueError
            limit = at
        elif n >= 64:
            raise ValueError
        else:
            at += n + 1
            if at > len(data):
                raise IndexError
            name += data[at - n - 1 : at]
            if len(name) > 255:
                raise ValueError
            if not n:
                return name.lower(), behind or at
