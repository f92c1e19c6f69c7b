"""Checks the names in the config that concern the network: the broker's host, time servers and the Wi-Fi.

`config` loads this module, and unloads it.
"""

_SECURE = ("mqtts", "ssl", "tls", "wss", "https", "tcps")


def find_host_error(host, field="broker"):
    """Return what to write instead of `host`, None if it is a host name or an IP address.

    `field` is the object that also has the fields `port`, `user` and `tls`, "" if there is none.
    """
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "", host
    name = rest.split("/")[0]
    user, at, name = name.rpartition("@")
    name, port = _split_port(name)
    clean = "".join(name.split())
    if clean == host:
        return _find_name_error(host)
    if not clean or _find_name_error(clean):
        return "a host name or an IP address, such as 192.168.1.10"
    text = 'only the host name or IP address: write "%s"' % clean
    if field:
        if port:
            text += ", and %s.port: %s" % (field, port)
        if user:
            text += ", and %s.user" % field
        if scheme in _SECURE:
            text += ", and %s.tls for TLS" % field
    return text


def _split_port(name):
    """Return (name, port); the port is "" if there is none. An IPv6 address has no brackets afterwards."""
    if name[:1] == "[" and "]" in name:
        name, _, port = name[1:].partition("]")
        return name, port[1:]
    if name.count(":") == 1:
        name, _, port = name.partition(":")
        return name, port
    return name, ""


def _find_name_error(name):
    if ":" in name:
        for c in name.partition("%")[0].lower():
            if c not in "0123456789abcdef:.":
                return "a host name or an IP address, such as 192.168.1.10"
        return None
    is_address = True
    labels = (name[:-1] if name[-1:] == "." else name).split(".")
    for label in labels:
        is_address = is_address and label.isdigit()
        if not 0 < len(label) < 64 or label[0] == "-" or label[-1] == "-":
            return "a host name or an IP address, such as 192.168.1.10"
        for c in label:
            if not (c.isalpha() or c.isdigit() or c in "-_") or ord(c) > 127:
                return "letters, digits, dots and hyphens; an international name in its xn-- form"
    if is_address and (len(labels) != 4 or max([int(label) for label in labels]) > 255):
        return "an IP address of 4 numbers from 0 to 255, such as 192.168.1.10"
    return None


def find_wifi_error(wifi):
    """Return (field, expected value) for the first wrong field of the object `wifi`, otherwise None."""
    size = len(wifi["ssid"].encode())
    if size > 32:
        return "ssid", "at most 32 bytes in UTF-8, these are %d" % size
    password = wifi["password"].encode()
    if not password or 8 <= len(password) <= 63:
        return None
    if len(password) == 64:
        for c in password:
            if c not in b"0123456789abcdefABCDEF":
                break
        else:
            return None
    return "password", '8 to 63 characters, or 64 hexadecimal digits; "" for an open network'
