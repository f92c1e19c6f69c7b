"""A message that ends the connection each time is given up, reported, and does not block those behind it."""

from packet_reader import make_ack, make_connack, read_publishes
from simulation import Simulation

from helper import Peer, make_packet, raises
from umqtt5.core.errors import MQTTError
from umqtt5.core.topics import Topic
from umqtt5.optional.give_up import count_failure
from umqtt5.properties import pack

RESUMED = b"\x20\x03\x01\x00\x00"


class Broker(Simulation):
    """A broker that keeps the session and treats one payload specially.

    `reply` is what it sends when it receives the payload `bad`; None closes the connection. It acknowledges
    all other messages.
    """

    def __init__(self, reply, **options):
        Simulation.__init__(self, **options)
        self.reply = reply
        self.seen = 0  # bytes of the current stream that were handled
        self.delivered = []
        self.acks = []
        self.client.on_ack = lambda answer: self.acks.append((answer.packet_id, answer.reason))

    def connect(self, host, port):
        Simulation.connect(self, host, port)
        self.connect_reply = RESUMED
        self.seen = 0
        stream = self.stream
        write = stream.write

        def write_and_answer(buf, at, n):
            n = write(buf, at, n)
            for m in read_publishes(stream.written[self.seen :]):
                self.answer(stream, m)
            for i in range(self.seen, len(stream.written) - 3):
                if stream.written[i : i + 2] == b"\x62\x02":  # PUBREL
                    stream.inbox += b"\x70" + stream.written[i + 1 : i + 4]
            self.seen = len(stream.written)
            return n

        stream.write = write_and_answer
        return stream

    def answer(self, stream, m):
        if m.payload == b"bad":
            if self.reply is None:
                stream.closed_by_broker = True
            else:
                stream.inbox += self.reply
        elif m.qos and not stream.closed_by_broker:
            self.delivered.append(m.payload)
            stream.inbox += make_ack(0x40 if m.qos == 1 else 0x50, m.packet_id)

    def run(self, seconds):
        for _ in range(seconds * 4):
            self.client.poll(250)


REPLIES = (
    b"\xe0\x01\x82",  # Protocol Error
    b"\xe0\x01\x95",  # Packet too large
    b"\xe0\x01\x87",  # Not authorized
    b"\xf0\x00\x00",  # an AUTH that nobody expects
    make_packet(0x40, b"\x00\x01\x00\x02\x01\x01"),  # PUBACK with a property that it must not have
)


def test_a_message_over_which_connections_end_is_given_up_and_the_next_is_sent():
    for qos in (1, 2):
        for reply in REPLIES:
            sim = Broker(reply)
            sim.client.connect()
            bad = sim.client.publish("a", b"bad", qos)
            behind = [sim.client.publish("a", b"%d" % i, 1) for i in range(3)]
            sim.run(40)
            assert sim.client.is_connected and len(sim.streams) <= 5, (qos, reply, len(sim.streams))
            told = dict(sim.acks)
            assert told[bad] >= 0x80 and [told[i] for i in behind] == [0, 0, 0], (qos, reply, sim.acks)
            assert len(sim.acks) == 4 and sorted(set(sim.delivered)) == [b"0", b"1", b"2"]


def test_a_message_is_given_up_if_the_broker_closes_the_connection_without_a_reason():
    sim = Broker(None)
    sim.client.max_reconnect_delay = 2000
    sim.client.connect()
    bad = sim.client.publish("a", b"bad", 1)
    good = sim.client.publish("a", b"good", 1)
    sim.run(80)
    assert sim.client.is_connected and len(sim.streams) <= 23
    assert dict(sim.acks)[bad] >= 0x80 and dict(sim.acks)[good] == 0


def test_a_lost_network_never_gives_up_a_message():
    sim = Broker(b"")  # no answer
    sim.client.max_reconnect_delay = 2000
    sim.client.connect()
    sim.client.publish("a", b"bad", 1)
    for _ in range(50):
        sim.run(3)
        sim.client._on_link_lost(OSError(110))
    assert sim.acks == [] and sim.client.session.outbox.count == 1


def test_disconnects_that_do_not_concern_the_message_never_give_it_up():
    for code in (0x89, 0x8B, 0x8E, 0x93, 0x96, 0x97, 0x98, 0x9C, 0x9F):
        sim = Broker(bytes((0xE0, 1, code)))
        sim.client.max_reconnect_delay = 1000
        sim.client.connect()
        sim.client.publish("a", b"bad", 1)
        sim.run(20)
        assert len(sim.streams) > 10 and sim.acks == [], hex(code)


def test_an_unlisted_reason_code_is_a_refusal_or_an_acceptance():
    """mosquitto answers PUBACK 0x95 above `message_size_limit`; other brokers use 0x01."""
    for qos, kind in ((1, 0x40), (2, 0x50)):
        for code in (0x01, 0x10, 0x7F, 0x95, 0x9A, 0xFF):
            sim = Broker(b"")
            sim.client.connect()
            packet_id = sim.client.publish("a", b"bad", qos)
            sim.stream.inbox += make_ack(kind, packet_id, code)
            sim.run(2)
            expected = code if code >= 0x80 or qos == 1 else 0
            assert sim.acks == [(packet_id, expected)] and len(sim.streams) == 1
            assert sim.client.session.messages_refused == (code >= 0x80)


