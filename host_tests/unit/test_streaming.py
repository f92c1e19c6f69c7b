"""Payloads larger than the buffers: sent from a reader, received in pieces."""

from io import BytesIO

from simulation import World

from helper import CONNACK, message, packet, raises, text
from umqtt5 import streaming
from umqtt5.core.errors import MQTTError

ALIASES = packet(0x20, b"\x00\x00\x03\x22\x00\x02")
RESUMED = packet(0x20, b"\x01\x00\x00")
BIG = bytes([i * 7 & 255 for i in range(5000)])


def connected(greeting=CONNACK, **options):
    world = World(rx=256, tx=128, outbox=256, **options)
    world.greeting = greeting
    world.client.connect()
    world.stream.written = b""
    return world


def drive(world):
    """Poll until nothing more is written."""
    before = -1
    while before != len(world.stream.written):
        before = len(world.stream.written)
        world.client.poll(0)


def test_a_payload_larger_than_every_buffer_goes_out_in_one_packet():
    for qos in (0, 1, 2):
        world = connected()
        sent = streaming.send(world.client, "a/b", BytesIO(BIG), len(BIG), qos=qos, properties=b"\x01\x00")
        assert sent == (1 if qos else True)
        drive(world)
        packet_id = b"\x00\x01" if qos else b""
        assert world.stream.written == packet(0x30 | qos << 1, text(b"a/b"), packet_id, b"\x02\x01\x00", BIG)


def test_it_is_acknowledged_like_any_other():
    world = connected()
    ended = []
    world.client.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    streaming.send(world.client, "a", BytesIO(BIG), len(BIG), qos=2)
    drive(world)
    assert streaming.sending(world.client)
    world.stream.inbox = b"\x50\x02\x00\x01"
    drive(world)
    assert world.stream.written.endswith(b"\x62\x02\x00\x01") and ended == []
    assert not streaming.sending(world.client)
    world.stream.inbox = b"\x70\x02\x00\x01"
    drive(world)
    assert ended == [(1, 0)]


def test_messages_meanwhile_wait_for_its_end_and_keep_their_aliases():
    world = connected(ALIASES)
    client = world.client
    topic = client.topic("some/topic")
    client.publish(topic, b"1")
    world.stream.stalled = True
    client.publish(topic, b"2")
    streaming.send(client, topic, BytesIO(BIG), len(BIG), qos=1)
    client.publish(topic, b"3")
    client.publish(topic, b"4", qos=1)
    world.stream.stalled = False
    drive(world)
    used = b"\x00\x00"
    alias = b"\x03\x23\x00\x01"
    assert world.stream.written == (
        packet(0x30, text(b"some/topic"), alias, b"1")
        + packet(0x30, used, alias, b"2")
        + packet(0x30, used, alias, b"3")
        + packet(0x32, used, b"\x00\x01", alias, BIG)
        + packet(0x32, used, b"\x00\x02", alias, b"4")
    )


def test_after_a_cut_it_is_read_and_sent_from_its_start_again():
    for greeting, first in ((RESUMED, 0x3A), (CONNACK, 0x32)):  # with DUP [MQTT-3.3.1-1], or as new
        world = connected()
        reader = BytesIO(b"skip" + BIG)
        reader.seek(4)
        streaming.send(world.client, "a", reader, len(BIG), qos=1)
        world.stream.gone = True
        world.greeting = greeting
        world.client.poll(5000)
        assert len(world.streams) == 2
        drive(world)
        assert world.stream.written.endswith(packet(first, text(b"a"), b"\x00\x01\x00", BIG))


def test_cut_when_it_is_all_written_and_not_acknowledged():
    world = connected()
    streaming.send(world.client, "a", BytesIO(BIG), len(BIG), qos=1)
    drive(world)
    world.stream.gone = True
    world.greeting = RESUMED
    world.client.poll(5000)
    drive(world)
    assert world.stream.written.endswith(packet(0x3A, text(b"a"), b"\x00\x01\x00", BIG))
    world.stream.inbox = b"\x40\x02\x00\x01"
    drive(world)
    assert not streaming.sending(world.client) and not world.client.session.outbox.count


class Once:
    """A reader that can't be read again, and gives few bytes at a time."""

    def __init__(self, data):
        self.data = data

    def readinto(self, buf):
        n = min(len(buf), len(self.data), 100)
        buf[:n] = self.data[:n]
        self.data = self.data[n:]
        return n


