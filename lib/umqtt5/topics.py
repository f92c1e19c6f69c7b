"""Topic names and topic filters (section 4.7): checked, encoded once, matched in place."""

from .wire import encode_text, put_u16


class Topic:
    """A topic name to publish to, encoded once; made by `client.topic(name)`, for that client.

    `alias` is the topic alias that stands for it in the connection numbered `epoch`:
    an alias dies with its connection [MQTT-3.3.2-7]. -1 is for a topic that is used once.
    """

    def __init__(self, name):
        """Raises ValueError where `name` (str, or UTF-8 bytes) is no topic name."""
        self.name = encode_text(name)
        if not self.name or b"+" in self.name or b"#" in self.name:
            raise ValueError("not a topic name: %r" % name)  # [MQTT-3.3.2-2], [MQTT-4.7.3-1]
        self.alias = 0
        self.epoch = 0
        # what stands for topic and properties in a QoS 0 PUBLISH that goes out by its alias:
        # an empty topic, three bytes of properties, the alias
        self.head = bytearray(b"\x00\x00\x03\x23\x00\x00")

    def take_alias(self, alias, epoch):
        """From its next PUBLISH on, `alias` stands for this topic."""
        self.alias = alias
        self.epoch = epoch
        put_u16(self.head, 4, alias)


def encode_filter(text):
    """A topic filter as bytes. Raises ValueError where it is none (4.7.1, 4.8.2)."""
    data = encode_text(text)
    name = data
    if data.startswith(b"$share/"):
        share = data[7:].split(b"/", 1)
        # [MQTT-4.8.2-1], [MQTT-4.8.2-2]
        if len(share) < 2 or not share[0] or b"+" in share[0] or b"#" in share[0]:
            raise ValueError("not a shared topic filter: %r" % text)
        name = share[1]
    levels = name.split(b"/")
    for level in levels:
        # a wildcard fills its level [MQTT-4.7.1-2], and # is the last [MQTT-4.7.1-1]
        if len(level) > 1 and (b"+" in level or b"#" in level):
            raise ValueError("a wildcard fills a whole level: %r" % text)
    if not name or b"#" in levels[:-1]:
        raise ValueError("not a topic filter: %r" % text)
    return data


def matching_part(topic_filter):
    """What a topic is compared with: the filter without `$share/name/`."""
    if topic_filter.startswith(b"$share/"):
        return topic_filter.split(b"/", 2)[2]
    return topic_filter


def matches(topic_filter, buf, at, end):
    """True where the topic name in buf[at:end] matches; allocates nothing.

    A wildcard in the first place does not match a topic that starts with `$` (4.7.2).
    """
    size = len(topic_filter)
    if at < end and buf[at] == 0x24 and topic_filter[0] != 0x24:
        return False
    i = 0
    while i < size:
        c = topic_filter[i]
        if c == 0x23:  # '#'
            return True
        if c == 0x2B:  # '+'
            while at < end and buf[at] != 0x2F:
                at += 1
        elif at < end and buf[at] == c:
            at += 1
        else:
            # "a/#" matches "a" too
            return at == end and c == 0x2F and i + 2 == size and topic_filter[i + 1] == 0x23
        i += 1
    return at == end
