"""One packet out of a buffer, into fields that are used again (section 3)."""

from .errors import MQTTError
from .props import CONNACK, DISCONNECT, PUBLISH, RESPONSE, bit, check, find, integer, kind, number_at
from .topics import matches
from .wire import get_u16, get_varint, utf8_ok, varint_size

# The reason codes that the standard lists for each packet that we may receive.
_CONNACK = b"\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8c\x90\x95\x97\x99\x9a\x9b\x9c\x9d\x9f"
_PUBACK = b"\x00\x10\x80\x83\x87\x90\x91\x97\x99"  # and PUBREC
_PUBREL = b"\x00\x92"  # and PUBCOMP
_SUBACK = b"\x00\x01\x02\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2"
_UNSUBACK = b"\x00\x11\x80\x83\x87\x8f\x91"
_DISCONNECT = (
    b"\x00\x80\x81\x82\x83\x87\x89\x8b\x8d\x8e\x8f\x90\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c"
    b"\x9d\x9e\x9f\xa0\xa1\xa2"
)

_MALFORMED = "malformed packet"


class Packet:
    """One received packet; the message that a handler is given.

    It looks into the receive buffer: a handler may keep what `topic`, `payload` and
    `property` return, which are copies, but not the packet itself, which is the next
    packet when the handler has returned.

    `qos`, `retain` and `dup` are as received; `len(message)` is the size of the payload.
    """

    def __init__(self, buf):
        self._buf = buf
        self.packet_id = 0
        self.reason = 0
        self.qos = 0
        self.retain = False
        self.dup = False
        self.session_present = False
        self.seen = 0  # which properties are there, as `props.check` says it
        self.topic_buf = buf  # where the topic is: that of an alias is in its table
        self.topic_at = self.topic_end = 0
        self.properties_at = self.properties_end = 0
        self.payload_at = self.payload_end = 0

    def __len__(self):
        return self.payload_end - self.payload_at

    @property
    def topic(self):
        """The topic name as a new str."""
        return str(memoryview(self.topic_buf)[self.topic_at : self.topic_end], "utf-8")

    @property
    def payload(self):
        """The payload as new bytes."""
        return bytes(memoryview(self._buf)[self.payload_at : self.payload_end])

    def equals(self, data):
        """True where the payload is `data` (bytes); allocates nothing."""
        at = self.payload_at
        if self.payload_end - at != len(data):
            return False
        for b in data:
            if self._buf[at] != b:
                return False
            at += 1
        return True

    def copy_into(self, buf, at=0):
        """Copy the payload to `buf` from `at` and return its size; allocates nothing.

        Raises ValueError where it does not fit.
        """
        if len(self) > len(buf) - at:
            raise ValueError("payload of %d bytes" % len(self))
        for i in range(self.payload_at, self.payload_end):
            buf[at] = self._buf[i]
            at += 1
        return len(self)

    def property(self, identifier, nth=0):
        """The `nth` property with this identifier, None where there is none (2.2.2).

        An int (at most 0x3FFFFFFF), a str, bytes for Binary Data, a pair of str for a user
        property. Names for the identifiers are in `umqtt5.properties`.
        """
        end = self.properties_end
        at = find(self._buf, self.properties_at, end, identifier, nth)
        if at < 0:
            return None
        of = kind(identifier)
        if of < 5:
            return number_at(self._buf, at, end)
        first = self._binary(at + 1)
        if of == 6:
            return first
        if of == 5:
            return str(first, "utf-8")
        return str(first, "utf-8"), str(self._binary(at + 3 + len(first)), "utf-8")

    def number(self, identifier, default):
        """The number in a property, `default` where it is absent; allocates nothing."""
        if self.seen & bit(identifier):
            end = self.properties_end
            return integer(self._buf, self.properties_at, end, identifier, default)
        return default

    def identifier(self, nth):
        """The `nth` Subscription Identifier, 0 where there are no more; allocates nothing."""
        at = self.properties_at
        at = find(self._buf, at, self.properties_end, 0x0B, nth)
        return get_varint(self._buf, at + 1, self.properties_end) if at >= 0 else 0

    def matches(self, topic_filter):
        """True where the topic matches a filter (bytes); allocates nothing."""
        return matches(topic_filter, self.topic_buf, self.topic_at, self.topic_end)

    def _binary(self, at):
        size = get_u16(self._buf, at)
        return bytes(memoryview(self._buf)[at + 2 : at + 2 + size])

    def _properties(self, at, end, legal):
        """Take the property block at `at`; returns the offset behind it."""
        size = get_varint(self._buf, at, end)
        if size < 0 or at + varint_size(size) + size > end:
            raise MQTTError(0x81, _MALFORMED)
        at += varint_size(size)
        self.properties_at = at
        self.properties_end = at + size
        self.seen = check(self._buf, at, at + size, legal) if size else 0
        return at + size

    def connack(self, at, end):
        """CONNACK (3.2)."""
        if end - at < 3 or self._buf[at] > 1:  # [MQTT-3.2.2-1]
            raise MQTTError(0x81, _MALFORMED)
        self.session_present = self._buf[at] == 1
        self.reason = self._buf[at + 1]
        if self._properties(at + 2, end, CONNACK) != end:
            raise MQTTError(0x81, _MALFORMED)
        if self.reason not in _CONNACK or (self.reason and self.session_present):
            raise MQTTError(0x82, "CONNACK")  # [MQTT-3.2.2-6], [MQTT-3.2.2-8]

    def publish(self, flags, at, end):
        """PUBLISH (3.3). `flags` are the four low bits of its first byte."""
        self.qos = flags >> 1 & 3
        self.retain = flags & 1 == 1
        self.dup = flags & 8 == 8
        if self.qos == 3 or (self.dup and not self.qos):  # [MQTT-3.3.1-2], [MQTT-3.3.1-4]
            raise MQTTError(0x81, _MALFORMED)
        self._topic(at, end)
        at = self.topic_end
        self.packet_id = 0
        if self.qos:
            if at + 2 > end:
                raise MQTTError(0x81, _MALFORMED)
            self.packet_id = get_u16(self._buf, at)
            if not self.packet_id:
                raise MQTTError(0x82, "packet identifier 0")
            at += 2
        self.payload_at = self._properties(at, end, PUBLISH)
        self.payload_end = end

    def _topic(self, at, end):
        if at + 2 > end:
            raise MQTTError(0x81, _MALFORMED)
        self.topic_buf = self._buf
        self.topic_at = at + 2
        at += 2 + get_u16(self._buf, at)
        self.topic_end = at
        if at > end or not utf8_ok(self._buf, self.topic_at, at):  # [MQTT-3.3.2-1]
            raise MQTTError(0x81, _MALFORMED)
        for i in range(self.topic_at, at):
            if self._buf[i] == 0x23 or self._buf[i] == 0x2B:  # [MQTT-3.3.2-2]
                raise MQTTError(0x90, "wildcard in a topic name")

    def ack(self, kind, at, end):
        """PUBACK, PUBREC, PUBREL, PUBCOMP: packet type 4 to 7 (3.4 to 3.7).

        What is left out stands for success without properties.
        """
        self._id(at, end)
        self.properties_at = self.properties_end = self.seen = 0
        self.reason = 0
        if end - at > 2:
            self.reason = self._buf[at + 2]
            if end - at > 3 and self._properties(at + 3, end, RESPONSE) != end:
                raise MQTTError(0x81, _MALFORMED)
        if self.reason not in (_PUBACK if kind < 6 else _PUBREL):
            raise MQTTError(0x82, "reason code")

    def suback(self, at, end, subscribe):
        """SUBACK (3.9) or UNSUBACK (3.11) with one reason code: we ask for one filter each."""
        self._id(at, end)
        at = self._properties(at + 2, end, RESPONSE)
        if end - at != 1:
            raise MQTTError(0x82, "one reason code was due")
        self.reason = self._buf[at]
        if self.reason not in (_SUBACK if subscribe else _UNSUBACK):
            raise MQTTError(0x82, "reason code")

    def disconnect(self, at, end):
        """DISCONNECT (3.14): empty it stands for a normal one."""
        self.properties_at = self.properties_end = self.seen = 0
        self.reason = self._buf[at] if end > at else 0
        if end - at > 1 and self._properties(at + 1, end, DISCONNECT) != end:
            raise MQTTError(0x81, _MALFORMED)
        if self.reason not in _DISCONNECT:
            raise MQTTError(0x82, "reason code")

    def _id(self, at, end):
        if end - at < 2:
            raise MQTTError(0x81, _MALFORMED)
        self.packet_id = get_u16(self._buf, at)
        if not self.packet_id:
            raise MQTTError(0x82, "packet identifier 0")
