"""How a connection is ended: DISCONNECT with reason and properties."""

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


def last(sim, *arguments):
    """What `disconnect` with these arguments writes."""
    before = len(sim.stream.written)
    sim.client.disconnect(*arguments)
    assert sim.stream.closed and not sim.client.is_connected
    return sim.stream.written[before:]


def test_a_reason_alone_takes_three_bytes():
    """[MQTT-3.14.2-1]"""
    assert last(connected()) == b"\xe0\x00"
    assert last(connected(), 0x04) == b"\xe0\x01\x04"  # and the will is published


def test_properties_of_disconnect():
    block = pack(session_expiry=7, reason_string="bye", user_properties=[("a", "1"), ("a", "2")])
    assert last(connected(), 0, block) == make_packet(0xE0, b"\x00", bytes((len(block),)), block)
    many = pack(user_properties=[("a", "x" * 50)] * 4)
    out = last(connected(), 4, many)
    assert out == make_packet(0xE0, b"\x04", bytes((len(many) & 127 | 128, len(many) >> 7)), many)


def test_after_disconnect_nothing_more_is_sent():
    """[MQTT-3.14.4-1]"""
    sim = BrokerSimulation()
    sim.client.connect()
    sim.client.disconnect(4)
    sim.client.publish("a", b"x", qos=1)
    sim.client.poll(1000)
    assert sim.packets[-1] == (0xE0, b"\x04") and sim.stream.closed and len(sim.streams) == 1


def test_reasons_that_are_not_a_clients():
    """[MQTT-3.14.2-1]"""
    sim = connected()
    before = sim.stream.written
    for reason in (1, 0x18, 0x87, 0x8B, 0x8E, 0x9C, 0x9D, 0xFF, 256, -1):
        raises(ValueError, sim.client.disconnect, reason)
    assert sim.client.is_connected and sim.stream.written == before


def test_properties_that_have_no_place_in_disconnect():
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


def test_a_session_that_expires_at_once_can_not_be_kept_in_the_end():
    sim = connected(session_expiry=0)
    before = sim.stream.written
    for seconds in (1, 0xFFFFFFFF):
        raises(ValueError, sim.client.disconnect, 0, pack(session_expiry=seconds))
    assert sim.client.is_connected and sim.stream.written == before
    assert last(sim, 0, pack(session_expiry=0)) == make_packet(0xE0, b"\x00\x05\x11\x00\x00\x00\x00")
    assert b"\x11\x00\x00\x00\x00" in last(connected(session_expiry=5), 0, pack(session_expiry=0))


def test_it_keeps_to_the_brokers_maximum_packet_size():
    """[MQTT-3.14.2-3], [MQTT-3.14.2-4], [MQTT-3.2.2-15]"""
    for block in (pack(reason_string="x" * 20), pack(user_properties=[("x" * 10, "y" * 8)])):
        sim = connected(b"\x27\x00\x00\x00\x14")
        before = sim.stream.written
        assert raises(MQTTError, sim.client.disconnect, 0, block).code == 0x95
        assert sim.client.is_connected and sim.stream.written == before
        assert last(sim, 4) == b"\xe0\x01\x04"


def test_where_the_broker_reads_nothing_the_properties_are_left_out():
    sim = connected(tx=64, timeout=1000)
    sim.stream.is_stalled = True
    while sim.client.publish("a", b"x" * 10):
        pass
    start = sim.now
    sim.client.disconnect(4, pack(reason_string="x" * 30))
    assert not sim.client.is_connected and sim.now - start <= 1100


class Reads(Simulation):
    """The broker reads again after half a second."""

    def sleep(self, ms):
        Simulation.sleep(self, min(ms, 500))
        self.stream.is_stalled = False


def test_messages_that_wait_are_not_sent_behind_it():
    """[MQTT-3.14.4-1]"""
    sim = Reads(timeout=1000)
    sim.client.connect()
    sim.stream.is_stalled = True
    sim.client.publish("a", b"1", qos=1)
    sim.client.publish("a", b"2", qos=1)
    assert last(sim, 4, pack(reason_string="x")) == make_packet(
        0x32, utf8_string(b"a"), b"\x00\x01\x001"
    ) + make_packet(0xE0, b"\x04\x04\x1f\x00\x01x")


def test_the_reason_goes_out_when_the_broker_reads_again():
    sim = Reads(tx=64, timeout=1000)
    sim.client.connect()
    sim.stream.is_stalled = True
    while sim.client.publish("a", b"x" * 10):
        pass
    assert last(sim, 4, pack(reason_string="x" * 30)).endswith(b"\xe0\x01\x04")


def test_properties_that_never_fit_are_told():
    raises(ValueError, connected(tx=64).client.disconnect, 0, pack(reason_string="x" * 90))


def test_without_a_connection_it_is_checked_all_the_same():
    sim = Simulation()
    raises(ValueError, sim.client.disconnect, 0x87)
    sim.client.disconnect(4, pack(reason_string="x"))
    assert not sim.streams


def test_in_a_handler():
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
