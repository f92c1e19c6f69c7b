"""Overflow policy (`when_full`): which messages are dropped when the outbox is full."""

from random import getrandbits, seed

from simulation import Simulation

from helper import Peer, make_packet, raises, utf8_string
from umqtt5.core.topics import Topic
from umqtt5.optional.overflow_policy import OverflowPolicy

DROPPED = 0x97


def offline(when_full, outbox=200, inflight=8):
    """Return an offline session with an overflow policy, and the list of what `on_ack` receives."""
    peer = Peer(outbox=outbox, inflight=inflight)
    peer.session.overflow_policy = OverflowPolicy(peer.session, when_full)
    told = []
    peer.session.on_ack = lambda answer: told.append((answer.packet_id, answer.reason))
    return peer, told


def sent(peer):
    """Connect and acknowledge each message; returns the payloads in the order of arrival."""
    payloads = []
    _, out = peer.connect()
    while out:
        assert out[0] & 0xF0 == 0x30, out
        size = 2 + out[1]
        at = 4 + (out[2] << 8 | out[3])
        packet_id = out[at : at + 2]
        at += 2
        payloads.append(out[at + 1 + out[at] : size])
        out = out[size:]
        out += peer.feed(b"\x40\x02" + packet_id)
    return payloads


def test_the_oldest_message_is_dropped_and_reported():
    peer, told = offline("oldest")
    a = Topic("a")
    for i in range(20):
        assert peer.publish(a, b"%02d" % i * 10, qos=1)
    kept = 20 - len(told)
    assert kept >= 5 and all(reason == DROPPED for _, reason in told)
    assert peer.session.messages_refused == len(told)
    assert sent(peer) == [b"%02d" % i * 10 for i in range(20 - kept, 20)]


def test_as_many_messages_are_dropped_as_needed():
    peer, told = offline("oldest")
    a = Topic("a")
    for i in range(5):
        peer.publish(a, b"%d" % i * 20, qos=1)
    assert peer.publish(a, b"x" * 80, qos=1)
    dropped = len(told)
    assert 2 <= dropped <= 3
    assert sent(peer) == [b"%d" % i * 20 for i in range(dropped, 5)] + [b"x" * 80]


def test_messages_are_dropped_if_all_slots_are_used():
    peer, told = offline("oldest", outbox=2000, inflight=3)
    for i in range(10):
        assert peer.publish(Topic("a"), b"%d" % i, qos=1)
    assert sent(peer) == [b"7", b"8", b"9"] and len(told) == 10


def test_the_topic_policy_keeps_the_newest_message_of_each_topic():
    peer, told = offline("topic")
    topics = [Topic("t%d" % i) for i in range(4)]
    for value in range(30):
        for topic in topics:
            assert peer.publish(topic, b"%s=%02d" % (topic.name, value), qos=1), value
    newest = [b"%s=29" % topic.name for topic in topics]
    assert sorted(sent(peer)[-4:]) == newest


def test_the_topic_policy_refuses_a_topic_without_queued_messages():
    peer, told = offline("topic")
    while peer.publish(Topic("a"), b"x" * 30, qos=1) and len(told) < 3:
        pass
    assert peer.publish(Topic("b"), b"x" * 30, qos=1) == 0


def test_messages_that_were_sent_are_not_dropped():
    for when_full in ("oldest", "topic"):
        peer, told = offline(when_full, inflight=3)
        peer.connect()
        for payload in (b"1", b"2", b"3"):
            assert peer.publish(Topic("a"), payload, qos=1)
        peer.read_output()
        assert peer.publish(Topic("a"), b"4", qos=1) == 0 and told == []
        peer.session.connection_lost()
        _, out = peer.connect(b"\x20\x03\x01\x00\x00")
        assert peer.publish(Topic("a"), b"4", qos=1) == 0 and told == []
        assert out.count(b"\x3a") == 3  # all are resent with DUP


def test_a_message_in_the_middle_of_the_queue_can_be_dropped():
    peer, told = offline("topic", inflight=3)
    peer.connect(make_packet(0x20, b"\x00\x00\x03\x21\x00\x01"))  # one message in flight
    for topic, payload in (("a", b"1"), ("b", b"2"), ("c", b"3")):
        assert peer.publish(Topic(topic), payload, qos=1)
    assert b"\x00\x01a" in peer.read_output()
    assert peer.publish(Topic("b"), b"4", qos=1) == 2 and told == [(2, DROPPED)]
    assert peer.feed(b"\x40\x02\x00\x01").endswith(utf8_string(b"c") + b"\x00\x03\x00" + b"3")
    assert peer.feed(b"\x40\x02\x00\x03").endswith(utf8_string(b"b") + b"\x00\x02\x00" + b"4")


def test_a_partly_written_message_is_not_dropped():
    peer, told = offline("oldest", outbox=128)
    peer.connect()
    assert peer.publish(Topic("a"), b"x" * 30, qos=1)
    assert peer.publish(Topic("a"), b"y" * 30, qos=1)
    assert peer.session.prepare_write() > 5
    peer.session.confirm_write(5, peer.now)  # a part of the first message
    assert peer.publish(Topic("a"), b"z" * 30, qos=1) == 0 and told == []
    out = peer.read_output()
    assert out.count(b"x") == 30 and out.count(b"y") == 30


def test_kept_messages_are_whole_and_in_order():
    seed(1)
    for when_full in ("oldest", "topic"):
        for inflight in (2, 5, 12):
            peer, told = offline(when_full, outbox=300, inflight=inflight)
            topics = [Topic("x" * (1 + i)) for i in range(3)]
            expected = {}
            for i in range(300):
                if getrandbits(5) == 0:
                    assert sent(peer) == [payload for _, payload in sorted(expected.values())]
                    assert not peer.session.outbox.count
                    peer.session.connection_lost()
                    peer.session.clean_start = True
                    expected.clear()
                payload = b"%03d" % i + bytes([65 + i % 26]) * getrandbits(6)
                del told[:]
                packet_id = peer.publish(topics[getrandbits(8) % 3], payload, qos=1)
                for dropped, _ in told:
                    expected.pop(dropped)
                if packet_id:
                    assert packet_id not in expected
                    expected[packet_id] = (i, payload)


def test_when_full_is_an_argument_of_the_client():
    raises(ValueError, lambda: Simulation(when_full="newest"))
    sim = Simulation(when_full="oldest", outbox=128)
    for i in range(9):
        assert sim.client.publish("a", b"%d" % i * 20, qos=1)
    sim.client.connect()
    sim.client.poll(10)
    assert b"8" * 20 in sim.stream.written and b"0" * 20 not in sim.stream.written


def test_a_handler_may_publish_and_still_read_its_message():
    sim = Simulation(when_full="oldest", outbox=128, inflight=2)
    seen = []

    def handle(message):
        for _ in range(4):
            sim.client.publish("out", b"x" * 40, qos=1)
        seen.append((message.topic, message.property(0x26)))

    sim.client.subscribe("in", handle)
    sim.client.connect()
    sim.client.poll(10)
    block = b"\x26" + utf8_string(b"k") + utf8_string(b"v")
    sim.stream.inbox = make_packet(0x30, utf8_string(b"in"), bytes((len(block),)), block)
    sim.client.poll(10)
    assert seen == [("in", ("k", "v"))]
