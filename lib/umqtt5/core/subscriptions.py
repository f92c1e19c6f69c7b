"""Subscription table, SUBSCRIBE and UNSUBSCRIBE with their answers, and dispatch of messages to handlers.

The Subscription Identifier of a subscription is a hash of its filter. So an identifier has the same meaning
in every program that uses a session, also if their subscriptions differ. A message with identifiers finds its
handlers by these numbers. Its topic is compared as well, because the session may contain identifiers that
another program or library has chosen. If no handler is found by identifier, each filter is compared.
"""

from micropython import const

from .callbacks import check_result
from .encode import encode_subscribe
from .states import (
    IDENTIFIERS_AVAILABLE,
    MAXIMUM_PACKET_SIZE,
    SHARED_AVAILABLE,
    WAIT_SUBACK,
    WILDCARD_AVAILABLE,
)

_FIRST_PACKET_ID = const(0x8000)  # first packet identifier of SUBSCRIBE and UNSUBSCRIBE
# The hash is 1 to 16381, so the identifier has two bytes. It is the remainder of a division by this prime.
_HASH_PRIME = const(16381)
# bits of `Packet.property_bits`
_IDENTIFIER = const(0x20)
_IDENTIFIER_OR_REPEATED = const(0x8000020)  # the bits `_IDENTIFIER` and `packet._REPEATED`


class Subscription:
    """A topic filter with its handler.

    `reason` is the broker's answer: the granted QoS, a reason code of 0x80 or more if the broker refuses the
    subscription, None before the answer. `identifier` is the Subscription Identifier, 0 if there is none.
    """

    # These class attributes take no space in the instance, whose dict grows in large steps.
    filters = None  # list of filters if there are several: see `optional.subscribe_options`
    filter_count = 1
    properties = b""  # user properties of SUBSCRIBE or UNSUBSCRIBE
    # Parts of a filter with wildcards: a topic matches if it has `literals` with one level between two
    # of them. `multi_level` allows more levels at the end: b"/#", b"#" for the filter "#", otherwise b"".
    literals = None
    multi_level = b""
    is_removed = False  # whether UNSUBACK has arrived, so the position in the table is free
    encode = encode_subscribe

    def __init__(self, topic_filter):
        self.topic_filter = topic_filter
        self.identifier = 0
        for byte in topic_filter:
            self.identifier = (self.identifier * 31 + byte) % _HASH_PRIME
        self.identifier += 1
        self.handler = None
        self.options = 0  # QoS, No Local, Retain As Published, Retain Handling (3.8.3.1)
        self.reason = None
        self.is_wanted = True  # False after unsubscribe
        self.needs_send = True  # SUBSCRIBE or UNSUBSCRIBE is due
        self.expected_ack = 0  # first byte of the SUBACK or UNSUBACK that is due
        self.needs_report = False  # `on_subscribed` is due
        self.same_identifier = None  # the next subscription with this identifier
        if topic_filter.startswith(b"$share/"):
            topic_filter = topic_filter.split(b"/", 2)[2]  # the part that topics are compared with
        if b"+" in topic_filter or b"#" in topic_filter or topic_filter is not self.topic_filter:
            if topic_filter[-1] == 0x23:
                self.multi_level = topic_filter[-2:]
            end = len(topic_filter) - len(self.multi_level)
            self.literals = topic_filter[:end].split(b"+")

    def matches(self, packet):
        """Return True if the topic of a message matches the filter (4.7); allocates nothing.

        A filter that begins with a wildcard does not match a topic that begins with `$` (4.7.2).
        """
        at = packet.topic_start
        if not self.literals:
            if packet.topic_end - at != len(self.topic_filter):
                return False
            # with these bounds `find` compares once
            return packet.topic_buf.find(self.topic_filter, at, packet.topic_end) == at
        i = 0
        while i < len(self.literals):
            if i:  # a plus sign
                at = packet.topic_buf.find(b"/", at, packet.topic_end)
                if at < 0:
                    at = packet.topic_end
            elif not self.literals[0] and at < packet.topic_end and packet.topic_buf[at] == 0x24:
                return False
            at += len(self.literals[i])
            if at > packet.topic_end:
                return False
            if packet.topic_buf.find(self.literals[i], at - len(self.literals[i]), at) < 0:
                return False
            i += 1
        if at == packet.topic_end:
            return True
        return len(self.multi_level) == 1 or (len(self.multi_level) == 2 and packet.topic_buf[at] == 0x2F)