def test_a_reader_that_can_not_be_read_again_ends_the_message():
    world = connected()
    ended = []
    world.client.on_ack = lambda answer: ended.append((answer.packet_id, answer.reason))
    streaming.send(world.client, "a", Once(BIG), len(BIG), qos=1)
    drive(world)
    assert world.stream.written == packet(0x32, text(b"a"), b"\x00\x01\x00", BIG)
    world.stream.gone = True
    world.client.poll(5000)
    drive(world)
    assert ended == [(1, 0x80)] and b"\x32" not in world.stream.written[20:]


def test_a_reader_with_too_few_bytes_ends_the_link_and_is_not_tried_again():
    world = connected()
    ended = []
    world.client.on_ack = lambda answer: ended.append(answer.reason)
    streaming.send(world.client, "a", BytesIO(BIG[:300]), 400, qos=1)
    world.client.poll(5000)
    assert len(world.streams) == 2 and world.client.connected
    assert ended == [0x80]
    drive(world)
    assert not streaming.sending(world.client)


def test_one_at_a_time_and_only_what_the_broker_takes():
    world = connected(packet(0x20, b"\x00\x00\x07\x27\x00\x00\x20\x00\x24\x01"))
    raises(MQTTError, streaming.send, world.client, "a", BytesIO(BIG), 9000, 1)
    raises(MQTTError, streaming.send, world.client, "a", BytesIO(BIG), len(BIG), 2)
    raises(ValueError, streaming.send, world.client, "a/+", BytesIO(BIG), len(BIG), 1)
    assert world.stream.written == b""
    assert streaming.send(world.client, "a", BytesIO(BIG), len(BIG), 1)
    assert not streaming.send(world.client, "a", BytesIO(BIG), len(BIG), 1)


def test_without_a_link_qos_0_is_not_taken_and_qos_1_waits():
    world = World()
    assert not streaming.send(world.client, "a", BytesIO(BIG), len(BIG))
    assert streaming.send(world.client, "a", BytesIO(BIG), len(BIG), qos=1)
    world.client.connect()
    drive(world)
    assert world.stream.written.endswith(packet(0x32, text(b"a"), b"\x00\x01\x00", BIG))


def test_a_disconnect_waits_for_the_end_of_the_packet():
    world = connected()
    streaming.send(world.client, "a", BytesIO(BIG), len(BIG))
    world.client.disconnect()
    assert world.stream.written == packet(0x30, text(b"a"), b"\x00", BIG) + b"\xe0\x00"


# ---- receiving


class Sink:
    """Collects what comes in pieces."""

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
    world = World(rx=256, **options)
    sink = Sink()
    streaming.receive(world.client, "big/+", sink.begin, qos=qos, maximum=10000)
    world.client.connect()
    assert b"\x27\x00\x00\x27\x10" in world.stream.written
    world.stream.inbox = packet(0x90, b"\x80\x00\x00", bytes((qos,)))
    world.client.poll(0)
    world.stream.written = b""
    return world, sink


def test_a_payload_larger_than_rx_comes_in_pieces_and_is_acknowledged_at_its_end():
    for qos, answer in ((0, b""), (1, b"\x40\x02\x00\x09"), (2, b"\x50\x02\x00\x09")):
        world, sink = receiving()
        whole = message(b"big/one", BIG, qos, 9)
        world.stream.inbox = whole[:-1]
        drive_in(world)
        assert sink.done == [] and world.stream.written == b""
        world.stream.inbox = whole[-1:] + message(b"big/two", b"small", qos, 10)
        drive_in(world)
        assert sink.begun == [("big/one", 5000, qos), ("big/two", 5, qos)]
        assert sink.done == [BIG, b"small"] and sink.largest <= 256
        assert world.stream.written.startswith(answer)
        assert len(world.stream.written) == 2 * len(answer)


def drive_in(world):
    while world.stream.inbox and not world.stream.closed:
        world.client.poll(0)
    world.client.poll(0)


def test_however_its_bytes_arrive():
    data = message(b"big/one", BIG[:700], 1, 9) + message(b"big/two", BIG[:300], 1, 10) * 2
    for size in (1, 2, 5, 31, 32, 33, 255, 256):
        world, sink = receiving()
        at = 0
        while at < len(data):
            world.stream.inbox = data[at : at + size]
            world.client.poll(0)
            at += size
        drive_in(world)
        assert sink.done == [BIG[:700], BIG[:300], BIG[:300]], size


