"""Packet: parses received packets, properties and reason codes in the receive buffer (sections 2 and 3)."""

from micropython import const

from .wire import get_u16, get_varint, is_valid_utf8, varint_size

_U32 = const(3)
_VARINT = const(4)
_BINARY = const(6)
_PAIR = const(7)

# One byte for each property identifier (2.2.2.2): bit number << 3 | data type, or 0 if there is no such
# property. The bit number is the position of the property in a set of 27 bits. Types 1 to 3 are integers of
# 1, 2 and 4 bytes, 4 is the Variable Byte Integer, 5 the UTF-8 string, 6 Binary Data, 7 the pair of strings.
PROPERTY_TABLE = (
    b"\x00\x01\x0b\x15\x00\x00\x00\x00\x1d\x26\x00\x2c\x00\x00\x00\x00\x00\x33\x3d\x42\x00\x4d"
    b"\x56\x59\x63\x69\x75\x00\x7d\x00\x00\x85\x00\x8a\x92\x9a\xa1\xa9\xb7\xbb\xc1\xc9\xd1"
)
# sets of properties, as bits of `Packet.property_bits`
_FLAGS = const(0x7302801)  # properties of one byte, which is 0 or 1
_NOT_ZERO = const(0x8A0020)  # Receive Maximum, Topic Alias, Maximum Packet Size, Subscription Identifier
_USER = const(0x400000)  # User Property, which may occur more than once
_SUBSCRIPTION_IDENTIFIER = const(0x20)
_RESPONSE_TOPIC = const(0x08)
_REPEATED = const(0x8000000)  # a property occurs more than once: the bit after those 27

# Properties that a server may send, by packet type. A server's DISCONNECT has no Session Expiry Interval
# [MQTT-3.14.2-2].
_CONNACK = const(0x7F7C7C0)
_PUBLISH = const(0x48003F)
_RESPONSE = const(0x410000)
_DISCONNECT = const(0x418000)
_AUTH = const(0x410600)
_ALLOWED = (
    0,
    0,
    _CONNACK,
    _PUBLISH,
    _RESPONSE,
    _RESPONSE,
    _RESPONSE,
    _RESPONSE,
    0,
    _RESPONSE,
    0,
    _RESPONSE,
    0,
    0,
    _DISCONNECT,
    _AUTH,
)

# Packet types that have a certain part: one bit for each packet type.
_HAS_ID = const(0x0AF0)
_IS_ANSWER = const(0x0AB0)  # PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK
_REASON_FIRST = const(0xC0F4)  # may be omitted, with all that follows, except in CONNACK
_REASON_LAST = const(0x0A00)  # reason code after the properties: SUBACK, UNSUBACK
_HAS_PROPERTIES = const(0x0A0C)  # the property length must be present, even if it is 0

# reason codes that a server may send in CONNACK, PUBREL, DISCONNECT and AUTH; 0 in the packets that have none
_REASONS = {
    6: b"\x00\x92",
    2: b"\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8c\x90\x95\x97\x99\x9a\x9b\x9c\x9d\x9f",
    14: (
        b"\x00\x80\x81\x82\x83\x87\x89\x8b\x8d\x8e\x8f\x90\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c"
        b"\x9d\x9e\x9f\xa0\xa1\xa2"
    ),
    15: b"\x00\x18\x19",
}


