"""QoS 2 in both directions: connection cuts at every byte, resumed sessions, release, quota, errors."""

from test_session import connected, ends_with, subscribed

from helper import Peer, make_packet, publish_packet, utf8_string
from umqtt5.core.states import CLOSING, CONNECTED
from umqtt5.core.topics import Topic


class Broker:
    """A broker whose session survives connections; it implements QoS 2 as in section 4.3.3."""

    def __init__(self, peer):
        self.peer = peer
        self.unreleased = []  # packet identifiers that await PUBREL
        self.delivered = []  # delivered payloads
        self.pending = []  # [packet identifier, payload (None after PUBREC)]
        self.began = False
        self.inbox = b""
        self.bytes_left = 0  # number of bytes, in both directions, until the connection is cut

    def send(self, payload):
        self.pending.append([len(self.pending) + 1, payload])

    def cut(self):
        self.peer.session.connection_lost()
        self.inbox = b""

    def write(self, data):
        """Send bytes to the client, up to the cut."""
        data = data[: self.bytes_left]
        self.bytes_left -= len(data)
        while data and self.peer.session.state != CLOSING:
            n = min(len(data), self.peer.session.framer.max_read)
            self.peer.session.framer.read_buffer[:n] = data[:n]
            data = data[n:]
            self.peer.session.receive_data(n, 0)
            self.peer.session.parse()

    def read(self):
        """Read what the client writes, up to the cut; returns True if it wrote anything."""
        sender = self.peer.session
        n = min(sender.prepare_write(), self.bytes_left)
        if n:
            self.inbox += bytes(sender.write_buffer[sender.write_start : sender.write_start + n])
            self.peer.session.confirm_write(n, 0)
            self.bytes_left -= n
        return n > 0

    def connect(self):
        """Open a connection; returns whether it resumes a session."""
        self.peer.session.open(0)
        self.bytes_left = 1 << 20
        while self.read():
            pass
        self.inbox = b""
        self.write(b"\x20\x03\x01\x00\x00" if self.began else b"\x20\x03\x00\x00\x00")
        again, self.began = self.began, True
        return again

    def resend(self, again):
        for identifier, payload in self.pending:
            if payload is None:
                self.write(bytes((0x62, 2, 0, identifier)))
            else:
                self.write(publish_packet(b"down", payload, 2, identifier, flags=8 if again else 0))

    def handle(self):
        """Reply to the packets of the client."""
        while len(self.inbox) >= 2 and len(self.inbox) >= 2 + self.inbox[1]:
            size = 2 + self.inbox[1]
            one, self.inbox = self.inbox[:size], self.inbox[size:]
            kind = one[0] >> 4
            if kind == 3:
                self._publish(one)
                continue
            identifier = one[3]
            if kind == 6:
                if identifier in self.unreleased:
                    self.unreleased.remove(identifier)
                self.write(bytes((0x70, 2, 0, identifier)))
            elif kind == 5:
                for owed in self.pending:
                    if owed[0] == identifier:
                        owed[1] = None
                self.write(bytes((0x62, 2, 0, identifier)))
            elif kind == 7:
                self.pending = [owed for owed in self.pending if owed[0] != identifier]

    def _publish(self, one):
        at = 4 + one[3]
        identifier = one[at + 1]
        if identifier not in self.unreleased:
            self.unreleased.append(identifier)
            self.delivered.append(one[at + 3 :])
        self.write(bytes((0x50, 2, 0, identifier)))

    def run(self):
        """Run until both sides are idle or the connection is cut."""
        while self.bytes_left and (self.read() or self.inbox):
            before = self.inbox
            self.handle()
            if self.inbox == before and not self.peer.session.prepare_write():
                return


def exchange(cuts):
    """Exchange three messages in each direction; connection i is cut after `cuts[i]` bytes."""
    got = []
    peer = Peer(inflight=4)
    peer.session.session_expiry = 100
    peer.subscribe("down", lambda m: got.append(m.payload), 2)
    broker = Broker(peer)
    broker.connect()
    peer.read_output()
    peer.session.subscriptions.entries[0].needs_send = False
    peer.session.subscriptions.handle_ack(peer.session.subscriptions.entries[0], 2)
    peer.session.pending_acks = peer.session.pending_subacks = 0
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    for payload in (b"x", b"y", b"z"):
        assert peer.publish(Topic("up"), payload, qos=2)
        broker.send(payload)
    broker.bytes_left = cuts[0]
    broker.resend(False)
    broker.run()
    for cut in cuts[1:] + [1 << 20]:
        broker.cut()
        assert broker.connect()
        broker.bytes_left = cut
        broker.resend(True)
        broker.run()
    assert peer.session.state == CONNECTED
    assert broker.delivered == [b"x", b"y", b"z"], (cuts, broker.delivered)
    assert got == [b"x", b"y", b"z"], (cuts, got)
    assert sorted(ended) == [(1, 0), (2, 0), (3, 0)], (cuts, ended)  # each message is reported once
    assert broker.pending == [] and broker.unreleased == []
    assert not peer.session.outbox.count and 1 not in list(peer.session.received_ids)
    assert peer.session._send_quota == 65535


def test_a_cut_at_any_byte_neither_loses_nor_repeats_a_message():
    for cut in range(140):
        exchange([cut])


def test_two_cuts_in_a_row_neither_lose_nor_repeat_a_message():
    for first in range(0, 140, 7):
        for second in range(0, 90, 5):
            exchange([first, second])