def test_qos_2_is_taken_once():
    world, sink = receiving()
    whole = message(b"big/one", BIG, 2, 9)
    world.stream.inbox = whole + message(b"big/one", BIG, 2, 9, flags=8)
    drive_in(world)
    assert sink.done == [BIG]
    assert world.stream.written == b"\x50\x02\x00\x09" * 2
    world.stream.inbox = b"\x62\x02\x00\x09" + whole
    drive_in(world)
    assert sink.done == [BIG, BIG]


def test_a_link_lost_in_the_midst_is_told_and_the_message_comes_again():
    world, sink = receiving()
    world.stream.inbox = message(b"big/one", BIG, 2, 9)[:3000]
    drive_in(world)
    world.stream.gone = True
    world.greeting = RESUMED
    world.client.poll(5000)
    assert sink.done == [None]
    world.stream.inbox = message(b"big/one", BIG, 2, 9, flags=8)
    drive_in(world)
    assert sink.done == [None, BIG]


def test_what_nobody_takes_is_thrown_away_and_the_stream_goes_on():
    world, sink = receiving()
    got = []
    world.client.subscribe("other", lambda m: got.append(m.payload))
    world.stream.inbox = message(b"other", BIG, 1, 9) + message(b"other", b"ok")
    drive_in(world)
    assert b"\x40\x03\x00\x09\x97" in world.stream.written and got == [b"ok"]  # [MQTT-3.4.2-1]


def test_a_sink_that_raises_gets_no_more_and_the_broker_hears_of_it():
    world, sink = receiving()
    errors = []
    world.client.on_error = errors.append

    def broken(piece):
        sink.pieces.append(piece)
        raise OSError(28)

    sink.take = broken
    world.stream.inbox = message(b"big/one", BIG, 2, 9) + message(b"big/two", b"", 1, 10)
    drive_in(world)
    assert len(errors) == 2
    assert world.stream.written == b"\x50\x03\x00\x09\x80\x40\x03\x00\x0a\x80"


def test_larger_than_we_said_or_not_a_message_ends_the_link():
    for data in (message(b"big/one", b"x" * 10000, 1, 9), packet(0x40, b"\x00\x01\x00" + b"x" * 300)):
        world, sink = receiving()
        world.stream.inbox = data
        world.client.poll(0)
        assert b"\xe0\x01\x95" in world.streams[0].written, data[:10]


def test_a_malformed_head_of_a_large_message_ends_the_link():
    for data, code in (
        (packet(0x36, text(b"big/one"), b"\x00\x09\x00", BIG), 0x81),
        (packet(0x32, text(b"big/#"), b"\x00\x09\x00", BIG), 0x90),
        (packet(0x32, text(b"big/one"), b"\x00\x00\x00", BIG), 0x82),
        (packet(0x32, text(b"big/one"), b"\x00\x09\x02\x01\x07", BIG), 0x82),
        (packet(0x32, text(b"big/one"), b"\x00\x09\xff\xff\xff\xff", BIG), 0x81),
        (packet(0x32, b"\x7f\xff", BIG), 0x81),
        (packet(0x32, text(b"t" * 250), b"\x00\x09\x00", BIG), 0x95),
    ):
        world, sink = receiving()
        world.stream.inbox = data[:400]
        drive_in(world)
        assert bytes((0xE0, 1, code)) in world.streams[0].written, (data[:20], world.streams[0].written)
        assert sink.begun == []


def test_a_message_in_pieces_is_acknowledged_whatever_is_told_meanwhile():
    """What the session has to tell its user between two pieces is not the end of this message."""
    for qos, answer in ((1, b"\x40\x02\x00\x09"), (2, b"\x50\x02\x00\x09")):
        world = World(rx=256, session_expiry=100)
        sink = Sink()
        streaming.receive(world.client, "big/+", sink.begin, qos=qos, maximum=10000)
        whole = message(b"big/one", BIG, qos, 9)
        world.greeting = CONNACK + whole[:200]  # after which subscriptions are asked for anew
        world.client.connect()
        for _ in range(3):
            world.client.poll(0)
        world.stream.written = b""
        world.stream.inbox += whole[200:]
        drive_in(world)
        assert sink.done == [BIG]
        assert world.stream.written == answer
