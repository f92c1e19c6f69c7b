"""Topic names and topic filters: check and encode them (section 4.7). `subscriptions` matches them."""

from .wire import encode_text, reject


class Topic:
    """Topic name for `publish`, encoded once. `client.topic(name)` creates it; use it only with that client.

    `alias` is the topic alias that stands for the name. It is valid while the session's `generation` is that
    of the topic, because an alias ends with its connection [MQTT-3.3.2-7]. If `alias` is -1, the topic never
    gets an alias.
    """

    def __init__(self, name):
        """Encode `name` (str, or UTF-8 bytes). Raises ValueError, TypeError."""
        self.name = encode_text(name, "topic")
        if not self.name or b"+" in self.name or b"#" in self.name:  # [MQTT-3.3.2-2], [MQTT-4.7.3-1]
            reject("topic", "topic", name)
        self.alias = 0
        self.generation = 0
        self.publish_count = 0  # number of messages published to this topic
        # part of a QoS 0 PUBLISH with the alias: an empty topic name, three bytes of properties, the alias
        self.alias_header = bytearray(b"\x00\x00\x03\x23\x00\x00")


def encode_filter(text):
    """Return a topic filter as bytes. Raises ValueError if it is not a topic filter (4.7.1, 4.8.2)."""
    data = encode_text(text, "topic_filter")
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
        reject("filter", "topic_filter", text)
    return data
