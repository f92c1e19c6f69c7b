"""Streaming: payloads larger than the buffers, sent from a reader and received in pieces."""

from io import BytesIO

from simulation import Simulation

from helper import CONNACK, make_packet, publish_packet, raises, utf8_string
from umqtt5 import streaming
from umqtt5.core.errors import MQTTError

ALIASES = make_packet(0x20, b"\x00\x00\x03\x22\x00\x02")
RESUMED = make_packet(0x20, b"\x01\x00\x00")
BIG = bytes([i * 7 & 255 for i in range(5000)])


def connected(greeting=CONNACK, **options):
    sim = Simulation(rx=256, tx=128, outbox=256, **options)
    sim.connect_reply = greeting
    sim.client.connect()
    sim.stream.written = b""
    return sim


def drive(sim):
    """Poll until the client writes nothing more."""
    before = -1
    while before != len(sim.stream.written):
        before = len(sim.stream.written)
        sim.client.poll(0)


def test_a_payload_larger_than_all_buffers_is_sent_in_one_packet():
    for qos in (0, 1, 2):
        sim = connected()
        sent = streaming.send(sim.client, "a/b", BytesIO(BIG), len(BIG), qos=qos, properties=b"\x01\x00")
        assert sent == (1 if qos else True)
        drive(sim)
        packet_id = b"\x00\x01" if qos else b""
        assert sim.stream.written == make_packet(
            0x30 | qos << 1, utf8_string(b"a/b"), packet_id, b"\x02\x01\x00", BIG
        )


def test_a_streamed_message_is_acknowledged_like_any_other():
    sim = connected()
    ended = []
    sim.client.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    streaming.send(sim.client, "a", BytesIO(BIG), len(BIG), qos=2)
    drive(sim)
    assert streaming.is_sending(sim.client)
    sim.stream.inbox = b"\x50\x02\x00\x01"
    drive(sim)
    assert sim.stream.written.endswith(b"\x62\x02\x00\x01") and ended == []
    assert not streaming.is_sending(sim.client)
    sim.stream.inbox = b"\x70\x02\x00\x01"
    drive(sim)
    assert ended == [(1, 0)]


def test_later_messages_wait_for_the_streamed_one_and_keep_their_aliases():
    sim = connected(ALIASES)
    client = sim.client
    topic = client.topic("some/topic")
    client.publish(topic, b"1")
    sim.stream.is_stalled = True
    client.publish(topic, b"2")
    streaming.send(client, topic, BytesIO(BIG), len(BIG), qos=1)
    client.publish(topic, b"3")
    client.publish(topic, b"4", qos=1)
    sim.stream.is_stalled = False
    drive(sim)
    used = b"\x00\x00"
    alias = b"\x03\x23\x00\x01"
    assert sim.stream.written == (
        make_packet(0x30, utf8_string(b"some/topic"), alias, b"1")
        + make_packet(0x30, used, alias, b"2")
        + make_packet(0x30, used, alias, b"3")
        + make_packet(0x32, used, b"\x00\x01", alias, BIG)
        + make_packet(0x32, used, b"\x00\x02", alias, b"4")
    )


def test_after_a_lost_connection_the_payload_is_sent_again_from_its_start():
    for greeting, first in ((RESUMED, 0x3A), (CONNACK, 0x32)):  # with DUP [MQTT-3.3.1-1], or as a new message
        sim = connected()
        reader = BytesIO(b"skip" + BIG)
        reader.seek(4)
        streaming.send(sim.client, "a", reader, len(BIG), qos=1)
        sim.stream.closed_by_broker = True
        sim.connect_reply = greeting
        sim.client.poll(5000)
        assert len(sim.streams) == 2
        drive(sim)
        assert sim.stream.written.endswith(make_packet(first, utf8_string(b"a"), b"\x00\x01\x00", BIG))


def test_a_written_but_unacknowledged_payload_is_sent_again():
    sim = connected()
    streaming.send(sim.client, "a", BytesIO(BIG), len(BIG), qos=1)
    drive(sim)
    sim.stream.closed_by_broker = True
    sim.connect_reply = RESUMED
    sim.client.poll(5000)
    drive(sim)
    assert sim.stream.written.endswith(make_packet(0x3A, utf8_string(b"a"), b"\x00\x01\x00", BIG))
    sim.stream.inbox = b"\x40\x02\x00\x01"
    drive(sim)
    assert not streaming.is_sending(sim.client) and not sim.client.session.outbox.count


class Once:
    """A reader that cannot seek and returns at most 100 bytes per call."""

    def __init__(self, data):
        self.data = data

    def readinto(self, buf):
        n = min(len(buf), len(self.data), 100)
        buf[:n] = self.data[:n]
        self.data = self.data[n:]
        return n


