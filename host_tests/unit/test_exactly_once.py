"""QoS 2 both ways, with the wire cut at every byte of the exchange and the session resumed."""

from test_session import connected, ends_with, subscribed

from helper import Peer, message, packet, text
from umqtt5.core.session import CLOSING, CONNECTED
from umqtt5.core.topics import Topic


class Broker:
    """The other side of QoS 2, after section 4.3.3, with a session that outlives connections."""

    def __init__(self, peer):
        self.peer = peer
        self.held = []  # identifiers received and not released
        self.got = []  # payloads, each once
        self.owes = []  # [identifier, payload or None when only PUBREL is owed]
        self.began = False
        self.inbox = b""
        self.left = 0  # bytes that still pass in either direction before the wire is cut

    def send(self, payload):
        self.owes.append([len(self.owes) + 1, payload])

    def cut(self):
        self.peer.session.lost()
        self.inbox = b""

    def write(self, data):
        """Bytes to the client, as far as the wire lets them through."""
        data = data[: self.left]
        self.left -= len(data)
        while data and self.peer.session.state != CLOSING:
            n = min(len(data), self.peer.session.framer.want)
            self.peer.session.framer.into[:n] = data[:n]
            data = data[n:]
            self.peer.session.received(n, 0)

    def read(self):
        """What the client writes, as far as the wire lets it through; True where it wrote."""
        sender = self.peer.session
        n = min(sender.output(), self.left)
        if n:
            self.inbox += bytes(sender.out[sender.out_at : sender.out_at + n])
            self.peer.session.sent(n, 0)
            self.left -= n
        return n > 0

    def connect(self):
        """A connection begins; all that is owed goes out again."""
        self.peer.session.open(0)
        self.left = 1 << 20
        while self.read():
            pass
        self.inbox = b""
        self.write(b"\x20\x03\x01\x00\x00" if self.began else b"\x20\x03\x00\x00\x00")
        again, self.began = self.began, True
        return again

    def resend(self, again):
        for identifier, payload in self.owes:
            if payload is None:
                self.write(bytes((0x62, 2, 0, identifier)))
            else:
                self.write(message(b"down", payload, 2, identifier, flags=8 if again else 0))

    def handle(self):
        """Answer what has come from the client."""
        while len(self.inbox) >= 2 and len(self.inbox) >= 2 + self.inbox[1]:
            size = 2 + self.inbox[1]
            one, self.inbox = self.inbox[:size], self.inbox[size:]
            kind = one[0] >> 4
            if kind == 3:
                self._publish(one)
                continue
            identifier = one[3]
            if kind == 6:
                if identifier in self.held:
                    self.held.remove(identifier)
                self.write(bytes((0x70, 2, 0, identifier)))
            elif kind == 5:
                for owed in self.owes:
                    if owed[0] == identifier:
                        owed[1] = None
                self.write(bytes((0x62, 2, 0, identifier)))
            elif kind == 7:
                self.owes = [owed for owed in self.owes if owed[0] != identifier]

    def _publish(self, one):
        at = 4 + one[3]
        identifier = one[at + 1]
        if identifier not in self.held:
            self.held.append(identifier)
            self.got.append(one[at + 3 :])
        self.write(bytes((0x50, 2, 0, identifier)))

    def run(self):
        """Until both sides are still, or the wire is cut."""
        while self.left and (self.read() or self.inbox):
            before = self.inbox
            self.handle()
            if self.inbox == before and not self.peer.session.output():
                return


def exchange(cuts):
    """Three messages each way, the wire cut after so many bytes of each connection in turn."""
    got = []
    peer = Peer(inflight=4)
    peer.session.session_expiry = 100
    peer.subscribe("down", lambda m: got.append(m.payload), 2)
    broker = Broker(peer)
    broker.connect()
    peer.take()
    peer.session.subscriptions.all[0].changed = False
    peer.session.subscriptions.answered(peer.session.subscriptions.all[0], 2)
    peer.session.owed = 0
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    for payload in (b"x", b"y", b"z"):
        assert peer.publish(Topic("up"), payload, qos=2)
        broker.send(payload)
    broker.left = cuts[0]
    broker.resend(False)
    broker.run()
    for cut in cuts[1:] + [1 << 20]:
        broker.cut()
        assert broker.connect()
        broker.left = cut
        broker.resend(True)
        broker.run()
    assert peer.session.state == CONNECTED
    assert broker.got == [b"x", b"y", b"z"], (cuts, broker.got)
    assert got == [b"x", b"y", b"z"], (cuts, got)
    assert sorted(ended) == [(1, 0), (2, 0), (3, 0)], (cuts, ended)  # 1 was the SUBSCRIBE
    assert broker.owes == [] and broker.held == []
    assert not peer.session.outbox.count and 1 not in list(peer.session.inbox)
    assert peer.session._quota == 65535


def test_a_cut_at_every_byte_loses_and_doubles_nothing():
    for cut in range(140):
        exchange([cut])


def test_two_cuts_in_a_row_lose_and_double_nothing():
    for first in range(0, 140, 7):
        for second in range(0, 90, 5):
            exchange([first, second])


