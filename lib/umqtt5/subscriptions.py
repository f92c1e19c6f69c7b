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

_SUBSCRIPTION_ID = const(0x20)  # as a bit of `Packet.seen`


class Subscription:
    """One topic filter with its handler.

    `reason` is the broker's answer: the QoS that it granted, a reason code of 0x80 or more
    where it refused, None as long as it has not answered.
    """

    def __init__(self, topic_filter, handler, options):
        self.filter = topic_filter
        self.part = matching_part(topic_filter)
        self.handler = handler
        self.options = options  # QoS, No Local, Retain As Published, Retain Handling (3.8.3.1)
        self.reason = None
        self.packet_id = 0  # of the answer that is due
        self.leaving = False  # the user wants it no more
        self.unsubscribing = False  # what the answer is to
        self.changed = True  # the broker has to be told
        self.gone = False  # it has been told, and has forgotten
        self.untold = False  # the user has to be told `reason`
        self.inherited = False  # its number was another's: late messages may be meant for that


class Subscriptions:
    """The table; it grows when the user subscribes, never by itself."""

    def __init__(self):
        self.all = []
        self.pending = False  # something has to be sent
        self.owner = self  # whose `on_error` is called: the client's, where there is one
        self.on_error = None
        self.guard = Guard(Exception, self._raised)  # round all code of the user's
        self._reason = 0

    def add(self, topic_filter, handler, options):
        """A new subscription, or the one there is for this filter with a new handler and options."""
        data = encode_filter(topic_filter)
        self.pending = True
        free = -1
        for i in range(len(self.all)):
            s = self.all[i]
            if s.filter == data:
                s.handler = handler
                s.options = options
                s.changed = True
                s.leaving = s.gone = False
                s.reason = None
                return s
            if s.gone:
                free = i
        new = Subscription(data, handler, options)
        if free < 0:
            self.all.append(new)
        else:
            new.inherited = True
            self.all[free] = new
        return new

    def remove(self, topic_filter):
        """Have a subscription ended; its handler is called until the broker has confirmed."""
        data = encode_filter(topic_filter)
        for s in self.all:
            if s.filter == data and not s.gone and not s.leaving:
                s.leaving = s.changed = self.pending = True
                return
        raise ValueError("not subscribed: %r" % topic_filter)

    def next(self):
        """The place of the next one that has to be sent, -1 for none."""
        for i in range(len(self.all)):
            if self.all[i].changed and not self.all[i].packet_id:
                return i
        self.pending = False
        return -1

    def asked(self, s, packet_id):
        """Its SUBSCRIBE or UNSUBSCRIBE goes out. A later change waits for the answer."""
        s.packet_id = packet_id
        s.unsubscribing = s.leaving
        s.changed = False

    def waiting(self, packet_id):
        """The subscription whose answer has this packet identifier, None where there is none."""
        for s in self.all:
            if s.packet_id == packet_id:
                return s
        return None

    def answered(self, s, reason):
        """SUBACK, UNSUBACK, or our own refusal."""
        s.packet_id = 0
        if s.unsubscribing:
            s.gone = not s.changed
        else:
            s.reason = reason
            s.untold = True
        s.unsubscribing = False
        self.pending = True

    def rewind(self, resumed):
        """A new connection: ask again for what was not answered, for all in a new session."""
        for s in self.all:
            s.changed = s.changed or s.packet_id > 0 or not resumed
            s.packet_id = 0
            s.unsubscribing = False
            if s.leaving and not resumed:
                s.gone = True
            if s.gone:
                s.changed = False
        self.pending = True

    def deliver(self, packet):
        """Call the handlers of a message; returns the reason code for its acknowledgement."""
        self._reason = 0
        if packet.seen & _SUBSCRIPTION_ID:
            self._by_number(packet)
        else:
            for s in self.all:
                if packet.matches(s.part):
                    self._call(s, packet)
        return self._reason

    def _by_number(self, packet):
        nth = 0
        identifier = packet.identifier(0)
        while identifier:
            if identifier <= len(self.all):
                s = self.all[identifier - 1]
                if not s.inherited or packet.matches(s.part):
                    self._call(s, packet)
            nth += 1
            identifier = packet.identifier(nth)

    def _call(self, s, packet):
        if not s.gone:
            with self.guard:
                s.handler(packet)

    def _raised(self, error):
        """A handler that raises has not done its work: 0x80, Unspecified error."""
        self._reason = 0x80
        if self.owner.on_error:
            self.owner.on_error(error)
        else:
            print_exception(error)