def test_a_message_whose_reader_cannot_seek_fails_after_a_lost_connection():
    sim = connected()
    ended = []
    sim.client.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    streaming.send(sim.client, "a", Once(BIG), len(BIG), qos=1)
    drive(sim)
    assert sim.stream.written == make_packet(0x32, utf8_string(b"a"), b"\x00\x01\x00", BIG)
    sim.stream.closed_by_broker = True
    sim.client.poll(5000)
    drive(sim)
    assert ended == [(1, 0x80)] and b"\x32" not in sim.stream.written[20:]


def test_a_reader_with_too_few_bytes_ends_the_connection_and_the_message():
    sim = connected()
    ended = []
    sim.client.on_ack = lambda answer: ended.append(answer.reason)
    streaming.send(sim.client, "a", BytesIO(BIG[:300]), 400, qos=1)
    sim.client.poll(5000)
    assert len(sim.streams) == 2 and sim.client.is_connected
    assert ended == [0x80]
    drive(sim)
    assert not streaming.is_sending(sim.client)


def test_one_payload_is_streamed_at_a_time_and_within_the_brokers_limits():
    sim = connected(make_packet(0x20, b"\x00\x00\x07\x27\x00\x00\x20\x00\x24\x01"))
    raises(MQTTError, streaming.send, sim.client, "a", BytesIO(BIG), 9000, 1)
    raises(MQTTError, streaming.send, sim.client, "a", BytesIO(BIG), len(BIG), 2)
    raises(ValueError, streaming.send, sim.client, "a/+", BytesIO(BIG), len(BIG), 1)
    assert sim.stream.written == b""
    assert streaming.send(sim.client, "a", BytesIO(BIG), len(BIG), 1)
    assert not streaming.send(sim.client, "a", BytesIO(BIG), len(BIG), 1)


def test_without_a_connection_qos_0_is_rejected_and_qos_1_waits():
    sim = Simulation()
    assert not streaming.send(sim.client, "a", BytesIO(BIG), len(BIG))
    assert streaming.send(sim.client, "a", BytesIO(BIG), len(BIG), qos=1)
    sim.client.connect()
    drive(sim)
    assert sim.stream.written.endswith(make_packet(0x32, utf8_string(b"a"), b"\x00\x01\x00", BIG))


def test_disconnect_waits_for_the_end_of_the_streamed_packet():
    sim = connected()
    streaming.send(sim.client, "a", BytesIO(BIG), len(BIG))
    sim.client.disconnect()
    assert sim.stream.written == make_packet(0x30, utf8_string(b"a"), b"\x00", BIG) + b"\xe0\x00"


# ---- receiving


class Sink:
    """A receiver that collects the pieces of streamed payloads."""

    def __init__(self):
        self.begun = []
        self.pieces = []
        self.done = []
        self.largest = 0

    def begin(self, message, size):
        self.begun.append((message.topic, size, message.qos))
        self.pieces = []
        return self.take

    def take(self, piece):
        if piece is None:
            self.done.append(None)
        elif len(piece):
            self.largest = max(self.largest, len(piece))
            self.pieces.append(bytes(piece))
        else:
            self.done.append(b"".join(self.pieces))


def receiving(qos=2, **options):
    sim = Simulation(rx=256, **options)
    sink = Sink()
    streaming.receive(sim.client, "big/+", sink.begin, qos=qos, max_size=10000)
    sim.client.connect()
    assert b"\x27\x00\x00\x27\x10" in sim.stream.written
    sim.stream.inbox = make_packet(0x90, b"\x80\x00\x00", bytes((qos,)))
    sim.client.poll(0)
    sim.stream.written = b""
    return sim, sink


def test_a_payload_larger_than_rx_arrives_in_pieces_and_is_acknowledged_at_its_end():
    for qos, answer in ((0, b""), (1, b"\x40\x02\x00\x09"), (2, b"\x50\x02\x00\x09")):
        sim, sink = receiving()
        whole = publish_packet(b"big/one", BIG, qos, 9)
        sim.stream.inbox = whole[:-1]
        drive_in(sim)
        assert sink.done == [] and sim.stream.written == b""
        sim.stream.inbox = whole[-1:] + publish_packet(b"big/two", b"small", qos, 10)
        drive_in(sim)
        assert sink.begun == [("big/one", 5000, qos), ("big/two", 5, qos)]
        assert sink.done == [BIG, b"small"] and sink.largest <= 256
        assert sim.stream.written.startswith(answer)
        assert len(sim.stream.written) == 2 * len(answer)


def drive_in(sim):
    while sim.stream.inbox and not sim.stream.closed:
        sim.client.poll(0)
    sim.client.poll(0)


def test_a_streamed_payload_is_received_in_chunks_of_any_size():
    data = publish_packet(b"big/one", BIG[:700], 1, 9) + publish_packet(b"big/two", BIG[:300], 1, 10) * 2
    for size in (1, 2, 5, 31, 32, 33, 255, 256):
        sim, sink = receiving()
        at = 0
        while at < len(data):
            sim.stream.inbox = data[at : at + size]
            sim.client.poll(0)
            at += size
        drive_in(sim)
        assert sink.done == [BIG[:700], BIG[:300], BIG[:300]], size