def test_qos_2_on_the_wire():  # [MQTT-4.3.3-2], [MQTT-4.3.3-4]
    peer = connected()
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    assert peer.publish(Topic("a"), b"x", qos=2) == 1
    assert peer.take() == packet(0x34, text(b"a"), b"\x00\x01\x00x")
    assert peer.give(b"\x50\x02\x00\x01") == b"\x62\x02\x00\x01"
    assert peer.give(b"\x50\x02\x00\x01") == b"\x62\x02\x00\x01"
    assert ended == []
    assert peer.give(b"\x70\x02\x00\x01") == b""
    assert ended == [(1, 0)] and not peer.session.outbox.count


def test_a_pubrec_with_an_error_ends_the_message():  # [MQTT-4.4.0-2]
    peer = connected(packet(0x20, b"\x00\x00\x03\x21\x00\x01"))
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    peer.publish(Topic("a"), b"x", qos=2)
    peer.publish(Topic("a"), b"y", qos=2)
    peer.take()
    out = peer.give(b"\x50\x03\x00\x01\x97")  # no PUBREL, and the next may go
    assert out == packet(0x34, text(b"a"), b"\x00\x02\x00y")
    assert ended == [(1, 0x97)]


def test_an_unknown_pubrec_and_an_unknown_pubrel_are_answered_with_0x92():
    assert connected().give(b"\x50\x02\x00\x09") == b"\x62\x03\x00\x09\x92"
    assert connected().give(b"\x62\x02\x00\x09") == b"\x70\x03\x00\x09\x92"
    assert connected().give(b"\x70\x02\x00\x09") == b""  # nothing is owed for a PUBCOMP


def test_the_send_quota_comes_back_with_pubcomp():  # [MQTT-4.9.0-2]
    peer = connected(packet(0x20, b"\x00\x00\x03\x21\x00\x01"))
    peer.publish(Topic("a"), b"x", qos=2)
    peer.publish(Topic("a"), b"y", qos=2)
    assert peer.take().count(b"\x00y") == 0
    assert peer.give(b"\x50\x02\x00\x01") == b"\x62\x02\x00\x01"
    assert peer.give(b"\x70\x02\x00\x01").endswith(b"y")


def test_a_message_is_delivered_once_until_it_is_released():  # [MQTT-4.3.3-10], [MQTT-4.3.3-12]
    peer, got = subscribed()
    one = message(b"a/b", b"1", 2, 7)
    again = message(b"a/b", b"1", 2, 7, flags=8)
    assert peer.give(one) == b"\x50\x02\x00\x07"
    assert peer.give(again) == b"\x50\x02\x00\x07"
    assert len(got) == 1
    assert peer.give(b"\x62\x02\x00\x07") == b"\x70\x02\x00\x07"
    assert peer.give(one) == b"\x50\x02\x00\x07"
    assert len(got) == 2


def test_a_handler_that_failed_gets_the_message_again():  # [MQTT-4.3.3-9]
    peer, got = subscribed()
    peer.session.on_error = lambda error: None

    def broken(message):
        raise ValueError

    good = peer.session.subscriptions.all[0].handler
    peer.session.subscriptions.all[0].handler = broken
    assert peer.give(message(b"a/b", b"1", 2, 7)) == b"\x50\x03\x00\x07\x80"
    peer.session.subscriptions.all[0].handler = good
    assert peer.give(message(b"a/b", b"2", 2, 7)) == b"\x50\x02\x00\x07"
    assert [payload for _, payload in got] == [b"2"]


def test_more_qos_2_messages_than_we_have_room_for():
    peer, got = subscribed(inflight=2)
    peer.give(message(b"a/b", b"1", 2, 1) + message(b"a/b", b"2", 2, 2))
    ends_with(peer, message(b"a/b", b"3", 2, 3), 0x93)
    assert len(got) == 2


def test_a_lost_session_forgets_what_was_not_released():
    peer, got = subscribed()
    peer.give(message(b"a/b", b"1", 2, 7))
    peer.session.lost()
    peer.connect()
    assert 7 not in list(peer.session.inbox)


def test_what_a_broker_had_taken_before_it_lost_the_session_has_arrived():
    peer = connected()
    ended = []
    peer.session.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    peer.publish(Topic("a"), b"x", qos=2)
    peer.take()
    peer.give(b"\x50\x02\x00\x01")
    peer.session.lost()
    _, out = peer.connect()
    peer.after(0)
    assert out == b"" and ended == [(1, 0)]


def test_releases_are_not_held_back_by_the_quota():  # [MQTT-3.3.4-8]
    peer = connected()
    for payload in (b"x", b"y", b"z"):
        peer.publish(Topic("a"), payload, qos=2)
    peer.take()
    peer.give(b"\x50\x02\x00\x02" + b"\x50\x02\x00\x03")
    peer.session.lost()
    _, out = peer.connect(packet(0x20, b"\x01\x00\x03\x21\x00\x01"))
    assert out == b"\x62\x02\x00\x02\x62\x02\x00\x03"
    assert peer.give(b"\x70\x02\x00\x02") == b""  # one of two: the window of one is still full
    assert peer.give(b"\x70\x02\x00\x03") == packet(0x3C, text(b"a"), b"\x00\x01\x00x")


def test_acknowledgements_of_another_qos():
    for qos, wrong in ((1, b"\x50\x02\x00\x01"), (2, b"\x40\x02\x00\x01")):
        peer = connected()
        peer.publish(Topic("a"), b"x", qos=qos)
        peer.take()
        ends_with(peer, wrong, 0x82)
