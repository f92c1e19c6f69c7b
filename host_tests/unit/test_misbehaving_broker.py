"""Brokers that misbehave: one test for each failure that was found in other MQTT clients for MicroPython."""

from answering_broker import BrokerSimulation
from simulation import Simulation

from helper import make_packet
from umqtt5.core.errors import MQTTError

CONNACK_RESUMED = b"\x20\x03\x01\x00\x00"


def test_a_persistent_session_resumes():
    """If Session Present is 1, another client raises an exception and can never connect again."""
    sim = Simulation()
    sim.client.connect()
    sim.connect_reply = CONNACK_RESUMED
    sim.stream.closed_by_broker = True
    sim.client.poll(3000)
    assert sim.client.is_connected and sim.client.session.resumed


def test_packet_identifiers_never_run_out():
    """At message 65,536 another client sends packet identifier 0 and is disconnected."""
    sim = Simulation(inflight=8)
    sim.client.connect()
    topic = sim.client.topic("a")
    for _ in range(66_000):
        packet_id = sim.client.publish(topic, b"", qos=1)
        assert 0 < packet_id < 65_536
        sim.stream.written = b""
        sim.stream.inbox = b"\x40\x02" + bytes((packet_id >> 8, packet_id & 255))
        sim.client.poll()
    assert len(sim.streams) == 1


def test_wrong_lengths_end_the_connection_with_a_reason_code():
    """Other clients hang or lose synchronization, and none sends a reason code."""
    for data, code in (
        (b"\x30\xff\xff\xff\xff\x7f", 0x81),  # not a Variable Byte Integer
        (b"\x30\x04\x00\x09ab", 0x81),  # the topic is longer than the packet
        (b"\x90\x04\x80\x00\x7f\x00", 0x81),  # the properties are longer than the packet
        (b"\x30\xff\x7f", 0x95),  # larger than the client's Maximum Packet Size
    ):
        sim = Simulation()
        sim.client.connect()
        sim.stream.inbox = data
        sim.client.poll(10)
        assert sim.streams[0].written.endswith(bytes((0xE0, 1, code))), data
        sim.client.poll(3000)
        assert sim.client.is_connected and len(sim.streams) == 2


def test_a_message_of_300_kilobytes_does_not_reach_a_small_heap():
    """Other clients raise MemoryError and lose synchronization, or stop reading while still connected."""
    sim = Simulation(rx=256)
    sim.client.connect()
    assert b"\x27\x00\x00\x01\x00" in sim.stream.written  # Maximum Packet Size 256
    sim.stream.inbox = (
        make_packet(0x30, b"\x00\x01a\x00")[:1] + b"\xe4\xa7\x12" + b"\x00\x01a\x00" + b"x" * 5000
    )
    errors = []
    sim.client.on_state = lambda client, up, error: errors.append(error)
    sim.client.poll(10)
    assert errors[0].code == 0x95
    sim.client.poll(3000)
    assert sim.client.is_connected


def test_a_missing_puback_ends_in_a_reconnect_and_a_resend():
    """Other clients hang, or repeat the message in the same connection, which MQTT 5 forbids."""
    sim = Simulation(timeout=2000)
    sim.client.connect()
    sim.client.publish("a", b"x", qos=1)
    sim.connect_reply = CONNACK_RESUMED
    start = sim.now
    while len(sim.streams) == 1:
        sim.client.poll(100)
        assert sim.now - start < 4000
    assert sim.streams[0].written.count(b"\x00\x01a") == 1
    sim.client.poll(3000)
    assert b"\x3a\x07\x00\x01a" in sim.stream.written  # sent again with DUP


def test_a_stalled_connection_does_not_block_publishing():
    """Most other clients block without a deadline until the watchdog resets the board."""
    sim = Simulation(timeout=2000)
    sim.client.connect()
    sim.stream.is_stalled = True
    start = sim.now
    refused = 0
    while len(sim.streams) == 1:
        refused += not sim.client.publish("a", b"x" * 50)
        before = sim.now
        sim.client.poll(50)
        assert sim.now - before <= 51
        assert sim.now - start < 4000
    assert refused  # `publish` returns False if `tx` is full


def test_a_refused_message_is_published_once():
    """On PUBACK 0x97 (Quota exceeded) another client publishes the message again and again."""
    sim = BrokerSimulation()
    sim.replies[0x30] = lambda stream, first, body: make_packet(0x40, body[3:5], b"\x97")
    told = []
    sim.client.on_ack = lambda answer: told.append((answer.packet_id, answer.reason))
    sim.client.connect()
    packet_id = sim.client.publish("a", b"x", qos=1)
    sim.client.poll(60_000)
    assert told == [(packet_id, 0x97)] and len(sim.received_bodies(0x30)) == 1


def test_the_brokers_limits_are_obeyed():
    """All five other clients ignore these limits in CONNACK and the Assigned Client Identifier."""
    sim = Simulation()
    sim.client.session.client_id = b""
    limits = b"\x27\x00\x00\x00\x32\x24\x00\x25\x00\x13\x00\x07\x12\x00\x03abc"
    sim.connect_reply = make_packet(0x20, b"\x00\x00", bytes((len(limits),)), limits)
    sim.client.connect()
    for arguments, code in (
        (("a", b"x" * 60), 0x95),
        (("a", b"x", 1), 0x9B),
        (("a", b"x", 0, True), 0x9A),
    ):
        try:
            sim.client.publish(*arguments)
            raise AssertionError(arguments)
        except MQTTError as error:
            assert error.code == code
    assert sim.client.session.client_id == b"abc"
    sim.client.poll(20_000)
    assert sim.stream.written.count(b"\xc0\x00") >= 2  # a ping at least every 7 s
    sim.stream.closed_by_broker = True
    sim.client.poll(3000)
    assert b"\x00\x03abc" in sim.stream.written


def test_a_broker_that_accepts_and_closes_is_retried_with_back_off():
    """A client that resets its back-off at CONNACK reconnects 105 times in 11 s."""
    sim = Simulation()

    def connect(host, port):
        stream = connect_before(host, port)
        stream.closed_by_broker = True
        return stream

    connect_before = sim.client._transport
    sim.client._transport = connect
    sim.client.connect(wait=False)
    sim.client.poll(60_000)
    assert 2 <= len(sim.streams) < 10


def test_the_client_reconnects_soon_after_a_lost_connection():
    """The client is connected within 2 s."""
    sim = Simulation()
    sim.client.connect()
    sim.client.poll(40_000)
    sim.stream.closed_by_broker = True
    start = sim.now
    while len(sim.streams) == 1 or not sim.client.is_connected:
        sim.client.poll(10)
    assert sim.now - start <= 2000
