"""One packet into a buffer at an offset (section 3). Each returns the offset behind it.

The caller has asked for the size and made sure that there is room.
"""

from .wire import put_binary, put_u16, put_u32, put_varint, varint_size


def connect_room(session):
    """More bytes than CONNECT will take (3.1)."""
    room = 48 + len(session.client_id) + len(session.user or b"") + len(session.password or b"")
    if session.will:
        room += 8 + sum(len(part) for part in session.will[1:])
    return room


def put_connect(buf, session):
    """CONNECT into an empty buffer: its body from offset 5, the fixed header right before.

    Returns the offset at which the packet starts and the one behind it.
    """
    will = session.will
    flags = 0x02 if session.clean_start else 0
    if will:
        flags |= will[0]
    if session.password is not None:
        flags |= 0x40
    if session.user is not None:
        flags |= 0x80
    at = put_binary(buf, 5, b"MQTT")
    buf[at] = 5
    buf[at + 1] = flags
    at = put_u16(buf, at + 2, session.keep_alive)
    at = _connect_properties(buf, at, session)
    at = put_binary(buf, at, session.client_id)  # this order [MQTT-3.1.3-1]
    if will:
        at = put_varint(buf, at, len(will[1]))
        buf[at : at + len(will[1])] = will[1]
        at = put_binary(buf, at + len(will[1]), will[2])
        at = put_binary(buf, at, will[3])
    if session.user is not None:
        at = put_binary(buf, at, session.user)
    if session.password is not None:
        at = put_binary(buf, at, session.password)
    start = 4 - varint_size(at - 5)
    buf[start] = 0x10
    put_varint(buf, start + 1, at - 5)
    return start, at


def _connect_properties(buf, at, session):
    """What the broker must know of our limits: the truth about our buffers (3.1.2.11)."""
    buf[at] = 8 + (5 if session.session_expiry else 0) + (3 if session.aliases else 0)
    at += 1
    if session.aliases:
        buf[at] = 0x22
        at = put_u16(buf, at + 1, len(session.aliases))
    if session.session_expiry:
        buf[at] = 0x11
        at = put_u32(buf, at + 1, session.session_expiry)
    buf[at] = 0x21
    at = put_u16(buf, at + 1, session.receive_maximum)
    buf[at] = 0x27
    return put_u32(buf, at + 1, len(session.rx))


def subscribe_size(topic_filter, identifier):
    """The size of a SUBSCRIBE or UNSUBSCRIBE with one filter; `identifier` 0 means none."""
    remaining = 6 + len(topic_filter) + (1 + varint_size(identifier) if identifier else 0)
    return 1 + varint_size(remaining) + remaining


def put_subscribe(buf, at, s, identifier):
    """SUBSCRIBE with one filter, so that it has a Subscription Identifier of its own (3.8)."""
    buf[at] = 0x82
    props = 1 + varint_size(identifier) if identifier else 0
    at = put_varint(buf, at + 1, 6 + len(s.filter) + props)
    at = put_u16(buf, at, s.packet_id)
    buf[at] = props
    at += 1
    if identifier:
        buf[at] = 0x0B
        at = put_varint(buf, at + 1, identifier)
    at = put_binary(buf, at, s.filter)
    buf[at] = s.options
    return at + 1


def put_unsubscribe(buf, at, packet_id, topic_filter):
    """UNSUBSCRIBE with one filter (3.10)."""
    buf[at] = 0xA2
    at = put_varint(buf, at + 1, 5 + len(topic_filter))
    at = put_u16(buf, at, packet_id)
    buf[at] = 0
    return put_binary(buf, at + 1, topic_filter)


def put_ack(buf, at, first_byte, packet_id, reason):
    """PUBACK and its kin (3.4): four bytes, five with a reason other than success."""
    buf[at] = first_byte
    buf[at + 1] = 3 if reason else 2
    at = put_u16(buf, at + 2, packet_id)
    if reason:
        buf[at] = reason
        at += 1
    return at


def put_ping(buf, at):
    """PINGREQ (3.12)."""
    buf[at] = 0xC0
    buf[at + 1] = 0
    return at + 2


def put_disconnect(buf, at, reason):
    """DISCONNECT (3.14): two bytes, three with a reason other than normal."""
    buf[at] = 0xE0
    buf[at + 1] = 1 if reason else 0
    if reason:
        buf[at + 2] = reason
        at += 1
    return at + 2


class PublishHead:
    """How a PUBLISH starts: fixed header, topic or its alias, packet identifier (3.3).

    `plan` chooses the form and gives its size, `put` writes it. Aliases are handed out in
    the order in which topics come, until the broker's Topic Alias Maximum or our own limit
    is reached; the topics after that go out in full, and so do those of three bytes or fewer,
    which are as short as an alias.
    """

    def __init__(self, aliases):
        self.aliases = aliases
        self.epoch = 0  # counts the connections: an alias dies with its own [MQTT-3.3.2-7]
        self.saved = 0  # bytes that aliases saved, net of those that set them up
        self.limit = 0
        self._maximum = 0
        self._used = 0
        self._topic = None
        self._name = b""
        self._alias = 0
        self._properties = 0
        self._remaining = 0

    def connected(self, topic_alias_maximum, maximum_packet_size):
        """A new connection: all aliases are gone, the broker takes this many new ones."""
        self._maximum = maximum_packet_size
        self.epoch += 1
        self.limit = min(self.aliases, topic_alias_maximum)
        self._used = 0

    def plan(self, topic, properties, rest):
        """The whole size of a PUBLISH; `rest` is all behind the topic but the properties' length.

        `properties` is the size of the user's. Sets up what `put` will write.
        """
        self._topic = topic
        self._name = b"" if topic.epoch == self.epoch else topic.name
        self._alias = 0
        if topic.epoch == self.epoch:
            self._alias = topic.alias
        elif self._used < self.limit and topic.alias >= 0 and len(topic.name) > 3:
            # as long as the packet that sets it up is not too large
            if rest + len(topic.name) + 12 <= self._maximum:
                self._alias = self._used + 1
        if self._alias:
            properties += 3
            rest += 3
        rest += 2 + len(self._name) + varint_size(properties)
        self._properties = properties
        self._remaining = rest
        return 1 + varint_size(rest) + rest

    def put(self, buf, at, first_byte, packet_id=0):
        """Write what was planned; returns the offset of the user's properties and payload."""
        buf[at] = first_byte
        at = put_binary(buf, put_varint(buf, at + 1, self._remaining), self._name)
        if packet_id:
            at = put_u16(buf, at, packet_id)
        at = put_varint(buf, at, self._properties)
        if self._alias:
            buf[at] = 0x23
            at = put_u16(buf, at + 1, self._alias)
            self.saved -= 3
            if self._name:
                self._topic.take_alias(self._alias, self.epoch)
                self._used = self._alias
            else:
                self.saved += len(self._topic.name)
        return at
