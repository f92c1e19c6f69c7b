"""Topic aliases of the broker (section 3.3.2.3.4): a fixed table, `Client(topic_alias_maximum=)`."""

from array import array

_TOPIC_SIZE = 64  # bytes that are allocated for each topic in advance


class AliasTable:
    """Topic names by alias (1 to `slots`). The aliases are valid for one connection.

    A topic of up to 64 bytes allocates nothing. For a longer topic a larger buffer is allocated once and
    kept.
    """

    def __init__(self, slots):
        self._topics = [bytearray(_TOPIC_SIZE) for _ in range(slots)]
        self._sizes = array("H", [0] * slots)

    def __len__(self):
        return len(self._topics)

    def clear(self):
        """Forget all aliases, because a new connection begins [MQTT-3.3.2-7]."""
        for i in range(len(self._sizes)):
            self._sizes[i] = 0

    def resolve(self, packet, alias):
        """Store the topic of `packet` under its alias. If the packet has no topic, set it to the stored one.

        Returns 0, or a reason code: 0x94 for an alias above Topic Alias Maximum, 0x82 for an unknown alias.
        """
        if alias > len(self._topics):
            return 0x94  # [MQTT-3.1.2-26]
        alias -= 1
        size = packet.topic_end - packet.topic_start
        if not size:
            if not self._sizes[alias]:
                return 0x82
            packet.topic_buf = self._topics[alias]
            packet.topic_start = 0
            packet.topic_end = self._sizes[alias]
            return 0
        if size > len(self._topics[alias]):
            self._topics[alias] = bytearray(size)
        self._sizes[alias] = size
        self._copy(self._topics[alias], packet)
        return 0

    def _copy(self, topic, packet):
        at = packet.topic_start
        for i in range(packet.topic_end - at):
            topic[i] = packet.topic_buf[at + i]


def attach(session, slots):
    """Let the broker use `slots` aliases: CONNECT announces their number."""
    session.aliases = AliasTable(slots)
