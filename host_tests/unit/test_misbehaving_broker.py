"""What today's clients fail at (a hostile or unlucky broker): one test for each of those probes."""

from answering_broker import Answers
from simulation import World

from helper import packet
from umqtt5.core.errors import MQTTError

CONNACK_RESUMED = b"\x20\x03\x01\x00\x00"


def test_a_persistent_session_resumes():
    """Session Present 1: a client of today raises, and can never connect again."""
    world = World()
    world.client.connect()
    world.greeting = CONNACK_RESUMED
    world.stream.gone = True
    world.client.poll(3000)
    assert world.client.connected and world.client.session.resumed


def test_packet_identifiers_never_run_out():
    """The 65,536th message: a client of today sends packet identifier 0 and is thrown out."""
    world = World(inflight=8)
    world.client.connect()
    topic = world.client.topic("a")
    for _ in range(66_000):
        packet_id = world.client.publish(topic, b"", qos=1)
        assert 0 < packet_id < 65_536
        world.stream.written = b""
        world.stream.inbox = b"\x40\x02" + bytes((packet_id >> 8, packet_id & 255))
        world.client.poll()
    assert len(world.streams) == 1


def test_lengths_that_lie_end_the_link_with_a_reason():
    """Today's clients hang for ever, or read on out of step; none says why."""
    for data, code in (
        (b"\x30\xff\xff\xff\xff\x7f", 0x81),  # no Variable Byte Integer
        (b"\x30\x04\x00\x09ab", 0x81),  # the topic is longer than the packet
        (b"\x90\x04\x80\x00\x7f\x00", 0x81),  # so are the properties
        (b"\x30\xff\x7f", 0x95),  # larger than we said
    ):
        world = World()
        world.client.connect()
        world.stream.inbox = data
        world.client.poll(10)
        assert world.streams[0].written.endswith(bytes((0xE0, 1, code))), data
        world.client.poll(3000)
        assert world.client.connected and len(world.streams) == 2


def test_a_message_of_300_kilobytes_does_not_reach_a_small_heap():
    """Today's clients: MemoryError and a stream out of step, or a dead reader that says it is connected."""
    world = World(rx=256)
    world.client.connect()
    assert b"\x27\x00\x00\x01\x00" in world.stream.written  # the broker is told
    world.stream.inbox = packet(0x30, b"\x00\x01a\x00")[:1] + b"\xe4\xa7\x12" + b"\x00\x01a\x00" + b"x" * 5000
    errors = []
    world.client.on_state = lambda client, up, error: errors.append(error)
    world.client.poll(10)
    assert errors[0].code == 0x95
    world.client.poll(3000)
    assert world.client.connected


def test_an_acknowledgement_that_never_comes():
    """Today's clients hang, or repeat the message in the same connection, which MQTT 5 forbids."""
    world = World(timeout=2000)
    world.client.connect()
    world.client.publish("a", b"x", qos=1)
    world.greeting = CONNACK_RESUMED
    start = world.now
    while len(world.streams) == 1:
        world.client.poll(100)
        assert world.now - start < 4000
    assert world.streams[0].written.count(b"\x00\x01a") == 1
    world.client.poll(3000)
    assert b"\x3a\x07\x00\x01a" in world.stream.written  # once more, with DUP


def test_a_tcp_that_stalls_in_a_flood():
    """Most of today's clients block without a deadline, until the watchdog reboots the board."""
    world = World(timeout=2000)
    world.client.connect()
    world.stream.stalled = True
    start = world.now
    refused = 0
    while len(world.streams) == 1:
        refused += not world.client.publish("a", b"x" * 50)
        before = world.now
        world.client.poll(50)
        assert world.now - before <= 51
        assert world.now - start < 4000
    assert refused  # the caller is told


def test_a_refused_message_is_not_published_for_ever():
    """PUBACK 0x97, Quota exceeded: a client of today publishes it again and again."""
    there = Answers()
    there._answers[0x30] = lambda stream, first, body: packet(0x40, body[3:5], b"\x97")
    told = []
    there.client.on_ack = lambda answer: told.append((answer.packet_id, answer.reason))
    there.client.connect()
    packet_id = there.client.publish("a", b"x", qos=1)
    there.client.poll(60_000)
    assert told == [(packet_id, 0x97)] and len(there.came(0x30)) == 1


def test_the_limits_of_the_broker_are_kept():
    """50-byte packets, QoS 0 only, no retain, Keep Alive 7 s, an identifier: all five ignore them."""
    world = World()
    world.client.session.client_id = b""
    limits = b"\x27\x00\x00\x00\x32\x24\x00\x25\x00\x13\x00\x07\x12\x00\x03abc"
    world.greeting = packet(0x20, b"\x00\x00", bytes((len(limits),)), limits)
    world.client.connect()
    for arguments, code in (
        (("a", b"x" * 60), 0x95),
        (("a", b"x", 1), 0x9B),
        (("a", b"x", 0, True), 0x9A),
    ):
        try:
            world.client.publish(*arguments)
            raise AssertionError(arguments)
        except MQTTError as error:
            assert error.code == code
    assert world.client.session.client_id == b"abc"
    world.client.poll(20_000)
    assert world.stream.written.count(b"\xc0\x00") >= 2  # a ping each seven seconds at least
    world.stream.gone = True
    world.client.poll(3000)
    assert b"\x00\x03abc" in world.stream.written


def test_a_broker_that_accepts_and_drops_is_not_stormed():
    """Back-off that begins anew at CONNACK: 105 reconnects in 11 s."""
    world = World()

    def connect(host, port):
        stream = connect_before(host, port)
        stream.gone = True
        return stream

    connect_before = world.client._transport
    world.client._transport = connect
    world.client.connect(wait=False)
    world.client.poll(60_000)
    assert 2 <= len(world.streams) < 10


def test_a_broker_that_comes_back_finds_the_client_soon():
    """Within the first back-off and a second."""
    world = World()
    world.client.connect()
    world.client.poll(40_000)
    world.stream.gone = True
    start = world.now
    while len(world.streams) == 1 or not world.client.connected:
        world.client.poll(10)
    assert world.now - start <= 2000
