"""Encoding of CONNECT, SUBSCRIBE and UNSUBSCRIBE as new bytes (section 3).

The other packets are written into the buffers of a session: see `session` and `outbound`.
"""

from struct import pack

from .wire import prefix_u16_length, put_varint


def prefix_varint_length(data, first=b""):
    """Return `first`, the length of `data` as a Variable Byte Integer, and `data`."""
    head = bytearray(4)
    return first + head[: put_varint(head, 0, len(data))] + data


def encode_connect(session):
    """Return the CONNECT of a session (3.1). The packet announces the real sizes of the session's buffers."""
    flags = 2 if session.clean_start else 0
    will = session.will
    if will:
        flags |= will[0]
    credentials = session.user, session.password
    if callable(session.user) or callable(session.password):
        from ..optional.credentials import call_credentials

        credentials = call_credentials(session)
    if credentials[0] is not None:
        flags |= 0x80
    if credentials[1] is not None:
        flags |= 0x40
    # Maximum Packet Size, Receive Maximum, Session Expiry Interval, Topic Alias Maximum
    properties = session.properties + pack(
        ">BIBHBIBH",
        0x27,
        session.maximum_packet_size,
        0x21,
        session.receive_maximum,
        0x11,
        session.session_expiry,
        0x22,
        len(session.aliases or b""),
    )
    body = (
        b"\x00\x04MQTT\x05"
        + bytes((flags, session.keep_alive >> 8, session.keep_alive & 0xFF))
        + prefix_varint_length(properties)
    )
    body += prefix_u16_length(session.client_id)  # this order [MQTT-3.1.3-1]
    if will:
        body += will[1]
    for part in credentials:
        if part is not None:
            body += prefix_u16_length(part)
    return prefix_varint_length(body, b"\x10")


def encode_subscribe(s, packet_id, identifier):
    """Return SUBSCRIBE (3.8), or UNSUBSCRIBE (3.10) if the subscription `s` is not wanted any more.

    By default a subscription has one filter, so each filter can have its own Subscription Identifier. If
    `identifier` is 0, the packet contains none.
    """
    properties = bytearray(b"\x0b\0\0\0\0")
    properties = properties[: put_varint(properties, 1, identifier) if identifier and s.is_wanted else 0]
    body = bytes((packet_id >> 8, packet_id & 0xFF)) + prefix_varint_length(properties + s.properties)
    for topic_filter in s.filters or (s.topic_filter,):
        body += prefix_u16_length(topic_filter)
        if s.is_wanted:
            body += bytes((s.options,))
    return prefix_varint_length(body, b"\x82" if s.is_wanted else b"\xa2")
