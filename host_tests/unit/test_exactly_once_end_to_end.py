"""Exactly once from one session through a broker to another, wherever and however often a wire is cut.

What a client has handed to its stream when the wire is cut is gone, though it counts as sent. (In
`test_exactly_once` the client knows how far it came; there one session does both at once.)
"""

import sys

from helper import Peer, message, packet
from umqtt5.core.session import CONNECTED
from umqtt5.core.topics import Topic

UP, DOWN = 0, 1
NEVER = (UP, 1 << 20)
# every pair of cuts where that takes seconds; the VMs take every few
STEP = 1 if sys.implementation.name == "cpython" else 7
PAYLOADS = (b"v", b"w", b"x", b"y")


class Side:
    """The broker's side of one client's QoS 2, after section 4.3.3; it outlives connections."""

    def __init__(self, peer, receive_maximum, taken=None):
        self.peer = peer
        self.taken = taken  # is called with each payload, once
        self.limits = b"\x03\x21\x00" + bytes((receive_maximum,))
        self.held = []  # packet identifiers received and not released
        self.owes = []  # [packet identifier, payload or None where a PUBREL is owed, sent, sent before]
        self.began = False
        self.passed = [0, 0]  # bytes in each direction

    def send(self, payload):
        used = [owed[0] for owed in self.owes]
        packet_id = 1
        while packet_id in used:
            packet_id += 1
        self.owes.append([packet_id, payload, False, False])

    def connect(self, cut):
        """A connection begins, whose wire is cut after so many bytes of one direction."""
        session = self.peer.session
        session.open(0)
        self.peer.take()
        self.inbox = b""
        self.whole = True
        self.direction, self.left = NEVER
        self._down(packet(0x20, bytes((self.began, 0)), self.limits))
        assert session.state == CONNECTED
        self.began = True
        self.direction, self.left = cut
        for owed in self.owes:
            owed[2] = False

    def _pass(self, direction, data):
        """As much of the data as the wire lets through."""
        if not self.whole:
            return b""
        if direction == self.direction:
            if len(data) >= self.left:
                data = data[: self.left]
                self.whole = False
            self.left -= len(data)
        self.passed[direction] += len(data)
        return data

    def _down(self, data):
        data = self._pass(DOWN, data)
        framer = self.peer.session.framer
        while data:
            n = min(len(data), framer.want)
            framer.into[:n] = data[:n]
            data = data[n:]
            self.peer.session.received(n, 0)

    def step(self):
        """Let each say what it has to say; False where nothing was said."""
        written = self.peer.take()
        before = self.passed[DOWN]
        self.inbox += self._pass(UP, written)
        while len(self.inbox) > 1 and len(self.inbox) >= 2 + self.inbox[1]:
            size = 2 + self.inbox[1]
            one, self.inbox = self.inbox[:size], self.inbox[size:]
            self._answer(one)
        for owed in self.owes:
            if not owed[2] and self.whole:
                again, owed[2], owed[3] = owed[3], True, True
                if owed[1] is None:
                    self._down(bytes((0x62, 2, 0, owed[0])))
                else:
                    self._down(message(b"down", owed[1], 2, owed[0], flags=8 if again else 0))
        return written != b"" or before != self.passed[DOWN]

    def _answer(self, one):
        kind = one[0] >> 4
        if kind == 3:
            at = 4 + one[3]
            packet_id = one[at + 1]
            if packet_id not in self.held:
                self.held.append(packet_id)
                self.taken(one[at + 3 :])
            self._down(bytes((0x50, 2, 0, packet_id)))
        elif kind == 6:
            if one[3] in self.held:
                self.held.remove(one[3])
            self._down(bytes((0x70, 2, 0, one[3])))
        elif kind == 5:
            for owed in self.owes:
                if owed[0] == one[3]:
                    owed[1] = None
            self._down(bytes((0x62, 2, 0, one[3])))
        elif kind == 7:
            self.owes = [owed for owed in self.owes if owed[0] != one[3]]


def exchange(publisher_cuts, receiver_cuts, receive_maximum=4):
    """All messages from the one to the other, over connections that are cut in turn.

    Returns the bytes that each wire carried in the last connections.
    """
    got = []
    ended = []
    publisher = Peer(client_id=b"publisher", inflight=4)
    receiver = Peer(client_id=b"receiver", inflight=4)
    for peer in (publisher, receiver):
        peer.session.session_expiry = 100
    publisher.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    s = receiver.subscribe("down", lambda m: got.append(m.payload), 2)
    s.changed = False  # as if it had been answered
    right = Side(receiver, 4)
    left = Side(publisher, receive_maximum, right.send)
    for payload in PAYLOADS[:3]:
        assert publisher.publish(Topic("up"), payload, qos=2)
    for i in range(max(len(publisher_cuts), len(receiver_cuts)) + 1):
        for side, cuts in ((left, publisher_cuts), (right, receiver_cuts)):
            side.peer.session.lost()
            side.connect(cuts[i] if i < len(cuts) else NEVER)
            side.passed = [0, 0]
            s.changed = False
        if i == 0:  # one more while the others are on their way
            assert publisher.publish(Topic("up"), PAYLOADS[3], qos=2)
        while left.step() | right.step():
            pass
    cuts = publisher_cuts, receiver_cuts
    assert tuple(got) == PAYLOADS, (cuts, got)
    assert sorted(ended) == [(1, 0), (2, 0), (3, 0), (4, 0)], (cuts, ended)
    for side in (left, right):
        assert side.peer.session.state == CONNECTED, cuts
        assert side.owes == [] and side.held == [], cuts
    assert not publisher.session.outbox.count and publisher.session.owed == 0, cuts
    assert publisher.session._quota == receive_maximum, cuts
    assert list(receiver.session.inbox) == [0, 0, 0, 0], cuts
    return left.passed, right.passed


def places():
    """Every byte of either direction of both wires."""
    wires = exchange([], [])
    return [[(way, n) for way in (UP, DOWN) for n in range(wire[way] + 1)] for wire in wires]


def test_a_cut_at_every_byte_of_the_publishers_wire():
    for receive_maximum in (4, 2, 1):
        for place in places()[0]:
            exchange([place], [], receive_maximum)


def test_a_cut_at_every_byte_of_the_receivers_wire():
    for place in places()[1]:
        exchange([], [place])


def test_two_cuts_of_the_publishers_wire():
    wire = places()[0]
    for i in range(0, len(wire), STEP):
        for j in range(i % 3, len(wire), 3 * STEP):
            exchange([wire[i], wire[j]], [], 4 - i % 2 * 2)


def test_two_cuts_of_the_receivers_wire():
    wire = places()[1]
    for i in range(0, len(wire), STEP):
        for j in range(i % 3, len(wire), 3 * STEP):
            exchange([], [wire[i], wire[j]])


def test_both_wires_cut():
    one, other = places()
    for i in range(0, len(one), STEP):
        for j in range(i % 5, len(other), 5 * STEP):
            exchange([one[i]], [other[j]])
            exchange([NEVER, one[i]], [other[j], NEVER])


def test_cut_again_and_again_soon_after_the_beginning():
    for n in range(1, 40):
        exchange([(UP, n)] * 5 + [(DOWN, n)] * 5, [(DOWN, n)] * 5 + [(UP, n)] * 5)
