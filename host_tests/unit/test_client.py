from simulation import World

from helper import message, packet, raises, text
from umqtt5.core.errors import MQTTError


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


def test_subscription_options_on_the_wire():
    world = World()
    world.client.connect()

    @world.client.on("a", qos=1, no_local=True, retain_as_published=True, retain_handling=2)
    def handle(message):
        pass

    world.client.poll()
    assert world.stream.written.endswith(text(b"a") + b"\x2d")


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
    buffers = (session.framer.rx, session.tx, session.outbox.arena)
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


def test_a_filter_that_does_not_fit_is_told_at_once():
    world = World(tx=64)
    raises(ValueError, world.client.subscribe, "x" * 60, None)
    world.client.connect()
    world.client.poll(100)
    assert world.client.connected


def test_a_link_that_is_never_silent_is_pinged_all_the_same():  # [MQTT-3.1.2-20]
    world = World(keep_alive=5)
    world.client.connect()
    for _ in range(1000):
        world.stream.inbox += message(b"a", b"x")
        world.client.poll()
        world.now += 10
    assert len(world.streams) == 1
    assert 2 <= world.stream.written.count(b"\xc0\x00") <= 3  # in ten seconds


def test_poll_and_connect_in_a_handler_do_nothing():
    world = World()
    seen = []

    def handle(message):
        before = message.payload
        assert world.client.poll(50) is True
        assert world.client.connect() is False
        seen.append((before, message.payload))

    world.client.subscribe("a", handle, qos=1)
    world.client.connect()
    world.client.poll(10)
    world.stream.inbox = message(b"a", b"1", 1, 11) + message(b"a", b"2", 1, 12)
    world.client.poll(10)
    assert seen == [(b"1", b"1"), (b"2", b"2")]
    assert world.stream.written.endswith(b"\x40\x02\x00\x0b\x40\x02\x00\x0c")


def test_a_handler_that_begins_anew_acknowledges_nothing_on_the_new_link():
    world = World()

    def handle(message):
        world.client.disconnect()
        world.client.connect(wait=False)

    world.client.subscribe("a", handle, qos=1)
    world.client.connect()
    world.stream.inbox = message(b"a", b"1", 1, 77)
    world.client.poll(2000)
    assert len(world.streams) == 2
    assert not any(b"\x40\x02\x00\x4d" in stream.written for stream in world.streams)


def test_what_arrives_after_a_malformed_packet_is_thrown_away():
    world = World(rx=100)
    world.client.connect()
    world.stream.stalled = True
    world.stream.inbox = b"\x30\x04\x00\x01#\x00" + b"x" * 5000
    world.client.poll(100)
    assert len(world.client.session.framer.rx) == 100
    world.stream.stalled = False
    world.client.poll(100)
    assert world.streams[0].written.endswith(b"\xe0\x01\x90")
    assert world.streams[0].closed


def test_a_payload_of_the_wrong_type_changes_nothing():
    world = World()
    world.client.connect()
    before = world.stream.written
    for payload in (21.5, [1], None):
        for qos in (0, 1):
            raises(TypeError, world.client.publish, "a", payload, qos)
            raises(TypeError, world.client.publish, "a", b"", qos, False, "properties")
    world.client.poll(100)
    assert world.stream.written == before


def test_properties_of_a_message_that_failed_do_not_stick():
    world = World()
    world.client.connect()
    for payload, qos in ((b"x" * 5000, 0), (b"x" * 5000, 1)):
        try:
            world.client.publish("a", payload, qos, False, b"\x01\x01")
        except ValueError:
            pass
    world.client.publish("a", b"1")
    assert world.stream.written.endswith(packet(0x30, text(b"a"), b"\x001"))


def test_a_transport_that_fails_in_its_own_way_is_told():
    world = World()

    def broken(host, port):
        raise UnicodeError("host name")

    world.client._transport = broken
    raises(UnicodeError, world.client.connect)
    raises(UnicodeError, world.client.connect)
    world.client.disconnect()
    assert not world.client.connected


def test_connected_is_told_before_the_first_message():
    world = World()
    told = []
    world.client.on_state = lambda client, connected, error: told.append(connected)
    world.client.subscribe("a", lambda m: told.append(m.payload))
    world.greeting = b"\x20\x03\x00\x00\x00" + message(b"a", b"1") + packet(0xE0, b"\x8b")
    world.client.connect(wait=False)
    world.client.poll(1)
    assert told == [True, b"1", False] and world.client.connects == 1


def test_callbacks_of_the_link_that_raise_break_nothing():
    world = World()
    errors = []

    def broken(client, connected, error):
        raise OSError(28)

    world.client.on_state = broken
    world.client.on_error = errors.append
    world.client.connect()
    assert world.client.connected and len(errors) == 1


def test_connecting_by_hand_does_not_wait_for_the_back_off():
    world = World()
    world.there = False
    world.client.connect(wait=False)
    world.client.poll(300_000)
    world.there = True
    start = world.now
    world.client.connect()
    assert world.now - start < 100


def test_arguments_that_are_wrong():
    world = World()
    raises(ValueError, world.client.subscribe, "a/#/b", None)
    raises(ValueError, world.client.subscribe, "a", None, 3)
    raises(ValueError, lambda: world.client.subscribe("$share/g/a", None, no_local=True))
    raises(ValueError, lambda: world.client.subscribe("a", None, retain_handling=3))
    raises(ValueError, world.client.topic, "a/+")
    raises(ValueError, world.client.publish, "", b"x")
    raises(ValueError, world.client.publish, "a", b"x", 3)
    raises(ValueError, world.client.publish, "a", b"x" * 5000, 1)
    raises(ValueError, world.client.unsubscribe, "a")
    raises(ValueError, world.client.will, "a", b"", 3)
    raises(ValueError, world.client.will, "#", b"")
