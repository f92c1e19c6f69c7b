"""Topic aliases that the broker sets up: a fixed table. Loaded where a client announces some."""

from array import array

_USUAL = 64  # bytes of a topic for which there is room from the start


class AliasTable:
    """Topic names by alias, 1 to `slots` (3.3.2.3.4). All are gone with the connection.

    A topic of up to 64 bytes costs nothing; the room of a longer one is allocated when it
    first comes, and kept.
    """

    def __init__(self, slots):
        self._topics = [bytearray(_USUAL) for _ in range(slots)]
        self._sizes = array("H", [0] * slots)

    def __len__(self):
        return len(self._topics)

    def clear(self):
        """A new connection [MQTT-3.3.2-7]."""
        for i in range(len(self._sizes)):
            self._sizes[i] = 0

    def resolve(self, packet, alias):
        """Keep the topic of `packet` for its alias, or put there what the alias stands for.

        Returns 0, or a reason code: 0x94 for an alias that we did not announce, 0x82 for one that
        stands for nothing.
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
    """Announce so many aliases to the broker."""
    session.aliases = AliasTable(slots)
