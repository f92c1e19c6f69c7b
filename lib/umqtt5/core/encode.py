"""The packets that are seldom sent, as new bytes (section 3). The others `session` writes in place."""

from struct import pack

from .wire import put_varint, prefix_u16_length


def prefix_varint_length(data, first=b""):
    """`data` with its length as a Variable Byte Integer in front, and `first` in front of that."""
    head = bytearray(4)
    return first + head[: put_varint(head, 0, len(data))] + data


def encode_connect(session):
    """CONNECT (3.1). It tells the truth about our buffers."""
    flags = 2 if session.clean_start else 0
    will = session.will
    if will:
        flags |= will[0]
    if session.user is not None:
        flags |= 0x80
    if session.password is not None:
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
    for part in (session.user, session.password):
        if part is not None:
            body += prefix_u16_length(part)
    return prefix_varint_length(body, b"\x10")


def encode_subscribe(s, packet_id, identifier):
    """SUBSCRIBE (3.8) or UNSUBSCRIBE (3.10) with one filter, so that it has an identifier of its own."""
    body = bytes((packet_id >> 8, packet_id & 0xFF))
    if not s.is_wanted:
        return prefix_varint_length(body + b"\x00" + prefix_u16_length(s.topic_filter), b"\xa2")
    properties = bytearray(b"\x0b\0\0\0\0")
    body += prefix_varint_length(properties[: put_varint(properties, 1, identifier) if identifier else 0])
    return prefix_varint_length(body + prefix_u16_length(s.topic_filter) + bytes((s.options,)), b"\x82")