def test_a_streamed_qos_2_message_is_delivered_once():
    sim, sink = receiving()
    whole = publish_packet(b"big/one", BIG, 2, 9)
    sim.stream.inbox = whole + publish_packet(b"big/one", BIG, 2, 9, flags=8)
    drive_in(sim)
    assert sink.done == [BIG]
    assert sim.stream.written == b"\x50\x02\x00\x09" * 2
    sim.stream.inbox = b"\x62\x02\x00\x09" + whole
    drive_in(sim)
    assert sink.done == [BIG, BIG]


def test_a_connection_lost_during_a_payload_is_reported_and_the_message_is_received_again():
    sim, sink = receiving()
    sim.stream.inbox = publish_packet(b"big/one", BIG, 2, 9)[:3000]
    drive_in(sim)
    sim.stream.closed_by_broker = True
    sim.connect_reply = RESUMED
    sim.client.poll(5000)
    assert sink.done == [None]
    sim.stream.inbox = publish_packet(b"big/one", BIG, 2, 9, flags=8)
    drive_in(sim)
    assert sink.done == [None, BIG]


def test_a_large_message_without_a_receiver_is_discarded():
    sim, sink = receiving()
    got = []
    sim.client.subscribe("other", lambda m: got.append(m.payload))
    sim.stream.inbox = publish_packet(b"other", BIG, 1, 9) + publish_packet(b"other", b"ok")
    drive_in(sim)
    assert b"\x40\x03\x00\x09\x97" in sim.stream.written and got == [b"ok"]  # [MQTT-3.4.2-1]


def test_a_receiver_that_raises_gets_no_more_pieces_and_the_message_ends_with_0x80():
    sim, sink = receiving()
    errors = []
    sim.client.on_error = errors.append

    def broken(piece):
        sink.pieces.append(piece)
        raise OSError(28)

    sink.take = broken
    sim.stream.inbox = publish_packet(b"big/one", BIG, 2, 9) + publish_packet(b"big/two", b"", 1, 10)
    drive_in(sim)
    assert len(errors) == 2
    assert sim.stream.written == b"\x50\x03\x00\x09\x80\x40\x03\x00\x0a\x80"


def test_too_large_packets_end_with_0x95():
    for data in (
        publish_packet(b"big/one", b"x" * 10000, 1, 9),
        make_packet(0x40, b"\x00\x01\x00" + b"x" * 300),
    ):
        sim, sink = receiving()
        sim.stream.inbox = data
        sim.client.poll(0)
        assert b"\xe0\x01\x95" in sim.streams[0].written, data[:10]


def test_a_malformed_header_of_a_large_message_ends_with_a_reason_code():
    for data, code in (
        (make_packet(0x36, utf8_string(b"big/one"), b"\x00\x09\x00", BIG), 0x81),
        (make_packet(0x32, utf8_string(b"big/#"), b"\x00\x09\x00", BIG), 0x90),
        (make_packet(0x32, utf8_string(b"big/one"), b"\x00\x00\x00", BIG), 0x82),
        (make_packet(0x32, utf8_string(b"big/one"), b"\x00\x09\x02\x01\x07", BIG), 0x82),
        (make_packet(0x32, utf8_string(b"big/one"), b"\x00\x09\xff\xff\xff\xff", BIG), 0x81),
        (make_packet(0x32, b"\x7f\xff", BIG), 0x81),
        (make_packet(0x32, utf8_string(b"t" * 250), b"\x00\x09\x00", BIG), 0x95),
    ):
        sim, sink = receiving()
        sim.stream.inbox = data[:400]
        drive_in(sim)
        assert bytes((0xE0, 1, code)) in sim.streams[0].written, (data[:20], sim.streams[0].written)
        assert sink.begun == []


def test_a_streamed_message_is_acknowledged_despite_reports_in_between():
    """The session may report to callbacks between two pieces; this does not end the message."""
    for qos, answer in ((1, b"\x40\x02\x00\x09"), (2, b"\x50\x02\x00\x09")):
        sim = Simulation(rx=256, session_expiry=100)
        sink = Sink()
        streaming.receive(sim.client, "big/+", sink.begin, qos=qos, max_size=10000)
        whole = publish_packet(b"big/one", BIG, qos, 9)
        sim.connect_reply = CONNACK + whole[:200]  # the client then subscribes again
        sim.client.connect()
        for _ in range(3):
            sim.client.poll(0)
        sim.stream.written = b""
        sim.stream.inbox += whole[200:]
        drive_in(sim)
        assert sink.done == [BIG]
        assert sim.stream.written == answer
