"""Subscription table, SUBSCRIBE and UNSUBSCRIBE with their answers, and dispatch of messages to handlers.

The Subscription Identifier of a subscription is its position in the table plus one. If a message contains an
identifier, its handler is found by this number, otherwise by the topic.
"""

from micropython import const

from .callbacks import check_result
from .encode import encode_subscribe
from .states import IDENTIFIERS_AVAILABLE, MAXIMUM_PACKET_SIZE, SHARED_AVAILABLE, WAIT_ACK, WILDCARD_AVAILABLE

_FIRST_PACKET_ID = const(0x8000)  # first packet identifier of SUBSCRIBE and UNSUBSCRIBE
# bits of `Packet.property_bits`
_IDENTIFIER = const(0x20)
_IDENTIFIER_OR_REPEATED = const(0x8000020)  # the bits `_IDENTIFIER` and `packet._REPEATED`


class Subscription:
    """A topic filter with its handler.

    `reason` is the broker's answer: the granted QoS, a reason code of 0x80 or more if the broker refuses the
    subscription, None before the answer.
    """

    def __init__(self, topic_filter):
        self.topic_filter = self.match_filter = topic_filter
        if topic_filter.startswith(b"$share/"):
            self.match_filter = topic_filter.split(b"/", 2)[2]  # the part that topics are compared with
        self.handler = None
        self.options = 0  # QoS, No Local, Retain As Published, Retain Handling (3.8.3.1)
        self.reason = None
        self.is_wanted = True  # False after unsubscribe
        self.needs_send = True  # SUBSCRIBE or UNSUBSCRIBE is due
        self.expected_ack = 0  # first byte of the SUBACK or UNSUBACK that is due
        self.is_removed = False  # whether UNSUBACK has arrived, so the position in the table is free
        self.needs_report = False  # `on_subscribed` is due
        self.slot_reused = False  # late messages may belong to the previous subscription at this position


class Subscriptions:
    """Table of the subscriptions. It grows only if the user subscribes."""

    def __init__(self):
        self.entries = []
        self.has_pending = False  # a packet may have to be sent
        self.catch_errors = None  # context manager around each handler

    def find(self, topic_filter):
        """Return the subscription with this filter (bytes), None if there is none."""
        for s in self.entries:
            if s.topic_filter == topic_filter and not s.is_removed:
                return s
        return None

    def add(self, topic_filter, handler, options):
        """Subscribe to a filter (bytes), or change its handler and options; returns the Subscription."""
        s = self.find(topic_filter)
        if not s:
            s = Subscription(topic_filter)
            for i in range(len(self.entries)):
                if self.entries[i].is_removed:
                    s.slot_reused = True
                    self.entries[i] = s
                    break
            else:
                self.entries.append(s)
        s.handler = handler
        s.options = options
        s.reason = None
        s.is_wanted = s.needs_send = self.has_pending = True
        return s

    def remove(self, topic_filter):
        """Unsubscribe; the handler is called until UNSUBACK arrives. Raises ValueError if not subscribed."""
        s = self.find(topic_filter)
        if not s or not s.is_wanted:
            raise ValueError("not subscribed: %r" % topic_filter)
        s.is_wanted = False
        s.needs_send = self.has_pending = True

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

    def dispatch(self, packet):
        """Call the handlers of a message. If one raises an exception, the others are still called."""
        if packet.property_bits & _IDENTIFIER_OR_REPEATED == _IDENTIFIER:
            self._call(packet.subscription_id - 1, packet)
            return
        numbered = packet.property_bits & _IDENTIFIER
        i = 0
        while packet.find_property(0x0B, i) >= 0 if numbered else i < len(self.entries):
            self._call(packet.value - 1 if numbered else i, packet)
            i += 1

    def _call(self, s, packet):
        """Call the handler of the subscription at position `s`, if the message is for it."""
        if s < len(self.entries):
            s = self.entries[s]  # one more local variable would move the frame to the heap
            if not s.is_removed and (
                packet.property_bits & _IDENTIFIER and not s.slot_reused or packet.matches(s.match_filter)
            ):
                with self.catch_errors:
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
        data = encode_subscribe(s, _FIRST_PACKET_ID + i, i + 1 if limits[IDENTIFIERS_AVAILABLE] else 0)
        reason = 0
        if len(data) > limits[MAXIMUM_PACKET_SIZE]:
            reason = 0x95
        elif s.match_filter is not s.topic_filter and not limits[SHARED_AVAILABLE]:
            reason = 0x9E
        elif (b"+" in s.match_filter or b"#" in s.match_filter) and not limits[WILDCARD_AVAILABLE]:
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
            session.pending_acks += 1
        s.needs_send = False


def handle_suback(session, packet, first):
    """Handle SUBACK or UNSUBACK, whose first byte is `first`; returns 0 or a reason code to close with."""
    position = packet.packet_id - _FIRST_PACKET_ID
    if not 0 <= position < len(session.subscriptions.entries):
        return 0x82
    s = session.subscriptions.entries[position]
    if s.expected_ack != first:
        return 0x82
    session.wait_started[WAIT_ACK] = -1
    session.pending_acks -= 1
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