def test_a_qos_2_message_is_sent_as_publish_and_pubrel():  # [MQTT-4.3.3-2], [MQTT-4.3.3-4]
    peer = connected()
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    assert peer.publish(Topic("a"), b"x", qos=2) == 1
    assert peer.read_output() == make_packet(0x34, utf8_string(b"a"), b"\x00\x01\x00x")
    assert peer.feed(b"\x50\x02\x00\x01") == b"\x62\x02\x00\x01"
    assert peer.feed(b"\x50\x02\x00\x01") == b"\x62\x02\x00\x01"
    assert ended == []
    assert peer.feed(b"\x70\x02\x00\x01") == b""
    assert ended == [(1, 0)] and not peer.session.outbox.count


def test_a_pubrec_with_an_error_completes_the_message():  # [MQTT-4.4.0-2]
    peer = connected(make_packet(0x20, b"\x00\x00\x03\x21\x00\x01"))
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    peer.publish(Topic("a"), b"x", qos=2)
    peer.publish(Topic("a"), b"y", qos=2)
    peer.read_output()
    out = peer.feed(b"\x50\x03\x00\x01\x97")  # no PUBREL, and the next message is sent
    assert out == make_packet(0x34, utf8_string(b"a"), b"\x00\x02\x00y")
    assert ended == [(1, 0x97)]


def test_an_unknown_pubrec_and_an_unknown_pubrel_are_answered_with_0x92():
    assert connected().feed(b"\x50\x02\x00\x09") == b"\x62\x03\x00\x09\x92"
    assert connected().feed(b"\x62\x02\x00\x09") == b"\x70\x03\x00\x09\x92"
    assert connected().feed(b"\x70\x02\x00\x09") == b""  # PUBCOMP needs no reply


def test_the_send_quota_comes_back_with_pubcomp():  # [MQTT-4.9.0-2]
    peer = connected(make_packet(0x20, b"\x00\x00\x03\x21\x00\x01"))
    peer.publish(Topic("a"), b"x", qos=2)
    peer.publish(Topic("a"), b"y", qos=2)
    assert peer.read_output().count(b"\x00y") == 0
    assert peer.feed(b"\x50\x02\x00\x01") == b"\x62\x02\x00\x01"
    assert peer.feed(b"\x70\x02\x00\x01").endswith(b"y")


def test_a_received_message_is_delivered_once_until_its_pubrel():  # [MQTT-4.3.3-10], [MQTT-4.3.3-12]
    peer, got = subscribed()
    one = publish_packet(b"a/b", b"1", 2, 7)
    again = publish_packet(b"a/b", b"1", 2, 7, flags=8)
    assert peer.feed(one) == b"\x50\x02\x00\x07"
    assert peer.feed(again) == b"\x50\x02\x00\x07"
    assert len(got) == 1
    assert peer.feed(b"\x62\x02\x00\x07") == b"\x70\x02\x00\x07"
    assert peer.feed(one) == b"\x50\x02\x00\x07"
    assert len(got) == 2


def test_after_a_handler_raised_the_packet_identifier_means_a_new_message():  # [MQTT-4.3.3-9]
    peer, got = subscribed()
    peer.session.on_error = lambda error: None

    def broken(message):
        raise ValueError

    good = peer.session.subscriptions.entries[0].handler
    peer.session.subscriptions.entries[0].handler = broken
    assert peer.feed(publish_packet(b"a/b", b"1", 2, 7)) == b"\x50\x03\x00\x07\x80"
    peer.session.subscriptions.entries[0].handler = good
    assert peer.feed(publish_packet(b"a/b", b"2", 2, 7)) == b"\x50\x02\x00\x07"
    assert [payload for _, payload in got] == [b"2"]


def test_more_received_qos_2_messages_than_inflight_end_with_0x93():
    peer, got = subscribed(inflight=2)
    peer.feed(publish_packet(b"a/b", b"1", 2, 1) + publish_packet(b"a/b", b"2", 2, 2))
    ends_with(peer, publish_packet(b"a/b", b"3", 2, 3), 0x93)
    assert len(got) == 2


def test_a_lost_session_clears_the_received_packet_identifiers():
    peer, got = subscribed()
    peer.feed(publish_packet(b"a/b", b"1", 2, 7))
    peer.session.connection_lost()
    peer.connect()
    assert 7 not in list(peer.session.received_ids)


def test_a_message_with_pubrec_counts_as_delivered_if_the_broker_loses_its_session():
    peer = connected()
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    peer.publish(Topic("a"), b"x", qos=2)
    peer.read_output()
    peer.feed(b"\x50\x02\x00\x01")
    peer.session.connection_lost()
    _, out = peer.connect()
    peer.advance(0)
    assert out == b"" and ended == [(1, 0)]


def test_pubrels_are_not_limited_by_the_quota():  # [MQTT-3.3.4-8]
    peer = connected()
    for payload in (b"x", b"y", b"z"):
        peer.publish(Topic("a"), payload, qos=2)
    peer.read_output()
    peer.feed(b"\x50\x02\x00\x02" + b"\x50\x02\x00\x03")
    peer.session.connection_lost()
    _, out = peer.connect(make_packet(0x20, b"\x01\x00\x03\x21\x00\x01"))
    assert out == b"\x62\x02\x00\x02\x62\x02\x00\x03"
    assert peer.feed(b"\x70\x02\x00\x02") == b""  # the other PUBREL still uses the Receive Maximum of 1
    assert peer.feed(b"\x70\x02\x00\x03") == make_packet(0x3C, utf8_string(b"a"), b"\x00\x01\x00x")


def test_an_acknowledgement_of_another_qos_ends_with_0x82():
    for qos, wrong in ((1, b"\x50\x02\x00\x01"), (2, b"\x40\x02\x00\x01")):
        peer = connected()
        peer.publish(Topic("a"), b"x", qos=qos)
        peer.read_output()
        ends_with(peer, wrong, 0x82)