class Subscriptions:
    """Table of the subscriptions. It grows only if the user subscribes."""

    def __init__(self, session):
        self._session = session
        session.packet.find_subscription = self.find_exact
        self.entries = []
        self._by_identifier = {}
        self.has_pending = False  # a packet may have to be sent
        self._was_handled = False  # whether a subscription has matched the current message

    def find(self, topic_filter):
        """Return the subscription with this filter (bytes), None if there is none."""
        for s in self.entries:
            if s.topic_filter == topic_filter and not s.is_removed:
                return s
        return None

    def add(self, s, handler, options):
        """Subscribe, or change handler and options of the subscription with this filter; returns it.

        `s` is the filter (bytes) or a Subscription.
        """
        s = self._insert(s)
        s.handler = handler
        s.options = options
        s.reason = None
        s.is_wanted = s.needs_send = self.has_pending = True
        return s

    def _insert(self, s):
        """Put a subscription into the table, unless it is already there; returns it."""
        if isinstance(s, bytes):
            s = self.find(s) or Subscription(s)
        if s not in self.entries:
            for i in range(len(self.entries)):
                if self.entries[i].is_removed:
                    self.entries[i] = s
                    break
            else:
                self.entries.append(s)
        self._by_identifier = {}
        for entry in self.entries:
            entry.same_identifier = self._by_identifier.get(entry.identifier)
            self._by_identifier[entry.identifier] = entry
        return s

    def remove(self, s):
        """Unsubscribe; the handler is called until UNSUBACK arrives. Returns the Subscription.

        `s` is the filter (bytes) or a Subscription. An earlier program may have left it in the session.
        """
        s = self._insert(s)
        s.is_wanted = False
        s.needs_send = self.has_pending = True
        return s

    def next_to_send(self):
        """Return the position of the next subscription for which a packet is due, -1 if there is none."""
        for i in range(len(self.entries)):
            if self.entries[i].needs_send and not self.entries[i].expected_ack:
                return i
        self.has_pending = False
        return -1

    def handle_ack(self, s, reason):
        """Record SUBACK or UNSUBACK; `reason` is our own reason code if SUBSCRIBE was not sent."""
        if s.expected_ack == 0xB0:
            s.is_removed = not s.needs_send
        else:
            s.reason = reason
            s.needs_report = True
        s.expected_ack = 0
        self.has_pending = True

    def rewind(self, resumed):
        """Begin a new connection: mark the packets that must be sent.

        In a resumed session these are the packets without an answer, in a new session all subscriptions.
        """
        for s in self.entries:
            if s.expected_ack or not resumed:
                s.needs_send = True
            s.expected_ack = 0
            if not s.is_wanted and not resumed:
                s.is_removed = True
            if s.is_removed:
                s.needs_send = False
        self.has_pending = True

    def find_exact(self, packet):
        """Return the subscription whose identifier and filter are those of a message, None in other cases.

        The topic of such a message needs no check, because the filter was checked.
        """
        if packet.property_bits & _IDENTIFIER_OR_REPEATED != _IDENTIFIER:
            return None
        s = self._by_identifier.get(packet.subscription_id)
        if not s or s.literals or s.same_identifier or not s.matches(packet):
            return None
        return s

    def dispatch(self, packet):
        """Call the handlers of a message, or `on_unhandled` if there is none.

        If a handler raises an exception, the others are still called.
        """
        self._was_handled = False
        if packet.subscription:
            self._call(packet.subscription, packet)
            if self._was_handled:
                return
        elif packet.property_bits & _IDENTIFIER_OR_REPEATED == _IDENTIFIER:
            self._call_identified(packet.subscription_id, packet)
        elif packet.property_bits & _IDENTIFIER:
            i = 0
            while packet.find_property(0x0B, i) >= 0:
                self._call_identified(packet.value, packet)
                i += 1
        i = 0 if not self._was_handled else len(self.entries)
        while i < len(self.entries):
            if not self.entries[i].is_removed and self.entries[i].matches(packet):
                self._call(self.entries[i], packet)
            i += 1
        if not self._was_handled and self._session.callbacks.on_unhandled:
            with self._session.catch_errors:
                self._session.callbacks.on_unhandled(packet)

    def _call_identified(self, s, packet):
        """Call the handlers of the subscriptions with the identifier `s`, if the message is for them."""
        s = self._by_identifier.get(s)  # one more local variable would move the frame to the heap
        while s:
            if s.matches(packet):
                self._call(s, packet)
            s = s.same_identifier

    def _call(self, s, packet):
        if s.handler:  # else the filter is one of an earlier program
            self._was_handled = True
            if not s.is_removed:  # else the broker has sent the message before it received UNSUBSCRIBE
                with self._session.catch_errors:
                    s = s.handler(packet)
                    if s is not None:
                        check_result(s)


