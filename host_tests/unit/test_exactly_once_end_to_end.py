"""Exactly-once delivery (QoS 2) from a publisher through a broker to a receiver, with connection cuts.

When a connection is cut, bytes that the client has written to its stream are lost, although the client
counts them as sent. In `test_exactly_once` the client knows how many bytes were sent.
"""

import sys

from helper import Peer, make_packet, publish_packet
from umqtt5.core.states import CONNECTED
from umqtt5.core.topics import Topic

UP, DOWN = 0, 1
NEVER = (UP, 1 << 20)
# CPython tests every position of the first of two cuts; the slower VMs test every seventh
STEP = 1 if sys.implementation.name == "cpython" else 7
PAYLOADS = (b"v", b"w", b"x", b"y")


class BrokerSide:
    """The broker's session of one client (QoS 2, section 4.3.3); it survives connections."""

    def __init__(self, peer, receive_maximum, taken=None):
        self.peer = peer
        self.taken = taken  # called with each received payload
        self.limits = b"\x03\x21\x00" + bytes((receive_maximum,))
        self.unreleased = []  # packet identifiers that await PUBREL
        self.pending = []  # [packet identifier, payload (None after PUBREC), sent, sent before]
        self.began = False
        self.passed = [0, 0]  # number of bytes in each direction

    def send(self, payload):
        used = [owed[0] for owed in self.pending]
        packet_id = 1
        while packet_id in used:
            packet_id += 1
        self.pending.append([packet_id, payload, False, False])

    def connect(self, cut):
        """Open a connection; `cut` is a direction and the number of bytes after which it is cut."""
        session = self.peer.session
        session.open(0)
        self.peer.read_output()
        self.inbox = b""
        self.whole = True
        self.direction, self.bytes_left = NEVER
        self._down(make_packet(0x20, bytes((self.began, 0)), self.limits))
        assert session.state == CONNECTED
        self.began = True
        self.direction, self.bytes_left = cut
        for owed in self.pending:
            owed[2] = False

    def _pass(self, direction, data):
        """Return the part of the data that passes before the cut."""
        if not self.whole:
            return b""
        if direction == self.direction:
            if len(data) >= self.bytes_left:
                data = data[: self.bytes_left]
                self.whole = False
            self.bytes_left -= len(data)
        self.passed[direction] += len(data)
        return data

    def _down(self, data):
        data = self._pass(DOWN, data)
        framer = self.peer.session.framer
        while data:
            n = min(len(data), framer.max_read)
            framer.read_buffer[:n] = data[:n]
            data = data[n:]
            self.peer.session.receive_data(n, 0)
            self.peer.session.parse()

    def step(self):
        """Transfer all pending bytes once; returns False if there were none."""
        written = self.peer.read_output()
        before = self.passed[DOWN]
        self.inbox += self._pass(UP, written)
        while len(self.inbox) > 1 and len(self.inbox) >= 2 + self.inbox[1]:
            size = 2 + self.inbox[1]
            one, self.inbox = self.inbox[:size], self.inbox[size:]
            self._answer(one)
        for owed in self.pending:
            if not owed[2] and self.whole:
                again, owed[2], owed[3] = owed[3], True, True
                if owed[1] is None:
                    self._down(bytes((0x62, 2, 0, owed[0])))
                else:
                    self._down(publish_packet(b"down", owed[1], 2, owed[0], flags=8 if again else 0))
        return written != b"" or before != self.passed[DOWN]

    def _answer(self, one):
        kind = one[0] >> 4
        if kind == 3:
            at = 4 + one[3]
            packet_id = one[at + 1]
            if packet_id not in self.unreleased:
                self.unreleased.append(packet_id)
                self.taken(one[at + 3 :])
            self._down(bytes((0x50, 2, 0, packet_id)))
        elif kind == 6:
            if one[3] in self.unreleased:
                self.unreleased.remove(one[3])
            self._down(bytes((0x70, 2, 0, one[3])))
        elif kind == 5:
            for owed in self.pending:
                if owed[0] == one[3]:
                    owed[1] = None
            self._down(bytes((0x62, 2, 0, one[3])))
        elif kind == 7:
            self.pending = [owed for owed in self.pending if owed[0] != one[3]]


