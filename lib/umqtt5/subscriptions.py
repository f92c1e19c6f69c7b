"""What the user wants to hear, and who is called for a message.

The place of a subscription in the table is its Subscription Identifier: a message that
carries one finds its handler by number, any other by its topic.
"""

import sys

from micropython import const

from .errors import Guard
from .topics import encode_filter, matching_part

if sys.implementation.name == "cpython":
    from .hosted import print_exception
else:
    from sys import print_exception  # type: ignore[assignment]

LEAVING = 3
_NEW = const(0)
_ASKED = const(1)
_HELD = const(2)
_GONE = const(4)
_SUBSCRIPTION_ID = const(0x20)  # as a bit of `Packet.seen`


class Subscription:
    """One topic filter with its handler.

    `reason` is the broker's answer: the QoS that it granted, a reason code of 0x80 or more
    where it refused, None as long as it has not answered.
    """

    def __init__(self, topic_filter, handler, qos):
        self.filter = encode_filter(topic_filter)
        self.part = matching_part(self.filter)
        self.handler = handler
        self.qos = qos
        self.reason = None
        self.packet_id = 0
        self.state = _NEW


class Subscriptions:
    """The table; it grows when the user subscribes, never by itself."""

    def __init__(self):
        self.all = []
        self.pending = False  # something has to be sent
        self._reason = 0
        self._guard = Guard(Exception, self._raised)
        self.on_error = None  # (exception) that a handler raised; None prints it

    def add(self, topic_filter, handler, qos):
        """A new subscription, or the one there is for this filter with a new handler."""
        new = Subscription(topic_filter, handler, qos)
        self.pending = True
        for i in range(len(self.all)):
            if self.all[i].filter == new.filter or self.all[i].state == _GONE:
                self.all[i] = new
                return new
        self.all.append(new)
        return new

    def remove(self, topic_filter):
        """Have a subscription ended; its handler is called until the broker has confirmed."""
        wanted = encode_filter(topic_filter)
        for subscription in self.all:
            if subscription.filter == wanted and subscription.state != _GONE:
                subscription.state = LEAVING
                subscription.packet_id = 0
                self.pending = True
                return
        raise ValueError("not subscribed: %r" % topic_filter)

    def next(self):
        """The place of the next one that has to be sent, -1 for none."""
        for i in range(len(self.all)):
            s = self.all[i]
            if s.state == _NEW or (s.state == LEAVING and not s.packet_id):
                return i
        self.pending = False
        return -1

    def asked(self, i, packet_id):
        """Its SUBSCRIBE or UNSUBSCRIBE has gone out."""
        s = self.all[i]
        s.packet_id = packet_id
        if s.state == _NEW:
            s.state = _ASKED

    def waiting(self, packet_id, subscribe):
        """The subscription whose answer this packet identifier is, None where there is none."""
        for s in self.all:
            if s.packet_id == packet_id and s.state == (_ASKED if subscribe else LEAVING):
                return s
        return None

    def answered(self, s, reason):
        """SUBACK or UNSUBACK has come."""
        s.packet_id = 0
        if s.state == LEAVING:
            s.state = _GONE
        else:
            s.reason = reason
            s.state = _HELD

    def in_use(self, packet_id):
        for s in self.all:
            if s.packet_id == packet_id:
                return True
        return False

    def rewind(self, resumed):
        """A new connection: ask again for what was not answered, for all in a new session."""
        for s in self.all:
            s.packet_id = 0
            if s.state == LEAVING and not resumed:
                s.state = _GONE
            elif s.state == _ASKED or (s.state == _HELD and not resumed):
                s.state = _NEW
        self.pending = True

    def deliver(self, packet):
        """Call the handlers of a message; returns the reason code for its acknowledgement."""
        self._reason = 0
        if packet.seen & _SUBSCRIPTION_ID:
            self._by_number(packet)
        else:
            self._by_topic(packet)
        return self._reason

    def _by_number(self, packet):
        nth = 0
        identifier = packet.identifier(0)
        while identifier:
            if identifier <= len(self.all):
                self._call(self.all[identifier - 1], packet)
            nth += 1
            identifier = packet.identifier(nth)

    def _by_topic(self, packet):
        for s in self.all:
            if packet.matches(s.part):
                self._call(s, packet)

    def _call(self, s, packet):
        if s.state != _GONE:
            with self._guard:
                s.handler(packet)

    def _raised(self, error):
        """A handler that raises has not done its work: 0x80, Unspecified error."""
        self._reason = 0x80
        if self.on_error:
            self.on_error(error)
        else:
            print_exception(error)
