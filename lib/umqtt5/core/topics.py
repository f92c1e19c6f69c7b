"""Topic names and topic filters: check and encode them, match a topic against a filter (section 4.7)."""

from .wire import encode_text


class Topic:
    """Topic name for `publish`, encoded once. `client.topic(name)` creates it; use it only with that client.

    `alias` is the topic alias that stands for the name. It is valid while the session's `generation` is that
    of the topic, because an alias ends with its connection [MQTT-3.3.2-7]. If `alias` is -1, the topic never
    gets an alias.
    """

    def __init__(self, name):
        """Encode `name` (str, or UTF-8 bytes). Raises ValueError if it is not a topic name."""
        self.name = encode_text(name)
        if not self.name or b"+" in self.name or b"#" in self.name:
            raise ValueError("not a topic name: %r" % name)  # [MQTT-3.3.2-2], [MQTT-4.7.3-1]
        self.alias = 0
        self.generation = 0
        self.publish_count = 0  # number of messages published to this topic
        # part of a QoS 0 PUBLISH with the alias: an empty topic name, three bytes of properties, the alias
        self.alias_header = bytearray(b"\x00\x00\x03\x23\x00\x00")


def encode_filter(text):
    """Return a topic filter as bytes. Raises ValueError if it is not a topic filter (4.7.1, 4.8.2)."""
    data = encode_text(text)
    levels = data.split(b"/")
    if levels[0] == b"$share":
        # a share name and a filter [MQTT-4.8.2-1], [MQTT-4.8.2-2]
        good = len(levels) > 2 and levels[1] and b"+" not in levels[1] and b"#" not in levels[1]
        levels = levels[2:] if good else [b""]
    good = levels != [b""]
    for level in levels:
        # a wildcard is a whole level [MQTT-4.7.1-2], and # is the last level [MQTT-4.7.1-1]
        if len(level) > 1 and (b"+" in level or b"#" in level):
            good = False
    if not good or b"#" in levels[:-1]:
        raise ValueError("not a topic filter: %r" % text)
    return data


def find_wildcard(topic_filter):
    """Return the offset of the first wildcard in a filter (bytes), -1 if there is none."""
    plus = topic_filter.find(b"+")
    hash_sign = topic_filter.find(b"#")
    return hash_sign if plus < 0 or 0 <= hash_sign < plus else plus


def matches(topic_filter, buf, at, end):
    """Return True if the topic name in buf[at:end] matches the filter (bytes); allocates nothing.

    A filter that begins with a wildcard does not match a topic that begins with `$` (4.7.2).
    """
    size = len(topic_filter)
    if at < end:
        # quick check: if the filter does not end with a wildcard, the last characters must be equal
        if topic_filter[-1] > 0x2B and topic_filter[-1] != buf[end - 1]:
            return False
        if buf[at] == 0x24 and topic_filter[0] != 0x24:
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
            # "a/#" matches "a", too
            return at == end and c == 0x2F and i + 2 == size and topic_filter[i + 1] == 0x23
        i += 1
    return at == end