def exchange(publisher_cuts, receiver_cuts, receive_maximum=4):
    """Send all messages from publisher to receiver; after the listed cuts, a last connection is not cut.

    Returns the number of bytes by direction for the publisher's and the receiver's last connection.
    """
    got = []
    ended = []
    publisher = Peer(client_id=b"publisher", inflight=4)
    receiver = Peer(client_id=b"receiver", inflight=4)
    for peer in (publisher, receiver):
        peer.session.session_expiry = 100
    publisher.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    s = receiver.subscribe("down", lambda m: got.append(m.payload), 2)
    s.needs_send = False  # as if SUBACK had been received
    right = BrokerSide(receiver, 4)
    left = BrokerSide(publisher, receive_maximum, right.send)
    for payload in PAYLOADS[:3]:
        assert publisher.publish(Topic("up"), payload, qos=2)
    for i in range(max(len(publisher_cuts), len(receiver_cuts)) + 1):
        for side, cuts in ((left, publisher_cuts), (right, receiver_cuts)):
            side.peer.session.connection_lost()
            side.connect(cuts[i] if i < len(cuts) else NEVER)
            side.passed = [0, 0]
            s.needs_send = False
        if i == 0:  # one more message while the others are in flight
            assert publisher.publish(Topic("up"), PAYLOADS[3], qos=2)
        while left.step() | right.step():
            pass
    cuts = publisher_cuts, receiver_cuts
    assert tuple(got) == PAYLOADS, (cuts, got)
    assert sorted(ended) == [(1, 0), (2, 0), (3, 0), (4, 0)], (cuts, ended)
    for side in (left, right):
        assert side.peer.session.state == CONNECTED, cuts
        assert side.pending == [] and side.unreleased == [], cuts
    assert not publisher.session.outbox.count and publisher.session.pending_acks == 0, cuts
    assert publisher.session._send_quota == receive_maximum, cuts
    assert list(receiver.session.received_ids) == [0, 0, 0, 0], cuts
    return left.passed, right.passed


def places():
    """Return the possible cuts of each of the two connections: every byte position in each direction."""
    wires = exchange([], [])
    return [[(way, n) for way in (UP, DOWN) for n in range(wire[way] + 1)] for wire in wires]


def test_a_cut_at_any_byte_of_the_publishers_connection_keeps_exactly_once():
    for receive_maximum in (4, 2, 1):
        for place in places()[0]:
            exchange([place], [], receive_maximum)


def test_a_cut_at_any_byte_of_the_receivers_connection_keeps_exactly_once():
    for place in places()[1]:
        exchange([], [place])


def test_two_cuts_of_the_publishers_connection_keep_exactly_once():
    wire = places()[0]
    for i in range(0, len(wire), STEP):
        for j in range(i % 3, len(wire), 3 * STEP):
            exchange([wire[i], wire[j]], [], 4 - i % 2 * 2)


def test_two_cuts_of_the_receivers_connection_keep_exactly_once():
    wire = places()[1]
    for i in range(0, len(wire), STEP):
        for j in range(i % 3, len(wire), 3 * STEP):
            exchange([], [wire[i], wire[j]])


def test_cuts_of_both_connections_keep_exactly_once():
    one, other = places()
    for i in range(0, len(one), STEP):
        for j in range(i % 5, len(other), 5 * STEP):
            exchange([one[i]], [other[j]])
            exchange([NEVER, one[i]], [other[j], NEVER])


def test_repeated_cuts_early_in_the_connection_keep_exactly_once():
    for n in range(1, 40):
        exchange([(UP, n)] * 5 + [(DOWN, n)] * 5, [(DOWN, n)] * 5 + [(UP, n)] * 5)
