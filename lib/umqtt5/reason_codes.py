"""Reason code names (section 2.4), for example 0x87 Not authorized. Loaded only when a name is printed."""

# Each string has the names of up to eight consecutive codes. Its key is a code shifted right by 3. One string
# per name would take three times the heap. One string for all names would need a block so large that a
# fragmented heap may not have it.
_REASON_NAMES = {
    0x00: "Success|Granted QoS 1|Granted QoS 2||Disconnect with Will Message",
    0x02: "No matching subscribers|No subscription existed",
    0x03: "Continue authentication|Re-authenticate",
    0x10: (
        "Unspecified error|Malformed Packet|Protocol Error|Implementation specific error|"
        "Unsupported Protocol Version|Client Identifier not valid|Bad User Name or Password|"
        "Not authorized"
    ),
    0x11: (
        "Server unavailable|Server busy|Banned|Server shutting down|Bad authentication method|"
        "Keep Alive timeout|Session taken over|Topic Filter invalid"
    ),
    0x12: (
        "Topic Name invalid|Packet Identifier in use|Packet Identifier not found|"
        "Receive Maximum exceeded|Topic Alias invalid|Packet too large|Message rate too high|"
        "Quota exceeded"
    ),
    0x13: (
        "Administrative action|Payload format invalid|Retain not supported|QoS not supported|"
        "Use another server|Server moved|Shared Subscriptions not supported|"
        "Connection rate exceeded"
    ),
    0x14: (
        "Maximum connect time|Subscription Identifiers not supported|Wildcard Subscriptions not supported"
    ),
}


def reason_name(code):
    """Return the standard's name of a reason code and its number: "Not authorized (0x87)"."""
    names = _REASON_NAMES.get(code >> 3, "").split("|")
    text = names[code & 7] if code & 7 < len(names) else ""
    return "%s (0x%02X)" % (text or "Reason code", code)


# descriptions of broker limits, by the reason code of a packet that exceeds one
_LIMITS = {
    0x95: "the broker's Maximum Packet Size is %d bytes",
    0x9A: "the broker does not support retained messages",
    0x9B: "the broker's Maximum QoS is %d",
}


def describe_limit(code, limits):
    """Return a description of the limit that a PUBLISH exceeds; `limits` is `Session.broker_limits`."""
    text = _LIMITS[code]
    if code == 0x95:
        return text % limits[6]
    return text % limits[3] if code == 0x9B else text
