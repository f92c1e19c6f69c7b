"""DISCONNECT from the client: reason code, properties, limits, pending messages."""

from answering_broker import BrokerSimulation
from simulation import Simulation

from helper import make_packet, raises, utf8_string
from umqtt5.core.errors import MQTTError
from umqtt5.properties import pack


def connected(connack=b"", **options):
    sim = Simulation(**options)
    sim.connect_reply = make_packet(0x20, b"\x00\x00", bytes((len(connack),)), connack)
    sim.client.connect()
    return sim


def disconnect(sim, *arguments):
    """Call `disconnect` with these arguments; returns the bytes it writes."""
    before = len(sim.stream.written)
    sim.client.disconnect(*arguments)
    assert sim.stream.closed and not sim.client.is_connected
    return sim.stream.written[before:]


def test_a_disconnect_with_only_a_reason_has_three_bytes():
    """[MQTT-3.14.2-1]"""
    assert disconnect(connected()) == b"\xe0\x00"
    assert disconnect(connected(), 0x04) == b"\xe0\x01\x04"  # the broker publishes the will


def test_disconnect_carries_properties():
    block = pack(session_expiry=7, reason_string="bye", user_properties=[("a", "1"), ("a", "2")])
    assert disconnect(connected(), 0, block) == make_packet(0xE0, b"\x00", bytes((len(block),)), block)
    many = pack(user_properties=[("a", "x" * 50)] * 4)
    out = disconnect(connected(), 4, many)
    assert out == make_packet(0xE0, b"\x04", bytes((len(many) & 127 | 128, len(many) >> 7)), many)


def test_nothing_is_sent_after_disconnect():
    """[MQTT-3.14.4-1]"""
    sim = connected(b"\x22\x00\x01")  # Topic Alias Maximum 1
    stream, client = sim.stream, sim.client
    client.publish("long/topic", b"1")  # sets up the alias
    client.poll(0)
    stream.is_stalled = True
    stream.inbox = b"\x20\x03\x00\x00\x00"  # a second CONNACK ends the connection
    client.poll(0)
    assert not client.publish("long/topic", b"2")
    client.publish("a", b"3", qos=1)
    client.subscribe("b", print)
    stream.is_stalled = False
    client.poll(0)
    assert stream.written.endswith(b"\xe0\x01\x82") and stream.closed and len(sim.streams) == 1


def test_reason_codes_that_a_client_must_not_send_raise_value_error():
    """[MQTT-3.14.2-1]"""
    sim = connected()
    before = sim.stream.written
    for reason in (1, 0x18, 0x87, 0x8B, 0x8E, 0x9C, 0x9D, 0xFF, 256, -1):
        raises(ValueError, sim.client.disconnect, reason)
    assert sim.client.is_connected and sim.stream.written == before


def test_invalid_disconnect_properties_raise_value_error():
    sim = connected()
    for block in (
        pack(content_type="x"),
        pack(session_expiry=1) * 2,
        b"\x1c" + utf8_string(b"a"),
        b"\x11",
        b"\x99",
    ):
        raises(ValueError, sim.client.disconnect, 0, block)
    raises(TypeError, sim.client.disconnect, 0, "bye")
    assert sim.client.is_connected


def test_disconnect_cannot_extend_a_session_expiry_of_0():
    sim = connected(session_expiry=0)
    before = sim.stream.written
    for seconds in (1, 0xFFFFFFFF):
        raises(ValueError, sim.client.disconnect, 0, pack(session_expiry=seconds))
    assert sim.client.is_connected and sim.stream.written == before
    assert disconnect(sim, 0, pack(session_expiry=0)) == make_packet(0xE0, b"\x00\x05\x11\x00\x00\x00\x00")
    assert b"\x11\x00\x00\x00\x00" in disconnect(connected(session_expiry=5), 0, pack(session_expiry=0))


def test_disconnect_obeys_the_brokers_maximum_packet_size():
    """[MQTT-3.14.2-3], [MQTT-3.14.2-4], [MQTT-3.2.2-15]"""
    for block in (pack(reason_string="x" * 20), pack(user_properties=[("x" * 10, "y" * 8)])):
        sim = connected(b"\x27\x00\x00\x00\x14")
        before = sim.stream.written
        assert raises(MQTTError, sim.client.disconnect, 0, block).code == 0x95
        assert sim.client.is_connected and sim.stream.written == before
        assert disconnect(sim, 4) == b"\xe0\x01\x04"


def test_a_stalled_connection_is_closed_without_disconnect_in_time():
    sim = connected(tx=64, timeout=1000)
    sim.stream.is_stalled = True
    while sim.client.publish("a", b"x" * 10):
        pass
    start = sim.now
    sim.client.disconnect(4, pack(reason_string="x" * 30))
    assert not sim.client.is_connected and sim.now - start <= 1100


class Reads(Simulation):
    """A broker that reads again after half a second."""

    def sleep(self, ms):
        Simulation.sleep(self, min(ms, 500))
        self.stream.is_stalled = False


def test_queued_messages_are_not_sent_after_disconnect():
    """[MQTT-3.14.4-1]"""
    sim = Reads(timeout=1000)
    sim.client.connect()
    sim.stream.is_stalled = True
    sim.client.publish("a", b"1", qos=1)
    sim.client.publish("a", b"2", qos=1)
    assert disconnect(sim, 4, pack(reason_string="x")) == make_packet(
        0x32, utf8_string(b"a"), b"\x00\x01\x001"
    ) + make_packet(0xE0, b"\x04\x04\x1f\x00\x01x")


def test_disconnect_is_sent_when_the_broker_reads_again():
    sim = Reads(tx=64, timeout=1000)
    sim.client.connect()
    sim.stream.is_stalled = True
    while sim.client.publish("a", b"x" * 10):
        pass
    assert disconnect(sim, 4, pack(reason_string="x" * 30)).endswith(b"\xe0\x01\x04")


def test_properties_larger_than_the_tx_buffer_raise_value_error():
    raises(ValueError, connected(tx=64).client.disconnect, 0, pack(reason_string="x" * 90))


def test_disconnect_checks_its_arguments_without_a_connection():
    sim = Simulation()
    raises(ValueError, sim.client.disconnect, 0x87)
    sim.client.disconnect(4, pack(reason_string="x"))
    assert not sim.streams


def test_a_handler_may_call_disconnect():
    sim = BrokerSimulation()
    block = pack(reason_string="done")

    def handle(m):
        sim.client.disconnect(4, block)
        assert sim.client.publish("a", b"y") is False

    sim.client.subscribe("a", handle)
    sim.client.connect()
    sim.client.poll(10)
    sim.client.publish("a", b"x")
    sim.client.poll(10)
    assert sim.packets[-1] == (0xE0, b"\x04" + bytes((len(block),)) + block) and sim.stream.closed
