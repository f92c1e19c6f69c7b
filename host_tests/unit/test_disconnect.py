"""How a connection is ended: DISCONNECT with reason and properties."""

from answering_broker import Answers
from simulation import World

from helper import packet, raises, text
from umqtt5.core.errors import MQTTError
from umqtt5.properties import pack


def connected(connack=b"", **options):
    world = World(**options)
    world.greeting = packet(0x20, b"\x00\x00", bytes((len(connack),)), connack)
    world.client.connect()
    return world


def last(world, *arguments):
    """What `disconnect` with these arguments writes."""
    before = len(world.stream.written)
    world.client.disconnect(*arguments)
    assert world.stream.closed and not world.client.connected
    return world.stream.written[before:]


def test_a_reason_alone_takes_three_bytes():
    """[MQTT-3.14.2-1]"""
    assert last(connected()) == b"\xe0\x00"
    assert last(connected(), 0x04) == b"\xe0\x01\x04"  # and the will is published


def test_properties_of_disconnect():
    block = pack(session_expiry=7, reason_string="bye", user=[("a", "1"), ("a", "2")])
    assert last(connected(), 0, block) == packet(0xE0, b"\x00", bytes((len(block),)), block)
    many = pack(user=[("a", "x" * 50)] * 4)
    out = last(connected(), 4, many)
    assert out == packet(0xE0, b"\x04", bytes((len(many) & 127 | 128, len(many) >> 7)), many)


def test_after_disconnect_nothing_more_is_sent():
    """[MQTT-3.14.4-1]"""
    there = Answers()
    there.client.connect()
    there.client.disconnect(4)
    there.client.publish("a", b"x", qos=1)
    there.client.poll(1000)
    assert there.packets[-1] == (0xE0, b"\x04") and there.stream.closed and len(there.streams) == 1


def test_reasons_that_are_not_a_clients():
    """[MQTT-3.14.2-1]"""
    world = connected()
    before = world.stream.written
    for reason in (1, 0x18, 0x87, 0x8B, 0x8E, 0x9C, 0x9D, 0xFF, 256, -1):
        raises(ValueError, world.client.disconnect, reason)
    assert world.client.connected and world.stream.written == before


def test_properties_that_have_no_place_in_disconnect():
    world = connected()
    for block in (pack(content_type="x"), pack(session_expiry=1) * 2, b"\x1c" + text(b"a"), b"\x11", b"\x99"):
        raises(ValueError, world.client.disconnect, 0, block)
    raises(TypeError, world.client.disconnect, 0, "bye")
    assert world.client.connected


def test_a_session_that_expires_at_once_can_not_be_kept_in_the_end():
    world = connected(session_expiry=0)
    before = world.stream.written
    for seconds in (1, 0xFFFFFFFF):
        raises(ValueError, world.client.disconnect, 0, pack(session_expiry=seconds))
    assert world.client.connected and world.stream.written == before
    assert last(world, 0, pack(session_expiry=0)) == packet(0xE0, b"\x00\x05\x11\x00\x00\x00\x00")
    assert b"\x11\x00\x00\x00\x00" in last(connected(session_expiry=5), 0, pack(session_expiry=0))


def test_it_keeps_to_the_brokers_maximum_packet_size():
    """[MQTT-3.14.2-3], [MQTT-3.14.2-4], [MQTT-3.2.2-15]"""
    for block in (pack(reason_string="x" * 20), pack(user=[("x" * 10, "y" * 8)])):
        world = connected(b"\x27\x00\x00\x00\x14")
        before = world.stream.written
        assert raises(MQTTError, world.client.disconnect, 0, block).code == 0x95
        assert world.client.connected and world.stream.written == before
        assert last(world, 4) == b"\xe0\x01\x04"


def test_where_the_broker_reads_nothing_the_properties_are_left_out():
    world = connected(tx=64, timeout=1000)
    world.stream.stalled = True
    while world.client.publish("a", b"x" * 10):
        pass
    start = world.now
    world.client.disconnect(4, pack(reason_string="x" * 30))
    assert not world.client.connected and world.now - start <= 1100


class Reads(World):
    """The broker reads again after half a second."""

    def sleep(self, ms):
        World.sleep(self, min(ms, 500))
        self.stream.stalled = False


def test_messages_that_wait_are_not_sent_behind_it():
    """[MQTT-3.14.4-1]"""
    world = Reads(timeout=1000)
    world.client.connect()
    world.stream.stalled = True
    world.client.publish("a", b"1", qos=1)
    world.client.publish("a", b"2", qos=1)
    assert last(world, 4, pack(reason_string="x")) == packet(0x32, text(b"a"), b"\x00\x01\x001") + packet(
        0xE0, b"\x04\x04\x1f\x00\x01x"
    )


def test_the_reason_goes_out_when_the_broker_reads_again():
    world = Reads(tx=64, timeout=1000)
    world.client.connect()
    world.stream.stalled = True
    while world.client.publish("a", b"x" * 10):
        pass
    assert last(world, 4, pack(reason_string="x" * 30)).endswith(b"\xe0\x01\x04")


def test_properties_that_never_fit_are_told():
    raises(ValueError, connected(tx=64).client.disconnect, 0, pack(reason_string="x" * 90))


def test_without_a_connection_it_is_checked_all_the_same():
    world = World()
    raises(ValueError, world.client.disconnect, 0x87)
    world.client.disconnect(4, pack(reason_string="x"))
    assert not world.streams


def test_in_a_handler():
    there = Answers()
    block = pack(reason_string="done")

    def handle(m):
        there.client.disconnect(4, block)
        assert there.client.publish("a", b"y") is False

    there.client.subscribe("a", handle)
    there.client.connect()
    there.client.poll(10)
    there.client.publish("a", b"x")
    there.client.poll(10)
    assert there.packets[-1] == (0xE0, b"\x04" + bytes((len(block),)) + block) and there.stream.closed