class Packet:
    """Received packet: the message for a handler, the answer for `on_ack` and other callbacks.

    It is a view of the receive buffer. When the handler has returned, the object is used for the next packet.
    `topic`, `payload` and `property` return copies, which may be kept.

    `qos`, `retain` and `dup` are as received. `len(message)` is the size of the payload in bytes. An answer
    has `packet_id` and `reason` (the reason code).
    """

    def __init__(self, buf):
        self._buf = buf
        self.packet_id = self.reason = self.qos = 0
        self.retain = self.dup = self.session_present = False
        self.allowed_properties = _ALLOWED
        self.property_bits = 0  # set of the properties in the packet
        self.value = 0  # number in the property that was read last
        self.subscription_id = 0  # Subscription Identifier, the last one if there are several
        # function (packet) that returns the subscription whose filter is the topic, if it finds one at once
        self.find_subscription = self.subscription = None
        self.topic_buf = buf  # buffer with the topic; if an alias is used, a buffer of the alias table
        self.topic_start = self.topic_end = 0
        self.properties_start = self.properties_end = 0
        self.payload_start = self.payload_end = 0

    # ---- for applications

    def __len__(self):
        return self.payload_end - self.payload_start

    def __getattr__(self, name):
        """`topic`: the topic name as a new str; `payload`: the payload as new bytes.

        These are no properties, because they would slow down each assignment: see `client.Client`.
        """
        if name == "payload":
            return bytes(memoryview(self._buf)[self.payload_start : self.payload_end])
        if name == "topic":
            return str(memoryview(self.topic_buf)[self.topic_start : self.topic_end], "utf-8")
        raise AttributeError(name)

    def equals(self, data):
        """Return True if the payload is equal to `data` (bytes); allocates nothing."""
        at = self.payload_start
        if len(self) != len(data):
            return False
        for b in data:
            if self._buf[at] != b:
                return False
            at += 1
        return True

    def copy_into(self, buf, at=0):
        """Copy the payload into `buf` at offset `at` and return its size; allocates nothing.

        Raises ValueError if the payload does not fit.
        """
        if len(self) > len(buf) - at:
            raise ValueError("buffer too small for %d bytes" % len(self))
        for i in range(self.payload_start, self.payload_end):
            buf[at] = self._buf[i]
            at += 1
        return len(self)

    def refuse(self, reason=0x80):
        """Refuse the message that is being handled: it is acknowledged with this reason code (3.4.2.1).

        The code is 0x80 Unspecified error, 0x83 Implementation specific error, 0x87 Not authorized, 0x90
        Topic Name invalid, 0x97 Quota exceeded or 0x99 Payload format invalid. At QoS 0 nothing is sent.
        Raises ValueError for other codes.
        """
        if reason not in b"\x80\x83\x87\x90\x97\x99":
            raise ValueError("reason code not allowed in PUBACK")
        self.reason = reason

    def __repr__(self):
        from ..optional.packet_text import describe

        return describe(self)

    def property(self, identifier, nth=0):
        """Return the `nth` property with this identifier, None if there is none (2.2.2).

        The value is an int (at most 0x3FFFFFFF), a str, bytes for Binary Data, or a tuple (str, str) for a
        User Property. `umqtt5.properties` has names for the identifiers.
        """
        at = self.find_property(identifier, nth)
        if at < 0:
            return None
        kind = PROPERTY_TABLE[identifier] & 7
        if kind <= _VARINT:
            return self.value
        first = self._binary(at + 1)
        if kind == _BINARY:
            return first
        if kind == _PAIR:
            return str(first, "utf-8"), str(self._binary(at + 3 + len(first)), "utf-8")
        return str(first, "utf-8")

    def int_property(self, identifier, default):
        """Return the number in a property, `default` if it is absent; allocates nothing."""
        return default if self.find_property(identifier) < 0 else self.value

    # ---- for the library

    def find_property(self, identifier, nth=0):
        """Return the offset of the `nth` property with this identifier, -1 if there is none; sets `value`."""
        at = self.properties_start
        while at < self.properties_end:
            after = self._walk(at)
            if self._buf[at] == identifier:
                if not nth:
                    return at
                nth -= 1
            at = after
        return -1

    def set_plain_ack(self, packet_id, reason):
        """Set the fields of an answer without properties: of the broker, or our own reason code."""
        self.packet_id = packet_id
        self.reason = reason
        self.properties_end = self.property_bits = self.topic_end = 0

    def _binary(self, at):
        size = get_u16(self._buf, at)
        return bytes(memoryview(self._buf)[at + 2 : at + 2 + size])

    def _walk(self, at):
        """Return the offset after the property at `at`, or an offset past the end if it is malformed.

        Sets `value` to the number in the property, or to 1 if the property is not a number. The value is at
        most 0x3FFFFFFF, because a larger int is allocated on the heap of a 32-bit board.
        """
        buf = self._buf
        end = self.properties_end
        kind = PROPERTY_TABLE[buf[at]] & 7
        at += 1
        self.value = 1
        if kind <= _U32:
            after = at + (1 << kind - 1)
            if after <= end:
                self.value = 0
                while at < after:
                    self.value = 0x3FFFFFFF if self.value > 0x3FFFFF else self.value << 8 | buf[at]
                    at += 1
            return after
        if kind == _VARINT:
            if at < end and buf[at] < 0x80:
                self.value = buf[at]
                return at + 1
            if (
                at + 1 < end and 0 < buf[at + 1] < 0x80
            ):  # two bytes: a Subscription Identifier of this library
                self.value = buf[at] & 0x7F | buf[at + 1] << 7
                return at + 2
            self.value = get_varint(buf, at, end)
            return at + varint_size(self.value) if self.value >= 0 else end + 1
        while at + 2 <= end:
            after = at + 2 + get_u16(buf, at)
            if after > end or (kind != _BINARY and not is_valid_utf8(buf, at + 2, after)):
                break
            if kind != _PAIR:
                return after
            kind = 0  # the second string of a pair
            at = after
        return end + 1

    def _check_properties(self, allowed):
        """Check all properties; returns 0, or the reason code of the first error."""
        at = self.properties_start
        while at < self.properties_end:
            kind = self._buf[at]
            mask = PROPERTY_TABLE[kind] if kind < 43 else 0
            if not mask:
                return 0x81
            mask = 1 << (mask >> 3)
            if not mask & allowed:
                # 0x81 if the packet type does not allow the property (2.2.2.2), 0x82 for a Reason String or
                # User Property although CONNECT has Request Problem Information 0 [MQTT-3.1.2-29]
                return 0x82 if mask & _RESPONSE and allowed != _PUBLISH else 0x81
            # [MQTT-3.3.4-4]
            if mask & self.property_bits:
                if mask != _USER and (mask != _SUBSCRIPTION_IDENTIFIER or allowed != _PUBLISH):
                    return 0x82
                self.property_bits |= _REPEATED
            at = self._walk(at)
            if at > self.properties_end:
                return 0x81
            if (self.value > 1 and mask & _FLAGS) or (not self.value and mask & _NOT_ZERO):
                return 0x94 if kind == 0x23 else 0x82
            self.property_bits |= mask
            if kind == 0x0B:
                self.subscription_id = self.value
        return self._check_response_topic() if self.property_bits & _RESPONSE_TOPIC else 0

    def _check_response_topic(self):
        """Return 0 if the Response Topic is a topic name, otherwise the reason code of the error."""
        at = self.find_property(0x08) + 3
        end = at + get_u16(self._buf, at - 2)
        good = at < end and self._buf.find(b"#", at, end) < 0 and self._buf.find(b"+", at, end) < 0
        return 0 if good else 0x82  # [MQTT-3.3.2-14], [MQTT-4.7.3-1]

    def _parse_publish_header(self, first, at, end):
        """Parse flags and topic name of a PUBLISH; returns 0, or the reason code of the error."""
        self.qos = first >> 1 & 3
        self.retain = first & 1 == 1
        self.dup = first & 8 == 8
        if self.qos == 3 or (self.dup and not self.qos):  # [MQTT-3.3.1-2], [MQTT-3.3.1-4]
            return 0x81
        buf = self.topic_buf = self._buf
        self.topic_start = self.topic_end = at + 2
        if at + 2 <= end:
            self.topic_end += get_u16(buf, at)
        if at + 2 > end or self.topic_end > end:
            return 0x81
        return 0

    def _check_topic(self):
        """Return 0 if the topic is a topic name, otherwise the reason code of the error."""
        buf = self.topic_buf
        is_plain = True
        for at in range(self.topic_start, self.topic_end):
            if not 0x2B < buf[at] < 0x80:  # most topics have only letters, digits and `/`
                if buf[at] == 0x23 or buf[at] == 0x2B:  # [MQTT-3.3.2-2]
                    return 0x90
                is_plain = False
        # [MQTT-3.3.2-1]
        return 0 if is_plain or is_valid_utf8(buf, self.topic_start, self.topic_end) else 0x81

    def _parse_start(self, kind, first, at, end):
        """Parse everything before the properties.

        Returns the offset of the properties, or the negative reason code of the error.
        """
        if kind == 3:
            first = self._parse_publish_header(first, at, end)
            if first:
                return -first
            at = self.topic_end
        elif first & 15 != (2 if kind == 6 else 0):  # [MQTT-2.1.3-1]
            return -0x81
        if kind == 2:
            if at == end or self._buf[at] > 1:  # [MQTT-3.2.2-1]
                return -0x81
            self.session_present = self._buf[at] == 1
            at += 1
        if _HAS_ID >> kind & 1 or self.qos:
            if at + 2 > end:
                return -0x81
            self.packet_id = get_u16(self._buf, at)
            if not self.packet_id:
                return -0x82
            at += 2
        if _REASON_FIRST >> kind & 1 and at < end:
            self.reason = self._buf[at]
            at += 1
        return at

    def _parse_properties(self, kind, at, end):
        """Parse the properties at `at`; returns the offset after them, or a negative reason code."""
        size = self._buf[at] if at < end else 0x80
        if size > 0x7F:
            size = get_varint(self._buf, at, end)
            at += varint_size(size) - 1
        at += 1
        if size < 0 or at + size > end:
            return -0x81
        self.properties_start = at
        self.properties_end = at + size
        buf = self._buf
        if size == 3 and kind == 3 and buf[at] == 0x0B and buf[at + 1] > 0x7F and 0 < buf[at + 2] < 0x80:
            # only a Subscription Identifier of two bytes, as this library chooses it
            self.property_bits = _SUBSCRIPTION_IDENTIFIER
            self.subscription_id = buf[at + 1] & 0x7F | buf[at + 2] << 7
        elif size:
            kind = self._check_properties(self.allowed_properties[kind])
            if kind:
                return -kind
        return self.properties_end

    def parse(self, first, at, end):
        """Parse the packet with the first byte `first` and its rest from offset `at` to `end`.

        Returns 0, or the reason code of the error (4.13).
        """
        kind = first >> 4
        self.packet_id = self.reason = self.property_bits = self.qos = 0
        self.properties_start = self.properties_end = self.topic_end = 0
        at = self._parse_start(kind, first, at, end)
        if at >= 0 and (_HAS_PROPERTIES >> kind & 1 or (at < end and kind != 13)):
            at = self._parse_properties(kind, at, end)
        if at < 0:
            return -at
        if kind == 3:
            self.payload_start = at
            self.payload_end = end
            if self.find_subscription:
                self.subscription = self.find_subscription(self)
                if self.subscription:
                    return 0
            return self._check_topic()
        if _REASON_LAST >> kind & 1:
            if at == end:
                return 0x81
            self.payload_start = at
            self.payload_end = end
            while at < end:  # the highest reason code: an error, if one of the filters has failed
                self.reason = max(self.reason, self._buf[at])
                at += 1
        if at != end:
            return 0x81
        # In an answer each code is accepted, because some brokers use codes that the standard does not list
        # there. If the connection ended instead, the message would be sent again, without end.
        return 0 if _IS_ANSWER >> kind & 1 or self.reason in _REASONS.get(kind, b"\x00") else 0x82
