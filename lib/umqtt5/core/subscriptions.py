"""What the user wants to hear, and who is called for a message.

The place of a subscription in the table is its Subscription Identifier: a message that
carries one finds its handler by number, any other by its topic.
"""

from micropython import const

_IDENTIFIER = const(0x20)  # as a bit of `Packet.seen`
_ONE_OR_SEVERAL = const(0x8000020)


class Subscription:
    """One topic filter with its handler.

    `reason` is the broker's answer: the QoS that it granted, a reason code of 0x80 or more
    where it refused, None as long as it has not answered.
    """

    def __init__(self, topic_filter):
        self.filter = self.part = topic_filter
        if topic_filter.startswith(b"$share/"):
            self.part = topic_filter.split(b"/", 2)[2]  # what a topic is compared with
        self.handler = None
        self.options = 0  # QoS, No Local, Retain As Published, Retain Handling (3.8.3.1)
        self.reason = None
        self.wanted = True
        self.changed = True  # the broker has to be told
        self.asked = 0  # first byte of the answer that is due
        self.gone = False  # not wanted, and the broker has been told
        self.untold = False  # the user has to be told `reason`
        self.inherited = False  # its number was another's: late messages may be meant for that


class Subscriptions:
    """The table; it grows when the user subscribes, never by itself."""

    def __init__(self):
        self.all = []
        self.pending = False  # something has to be sent
        self.guard = None  # takes the errors that handlers raise

    def find(self, topic_filter):
        """The one with this filter (bytes), None where there is none."""
        for s in self.all:
            if s.filter == topic_filter and not s.gone:
                return s
        return None

    def add(self, topic_filter, handler, options):
        """A new subscription to a filter (bytes), or the one there is with a new handler and options."""
        s = self.find(topic_filter)
        if not s:
            s = Subscription(topic_filter)
            for i in range(len(self.all)):
                if self.all[i].gone:
                    s.inherited = True
                    self.all[i] = s
                    break
            else:
                self.all.append(s)
        s.handler = handler
        s.options = options
        s.reason = None
        s.wanted = s.changed = self.pending = True
        return s

    def remove(self, topic_filter):
        """Have a subscription ended; its handler is called until the broker has confirmed."""
        s = self.find(topic_filter)
        if not s or not s.wanted:
            raise ValueError("not subscribed: %r" % topic_filter)
        s.wanted = False
        s.changed = self.pending = True

    def next(self):
        """The place of the next one that has to be sent, -1 for none."""
        for i in range(len(self.all)):
            if self.all[i].changed and not self.all[i].asked:
                return i
        self.pending = False
        return -1

    def answered(self, s, reason):
        """SUBACK, UNSUBACK, or our own refusal."""
        if s.asked == 0xB0:
            s.gone = not s.changed
        else:
            s.reason = reason
            s.untold = True
        s.asked = 0
        self.pending = True

    def rewind(self, resumed):
        """A new connection: ask again for what was not answered, for all in a new session."""
        for s in self.all:
            if s.asked or not resumed:
                s.changed = True
            s.asked = 0
            if not s.wanted and not resumed:
                s.gone = True
            if s.gone:
                s.changed = False
        self.pending = True

    def deliver(self, packet):
        """Call the handlers of a message, each in `with guard:`."""
        if packet.seen & _ONE_OR_SEVERAL == _IDENTIFIER:
            self._call(packet.identifier - 1, packet)
            return
        numbered = packet.seen & _IDENTIFIER
        i = 0
        while packet.find(0x0B, i) >= 0 if numbered else i < len(self.all):
            self._call(packet.value - 1 if numbered else i, packet)
            i += 1

    def _call(self, s, packet):
        """Call the handler of the one at place `s`."""
        if s < len(self.all):
            s = self.all[s]  # with a local more, the frame would come from the heap
            if not s.gone and (packet.seen & _IDENTIFIER and not s.inherited or packet.matches(s.part)):
                with self.guard:
                    s.handler(packet)
