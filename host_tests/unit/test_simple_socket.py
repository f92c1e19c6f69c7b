"""`sock` of `umqtt5.simple`: the ways in which programs use the socket of umqtt.simple."""

from errno import ETIMEDOUT

from answering_broker import BrokerSimulation

from helper import publish_packet, raises
from umqtt5 import robust, simple


def connected(kind=simple.MQTTClient, **options):
    sim = BrokerSimulation()
    mqtt = kind("umqtt_client", "localhost", **options)
    mqtt.umqtt5_options = {"transport": sim.connect}
    heard = []
    mqtt.set_callback(lambda topic, msg: heard.append(msg))
    mqtt.connect()
    return sim, mqtt, heard


def is_alive(sim, mqtt, heard):
    """Return whether the first connection still delivers messages."""
    mqtt.subscribe(b"alive")
    mqtt.publish(b"alive", b"yes")
    mqtt.wait_msg()
    return len(sim.streams) == 1 and heard[-1:] == [b"yes"]


def test_sock_is_an_object_from_the_first_connect_on():
    mqtt = simple.MQTTClient("c", "h")
    assert mqtt.sock is None
    sim, mqtt, _ = connected()
    sock = mqtt.sock
    assert sock and mqtt.sock is sock
    mqtt.disconnect()
    assert mqtt.sock is sock


def test_settimeout_limits_wait_msg_until_a_packet_arrives():
    sim, mqtt, heard = connected()
    mqtt.sock.settimeout(3)
    for _ in range(2):
        start = sim.now
        assert raises(OSError, mqtt.wait_msg).args[0] == ETIMEDOUT
        assert 2990 <= sim.now - start <= 3010
    assert is_alive(sim, mqtt, heard) and mqtt.umqtt5_link.timeout is None
    for value in (0.25, 1):
        mqtt.sock.settimeout(value)
        start = sim.now
        raises(OSError, mqtt.wait_msg)
        assert value * 1000 - 10 <= sim.now - start <= value * 1000 + 10


def test_the_timeout_of_connect_holds_for_wait_msg_as_in_umqtt_simple():
    sim, mqtt, _ = connected()
    mqtt.connect(timeout=2)
    start = sim.now
    raises(OSError, mqtt.wait_msg)
    assert 1990 <= sim.now - start <= 2010


def test_in_a_non_blocking_socket_wait_msg_returns_at_once():
    sim, mqtt, heard = connected()
    for set_non_blocking in (lambda: mqtt.sock.setblocking(False), lambda: mqtt.sock.settimeout(0)):
        before = sim.now
        set_non_blocking()
        assert mqtt.wait_msg() is None and sim.now == before
    mqtt.sock.setblocking(False)
    assert is_alive(sim, mqtt, heard)


def test_setblocking_and_settimeout_do_not_block_other_calls():
    sim, mqtt, heard = connected()
    for change in (
        lambda s: s.setblocking(True),
        lambda s: s.settimeout(None),
        lambda s: s.setblocking(False),
    ):
        change(mqtt.sock)
        mqtt.publish(b"a", b"1")
        change(mqtt.sock)
        mqtt.publish(b"a", b"1", qos=1)
        change(mqtt.sock)
        assert mqtt.check_msg() is None
        change(mqtt.sock)
        mqtt.ping()
    mqtt.sock.setblocking(True)
    for _ in range(3):
        mqtt.check_msg()  # the answers to `ping`
    assert is_alive(sim, mqtt, heard)


def test_sock_can_be_set_to_none_and_closed():
    for close in (lambda m: setattr(m, "sock", None), lambda m: m.sock.close()):
        sim, mqtt, heard = connected()
        close(mqtt)
        assert sim.stream.closed and not sim.received_bodies(0xE0)
        for call in (mqtt.wait_msg, mqtt.check_msg, mqtt.ping, lambda: mqtt.publish(b"a", b"1")):  # noqa: B023
            raises(OSError, call)
        mqtt.disconnect()
        mqtt.connect()
        mqtt.subscribe(b"a")
        mqtt.publish(b"a", b"1")
        mqtt.wait_msg()
        assert heard == [b"1"]
    mqtt.sock = None
    assert mqtt.sock is None
    mqtt.sock = None
    raises(TypeError, lambda: setattr(mqtt, "sock", object()))


