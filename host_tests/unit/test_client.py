from world import World

from helper import message, packet, raises, text
from umqtt5.errors import MQTTError


def test_connect_waits_for_the_connack():
    world = World()
    assert world.client.connect() is False
    assert world.client.connected and world.client.poll() is True
    assert world.stream.written.startswith(b"\x10")


def test_connect_raises_why_it_failed_and_does_not_try_again_by_itself():
    world = World()
    world.greeting = packet(0x20, b"\x00\x86\x00")
    assert raises(MQTTError, world.client.connect).code == 0x86
    world.client.poll(100_000)
    assert len(world.times) == 1 and world.stream.closed

    world = World()
    world.there = False
    assert raises(OSError, world.client.connect).args[0] == 111
    world.client.poll(100_000)
    assert len(world.times) == 1


def test_connect_has_a_deadline():
    world = World(timeout=5000)
    world.reachable = False
    assert "no connection" in str(raises(OSError, world.client.connect))
    assert world.now <= 5100 and world.stream.closed

    world = World(timeout=5000)
    world.greeting = b""
    assert "no CONNACK" in str(raises(OSError, world.client.connect))
    assert world.now <= 5100


def test_poll_takes_as_long_as_it_is_told():
    world = World()
    world.client.connect()
    for ms in (0, 1, 50, 10_000):
        start = world.now
        world.client.poll(ms)
        assert ms <= world.now - start <= ms + 10


def test_a_broker_that_drops_at_once_is_not_hammered():
    world = World()
    world.greeting = b"\x20\x03\x00\x00\x00"
    world.client.connect(wait=False)
    while world.now < 60_000:
        world.client.poll(10)
        if world.streams:
            world.stream.gone = True
    assert 2 <= len(world.times) < 20
    first_minute = len(world.times)
    while world.now < 660_000:
        world.client.poll(10)
        world.stream.gone = True
    # from then on once in half a minute, as a mean
    assert 8 <= len(world.times) - first_minute <= 60


def test_the_back_off_begins_anew_after_a_link_that_was_stable():
    world = World()
    world.there = False
    world.client.connect(wait=False)
    world.client.poll(300_000)
    world.there = True
    world.client.poll(120_000)
    assert world.client.connected
    world.stream.gone = True
    lost = world.now
    world.client.poll(2000)
    assert world.client.connected and world.times[-1] - lost <= 1100


def test_states_are_told_with_their_reason():
    world = World()
    told = []
    world.client.on_state = lambda client, connected, error: told.append((connected, error))
    world.client.connect()
    world.stream.inbox = packet(0xE0, b"\x8b\x00")
    world.client.poll(10)
    assert told[0] == (True, None)
    assert told[1][0] is False and told[1][1].code == 0x8B
    world.client.poll(2000)
    assert told[2] == (True, None) and world.client.connects == 2
    world.client.disconnect()
    assert told[3] == (False, None) and world.streams[-1].written.endswith(b"\xe0\x00")
    world.client.poll(100_000)
    assert len(world.times) == 2


def test_a_malformed_packet_ends_in_disconnect_and_a_clean_reconnect():
    world = World()
    world.client.connect()
    world.stream.inbox = b"\x30\x04\x00\x01#\x00"
    world.client.poll(10)
    assert world.streams[0].written.endswith(b"\xe0\x01\x90") and world.streams[0].closed
    world.client.poll(2000)
    assert world.client.connected


def test_nothing_written_for_too_long_ends_the_link():
    world = World(timeout=3000)
    world.client.connect()
    world.stream.stalled = True
    world.client.publish("a", b"x")
    world.client.poll(2900)
    assert world.client.connected and len(world.streams) == 1
    world.client.poll(4000)
    assert len(world.streams) == 2 and world.streams[0].closed


def test_publishing_into_a_broken_link_raises_nothing_and_loses_no_qos_1():
    world = World()
    world.client.connect()
    world.stream.gone = True
    assert world.client.publish("a", b"1", qos=1) == 1
    assert not world.client.connected
    assert world.client.publish("a", b"2", qos=1) == 2
    assert world.client.publish("a", b"3") is False
    world.client.poll(2000)
    assert world.stream.written.endswith(
        packet(0x32, text(b"a"), b"\x00\x01\x001") + packet(0x32, text(b"a"), b"\x00\x02\x002")
    )


def test_properties_belong_to_one_message():
    world = World()
    world.client.connect()
    world.client.publish("a", b"1", qos=1, properties=b"\x01\x01")
    world.client.publish("a", b"2", qos=1)
    world.client.publish("a", b"3", properties=b"\x01\x01")
    world.client.publish("a", b"4")
    assert world.stream.written.endswith(
        packet(0x32, text(b"a"), b"\x00\x01\x02\x01\x011")
        + packet(0x32, text(b"a"), b"\x00\x02\x002")
        + packet(0x30, text(b"a"), b"\x02\x01\x013")
        + packet(0x30, text(b"a"), b"\x004")
    )


def test_a_packet_is_one_write():
    world = World()
    world.greeting = packet(0x20, b"\x00\x00\x03\x22\x00\x01")
    world.client.connect()
    assert world.stream.writes == 1
    for i in range(3):
        world.client.publish("a/b", b"x" * 100, qos=i & 1, properties=b"\x01\x01")
        assert world.stream.writes == 2 + i
    world.stream.inbox = message(b"a", b"", 1, 1)
    world.client.poll()
    assert world.stream.writes == 5


def test_memory_is_fixed_at_the_start():
    world = World(rx=200, tx=200, outbox=300, inflight=3, aliases=2)
    world.client.connect()
    session = world.client.session
    buffers = (session.rx, session.sender.tx, session.sender.outbox.arena)
    sizes = [len(buffer) for buffer in buffers]
    for i in range(200):
        world.client.publish("topic/%d" % (i % 5), b"x" * (i % 90), qos=i & 1)
        world.stream.inbox = message(b"a/b", b"y" * (i % 180), 1, i + 1)
        world.client.poll()
        world.stream.stalled = i % 7 == 0
    assert [len(buffer) for buffer in buffers] == sizes == [200, 200, 300]
    assert len(world.client._topics) <= 2


def test_a_handler_may_disconnect():
    world = World()
    world.client.subscribe("a", lambda m: world.client.disconnect())
    world.client.connect()
    world.client.poll(10)
    world.stream.inbox = message(b"a", b"1") * 3
    world.client.poll(100)
    assert not world.client.connected and world.stream.closed


def test_arguments_that_are_wrong():
    world = World()
    raises(ValueError, world.client.subscribe, "a/#/b", None)
    raises(ValueError, world.client.subscribe, "a", None, 2)
    raises(ValueError, world.client.topic, "a/+")
    raises(ValueError, world.client.publish, "", b"x")
    raises(ValueError, world.client.publish, "a", b"x", 2)
    raises(ValueError, world.client.publish, "a", b"x" * 5000, 1)
    raises(ValueError, world.client.unsubscribe, "a")