def send_subscriptions(session):
    """Write each SUBSCRIBE and UNSUBSCRIBE that must be sent to `tx`, while there is room."""
    limits = session.broker_limits
    while True:
        i = session.subscriptions.next_to_send()
        if i < 0:
            return
        s = session.subscriptions.entries[i]
        data = s.encode(_FIRST_PACKET_ID + i, s.identifier if limits[IDENTIFIERS_AVAILABLE] else 0)
        reason = 0
        if len(data) > limits[MAXIMUM_PACKET_SIZE]:
            reason = 0x95
        elif b"\0$share/" in b"\0" + s.topic_filter and not limits[SHARED_AVAILABLE]:
            reason = 0x9E
        elif (b"+" in s.topic_filter or b"#" in s.topic_filter) and not limits[WILDCARD_AVAILABLE]:
            reason = 0xA2
        if reason and s.is_wanted:
            session.subscriptions.handle_ack(s, reason)
            session._has_unreported = True
        elif reason == 0x95:
            s.is_removed = True  # not sent: the broker keeps the subscription [MQTT-3.2.2-15]
        elif not session.put(data):
            return
        else:
            s.expected_ack = data[0] + 0x0E  # SUBACK or UNSUBACK
            session.pending_subacks += 1
        s.needs_send = False


def handle_suback(session, packet, first):
    """Handle SUBACK or UNSUBACK, whose first byte is `first`; returns 0 or a reason code to close with.

    An answer that is not due is ignored, as a PUBACK is: a broker may answer late or twice, and a new
    connection would not change that.
    """
    position = packet.packet_id - _FIRST_PACKET_ID
    if not 0 <= position < len(session.subscriptions.entries):
        return 0
    s = session.subscriptions.entries[position]
    if s.expected_ack != first:
        return 0
    if len(packet) != s.filter_count:
        return 0x82
    session.pending_subacks -= 1
    for first_due in session.subscriptions.entries:
        if first_due.expected_ack:
            if first_due is s:  # otherwise the answer says nothing about the earlier one
                session.wait_started[WAIT_SUBACK] = -1
            break
    session.subscriptions.handle_ack(s, packet.reason)
    if first == 0xB0 and session.callbacks.on_unsubscribed:
        with session.catch_errors:
            check_result(session.callbacks.on_unsubscribed(s, packet))
    report_subscribed(session, s)
    return 0


def report_subscribed(session, s):
    """Call `on_subscribed` if the answer was not reported yet. `session.packet` is the answer."""
    if s.needs_report:
        s.needs_report = False
        if session.callbacks.on_subscribed:
            with session.catch_errors:
                check_result(session.callbacks.on_subscribed(s, session.packet))