def test_robust_reconnects_after_the_program_has_closed_the_socket():
    for close in (lambda m: setattr(m, "sock", None), lambda m: m.sock.close()):
        sim, mqtt, heard = connected(robust.MQTTClient)
        mqtt.delay = sim.sleep
        mqtt.subscribe(b"a")
        close(mqtt)
        mqtt.publish(b"a", b"1")
        mqtt.wait_msg()
        assert heard == [b"1"] and len(sim.streams) == 2


def test_a_ping_or_disconnect_can_be_written_to_the_socket():
    sim, mqtt, heard = connected()
    assert mqtt.sock.write(b"\xc0\0") == 2 and sim.stream.written.endswith(b"\xc0\0")
    assert mqtt.wait_msg() is None and mqtt.sock.send(bytearray(b"\xc0\0")) == 2
    assert mqtt.check_msg() is None and is_alive(sim, mqtt, heard)
    mqtt.sock.write(b"\xe0\0")
    assert sim.packets[-1][0] == 0xE0
    raises(OSError, mqtt.check_msg)


def test_packets_of_mqtt_3_are_not_written():
    sim, mqtt, heard = connected()
    before = sim.stream.written
    for packet in (b"\xa2\x07\0\x01\0\x03abc", b"0", b"", b"\xc0"):
        raises(ValueError, lambda: mqtt.sock.write(packet))  # noqa: B023
    assert sim.stream.written == before and is_alive(sim, mqtt, heard)


def test_reading_the_socket_takes_no_bytes_from_the_client():
    sim, mqtt, heard = connected()
    sim.stream.inbox = publish_packet(b"a", b"1")
    mqtt.sock.setblocking(False)
    assert (
        mqtt.sock.read(1) is None and mqtt.sock.recv(1) is None and mqtt.sock.readinto(bytearray(4)) is None
    )
    mqtt.sock.setblocking(True)
    raises(OSError, lambda: mqtt.sock.read(1))
    assert mqtt.wait_msg() == 0x30 and heard == [b"1"] and is_alive(sim, mqtt, heard)
    mqtt.disconnect()
    raises(OSError, lambda: mqtt.sock.read(1))


def test_other_attributes_are_those_of_the_stream():
    sim, mqtt, _ = connected()
    assert mqtt.sock.writes == sim.stream.writes
    raises(AttributeError, lambda: mqtt.sock.missing)
    assert not hasattr(mqtt.sock, "fileno")  # the simulated stream has none


def test_no_byte_behind_the_handled_packet_is_read():
    sim, mqtt, heard = connected()
    packets = [publish_packet(b"a", b"x" * n) for n in (0, 1, 120, 121, 122, 123, 124, 500, 1900)]
    sim.stream.inbox = b"".join(packets)
    for i in range(len(packets)):
        assert mqtt.wait_msg() == 0x30 and len(heard) == i + 1
        assert sim.stream.inbox == b"".join(packets[i + 1 :])  # `select.poll` sees the next message


def test_poll_reports_a_message_whose_first_bytes_were_read():
    sim, mqtt, heard = connected()
    if not hasattr(mqtt.sock, "ioctl"):
        return
    sim.stream.inbox = publish_packet(b"a", b"1")
    mqtt.publish(b"b", b"2")  # reads the first two bytes
    assert mqtt.sock.ioctl(3, 1) & 1
    assert mqtt.check_msg() == 0x30 and heard == [b"1"]
    mqtt.disconnect()
    assert mqtt.sock.ioctl(3, 1) == 0x11 and mqtt.sock.ioctl(10, 0) == -1


def test_a_call_that_interrupts_a_round_raises_an_error_or_returns():
    sim, mqtt, heard = connected()
    readinto = sim.stream.readinto
    errors = []

    def interrupted(buf, n):
        for call in (mqtt.wait_msg, mqtt.check_msg):
            errors.append(raises(RuntimeError, call))
        return readinto(buf, n)

    sim.stream.readinto = interrupted
    mqtt.check_msg()
    sim.stream.readinto = readinto
    assert errors and is_alive(sim, mqtt, heard)
