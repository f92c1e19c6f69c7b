"""The limits of the other side: taken from each CONNACK, asked before anything is sent."""

from micropython import const

_NONE = const(0x3FFFFFFF)


class Limits:
    """What the broker can take (3.2.2.3). Before the first CONNACK: whatever MQTT allows."""

    def __init__(self):
        self.receive_maximum = 65535
        self.maximum_qos = 2
        self.retain_available = 1
        self.maximum_packet_size = _NONE
        self.wildcard_available = 1
        self.subscription_ids_available = 1
        self.shared_available = 1
        self.topic_alias_maximum = 0

    def take(self, connack):
        """A CONNACK has come: its limits replace those of the connection before."""
        self.receive_maximum = connack.number(0x21, 65535)
        self.maximum_qos = connack.number(0x24, 2)
        self.retain_available = connack.number(0x25, 1)
        self.maximum_packet_size = connack.number(0x27, _NONE)
        self.wildcard_available = connack.number(0x28, 1)
        self.subscription_ids_available = connack.number(0x29, 1)
        self.shared_available = connack.number(0x2A, 1)
        self.topic_alias_maximum = connack.number(0x22, 0)  # [MQTT-3.2.2-18]

    def publish(self, first_byte, size):
        """The reason code for which a PUBLISH can't be sent, 0 where it can."""
        if size > self.maximum_packet_size:
            return 0x95  # [MQTT-3.2.2-15]
        if first_byte & 1 and not self.retain_available:
            return 0x9A  # [MQTT-3.2.2-14]
        if first_byte >> 1 & 3 > self.maximum_qos:
            return 0x9B  # [MQTT-3.2.2-11]
        return 0

    def subscribe(self, topic_filter, size):
        """The reason code for which a SUBSCRIBE can't be sent, 0 where it can."""
        if size > self.maximum_packet_size:
            return 0x95
        if topic_filter.startswith(b"$share/") and not self.shared_available:
            return 0x9E
        if (b"+" in topic_filter or b"#" in topic_filter) and not self.wildcard_available:
            return 0xA2
        return 0