def test_a_qos_2_message_that_is_given_up_is_released_before_its_identifier_is_used_again():
    sim = Broker(b"\xe0\x01\x82", inflight=1)
    sim.client.connect()
    packet_id = sim.client.publish("a", b"bad", 2)
    sim.run(30)
    assert sim.stream.written.endswith(b"\x62\x02\x00\x01") or b"\x62\x02\x00\x01" in sim.stream.written
    assert sim.acks == [(packet_id, 0x80)]
    assert sim.client.publish("a", b"next", 2) == packet_id
    sim.run(2)
    assert sim.acks[-1] == (packet_id, 0) and sim.delivered == [b"next"]


def test_invalid_properties_raise_value_error_and_send_nothing():
    sim = Simulation()
    sim.client.connect()
    sim.client.poll(10)
    before = sim.stream.written
    response_topic = b"\x08\x00\x01"
    for block in (
        b"\x0b\x01",  # Subscription Identifier: only a server sends it
        b"\x23\x00\x01",  # Topic Alias: the client chooses it
        b"\x11\x00\x00\x00\x01",  # Session Expiry Interval
        b"\x1f\x00\x01x",  # Reason String
        b"\x01\x02",
        b"\x02\x00\x00\x00\x01\x02\x00\x00\x00\x01",  # twice
        b"\x02\x00\x00",  # cut
        b"garbage",
        b"\x03\x00\x01\xff",  # not UTF-8
        response_topic + b"#",
        response_topic + b"+",
        b"\x08\x00\x00",
    ):
        for kind in (bytes, bytearray, memoryview):
            for qos in (0, 1, 2):
                raises(ValueError, sim.client.publish, "a", b"x", qos, False, kind(block))
    raises(TypeError, lambda: sim.client.publish("a", b"x", 0, False, "text"))
    sim.client.poll(10)
    assert sim.stream.written == before and sim.client.session.outbox.count == 0
    good = pack(
        content_type="text", message_expiry=5, user_properties=(("a", "b"), ("a", "c")), response_topic="a/b"
    )
    assert sim.client.publish("a", b"x", 1, properties=good)


def test_changed_properties_in_a_bytearray_are_checked_again():
    sim = Simulation()
    sim.client.connect()
    block = bytearray(b"\x01\x01")
    assert sim.client.publish("a", b"x", properties=block)
    block[1] = 2
    raises(ValueError, lambda: sim.client.publish("a", b"x", properties=block))


def test_a_queued_message_can_be_removed():
    sim = Broker(b"")
    ids = [sim.client.publish("a", b"%d" % i, 1) for i in range(3)]
    assert sim.client.cancel(ids[1]) is True
    assert (
        sim.client.cancel(ids[1]) is False
        and sim.client.cancel(77) is False
        and sim.client.cancel(0) is False
    )
    sim.connect_reply = make_connack()
    sim.client.connect()
    sim.run(2)
    assert sim.delivered == [b"0", b"2"] and dict(sim.acks)[ids[1]] == 0x80
    assert sim.client.cancel(ids[0]) is False


def test_a_message_that_is_sent_can_be_removed_while_there_is_no_connection():
    for qos in (1, 2):
        sim = Broker(b"")
        sim.client.connect()
        packet_id = sim.client.publish("a", b"bad", qos)
        sim.client.poll(10)
        assert sim.client.cancel(packet_id) is False  # the broker's answer is due
        sim.broker_listens = False
        sim.client._on_link_lost(OSError(104))
        assert sim.client.cancel(packet_id) is True
        sim.broker_listens = True
        sim.run(5)
        assert sim.acks == [(packet_id, 0x80)] and sim.client.session.outbox.count == 0
        assert b"bad" not in sim.stream.written


def test_a_broker_that_makes_no_progress_after_0x93_is_tried_less_and_less_often():
    """It sends the same QoS 2 messages each time, more than the Receive Maximum, and never PUBREL."""
    sim = Simulation(inflight=1)
    sim.client.session.clean_start = False
    flood = b"".join([make_packet(0x34, b"\x00\x01a", bytes((0, i)), b"\x00x") for i in range(1, 80)])
    sim.connect_reply = RESUMED + flood
    sim.client.connect(wait=False)
    sim.client.poll(600000)
    assert 6 < len(sim.streams) < 25, len(sim.streams)


def test_a_broker_that_makes_progress_after_0x93_is_reconnected_at_once():
    sim = Simulation(inflight=1)
    sim.client.session.clean_start = False
    numbers = [0]
    original = sim.connect

    def connect(host, port):
        numbers[0] += 1
        first = numbers[0] * 64
        flood = b"".join(
            [
                make_packet(0x34, b"\x00\x01a", bytes((i >> 8, i & 255)), b"\x00x")
                for i in range(first, first + 70)
            ]
        )
        sim.connect_reply = b"\x20\x03\x00\x00\x00" + flood
        sim.client.session.clean_start = True
        return original(host, port)

    sim.client._transport = connect
    sim.client.connect(wait=False)
    sim.client.poll(30000)
    assert len(sim.streams) > 20


def test_probing_sends_one_message_at_a_time():
    peer = Peer()
    peer.connect()
    for i in range(3):
        peer.publish(Topic("a"), b"%d" % i, 1)
    peer.read_output()
    peer.session.error = MQTTError(0x82)
    count_failure(peer, None)
    peer.cut()
    _, out = peer.connect(RESUMED) if not peer.session.clean_start else peer.connect()
    assert [m.payload for m in read_publishes(out)] == [b"0"]
    assert [m.payload for m in read_publishes(peer.feed(make_ack(0x40, 1)))] == [b"1", b"2"]
