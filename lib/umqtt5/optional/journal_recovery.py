"""What the records of a journal come to, read from the first to the last. `journal` loads it."""


class Replay:
    """`messages` by slot: first byte, and offset and size of the record's body; `order` has the slots.

    `released` are the slots whose PUBREL is due, `held` the packet identifiers received at QoS 2, and
    `client_id` is None before the first session.
    """

    def __init__(self, log):
        self.messages: dict = {}
        self.order: list = []
        self.released: list = []
        self.held: list = []
        self.client_id = None
        for kind, number, at, size in log.records():
            if kind == 0x10:
                client_id = bytearray(size)
                log.read(at, client_id, size)
                self.client_id = bytes(client_id)
                self.renew()
            elif kind == 0x50 or kind == 0x70:
                # what a record tells may stand in front of it already, where it began a new file
                self.held = without(self.held, number)
                if kind == 0x50:
                    self.held.append(number)
            else:
                self._outgoing(kind, number, at, size)

    def _outgoing(self, kind, number, at, size):
        if kind == 0x62:
            self.released.append(number)
            if number not in self.order:  # a streamed one
                self.order.append(number)
        elif kind >> 4 == 3 or kind == 0x40:
            self.order = without(self.order, number)
            self.released = without(self.released, number)
            self.messages.pop(number, None)
            if kind != 0x40:
                self.order.append(number)
                self.messages[number] = kind, at, size

    def renew(self):
        """The session is another: identifiers mean nothing any more, messages go out as new ones."""
        self.held = []
        self.released = []
        self.order = [slot for slot in self.order if slot in self.messages]


def without(numbers, number):
    return [one for one in numbers if one != number]
