"""`Client`: connect, poll, reconnect back-off, publish, callbacks and handlers, argument checks."""

from simulation import Simulation

from helper import make_packet, publish_packet, raises, utf8_string
from umqtt5.core.errors import MQTTError


def test_connect_waits_for_the_connack():
    sim = Simulation()
    assert sim.client.connect() is False
    assert sim.client.is_connected and sim.client.poll() is True
    assert sim.stream.written.startswith(b"\x10")


def test_connect_raises_the_error_and_does_not_retry():
    sim = Simulation()
    sim.connect_reply = make_packet(0x20, b"\x00\x86\x00")
    assert raises(MQTTError, sim.client.connect).code == 0x86
    sim.client.poll(100_000)
    assert len(sim.connect_times) == 1 and sim.stream.closed

    sim = Simulation()
    sim.broker_listens = False
    assert raises(OSError, sim.client.connect).args[0] == 111
    sim.client.poll(100_000)
    assert len(sim.connect_times) == 1


def test_connect_has_a_deadline():
    sim = Simulation(timeout=5000)
    sim.is_writable = False
    assert "no connection" in str(raises(OSError, sim.client.connect))
    assert sim.now <= 5100 and sim.stream.closed

    sim = Simulation(timeout=5000)
    sim.connect_reply = b""
    assert "no CONNACK" in str(raises(OSError, sim.client.connect))
    assert sim.now <= 5100


def test_poll_returns_after_the_given_time():
    sim = Simulation()
    sim.client.connect()
    for ms in (0, 1, 50, 10_000):
        start = sim.now
        sim.client.poll(ms)
        assert ms <= sim.now - start <= ms + 10


def test_a_broker_that_closes_at_once_is_retried_with_back_off():
    sim = Simulation()
    sim.connect_reply = b"\x20\x03\x00\x00\x00"
    sim.client.connect(wait=False)
    while sim.now < 60_000:
        sim.client.poll(10)
        if sim.streams:
            sim.stream.closed_by_broker = True
    assert 2 <= len(sim.connect_times) < 20
    first_minute = len(sim.connect_times)
    while sim.now < 660_000:
        sim.client.poll(10)
        sim.stream.closed_by_broker = True
    # afterwards about one attempt per 30 s
    assert 8 <= len(sim.connect_times) - first_minute <= 60


def test_the_back_off_is_reset_after_a_stable_connection():
    sim = Simulation()
    sim.broker_listens = False
    sim.client.connect(wait=False)
    sim.client.poll(300_000)
    sim.broker_listens = True
    sim.client.poll(120_000)
    assert sim.client.is_connected
    sim.stream.closed_by_broker = True
    lost = sim.now
    sim.client.poll(2000)
    assert sim.client.is_connected and sim.connect_times[-1] - lost <= 1100


def test_on_state_reports_each_change_with_its_error():
    sim = Simulation()
    told = []
    sim.client.on_state = lambda client, connected, error: told.append((connected, error))
    sim.client.connect()
    sim.stream.inbox = make_packet(0xE0, b"\x8b\x00")
    sim.client.poll(10)
    assert told[0] == (True, None)
    assert told[1][0] is False and told[1][1].code == 0x8B
    sim.client.poll(2000)
    assert told[2] == (True, None) and sim.client.connection_count == 2
    sim.client.disconnect()
    assert told[3] == (False, None) and sim.streams[-1].written.endswith(b"\xe0\x00")
    sim.client.poll(100_000)
    assert len(sim.connect_times) == 2


def test_a_malformed_packet_ends_in_disconnect_and_a_reconnect():
    sim = Simulation()
    sim.client.connect()
    sim.stream.inbox = b"\x30\x04\x00\x01#\x00"
    sim.client.poll(10)
    assert sim.streams[0].written.endswith(b"\xe0\x01\x90") and sim.streams[0].closed
    sim.client.poll(2000)
    assert sim.client.is_connected


def test_a_stalled_write_ends_the_connection():
    sim = Simulation(timeout=3000)
    sim.client.connect()
    sim.stream.is_stalled = True
    sim.client.publish("a", b"x")
    sim.client.poll(2900)
    assert sim.client.is_connected and len(sim.streams) == 1
    sim.client.poll(4000)
    assert len(sim.streams) == 2 and sim.streams[0].closed


def test_publishing_on_a_broken_connection_raises_nothing_and_keeps_qos_1_messages():
    sim = Simulation()
    sim.client.connect()
    sim.stream.closed_by_broker = True
    assert sim.client.publish("a", b"1", qos=1) == 1
    assert not sim.client.is_connected
    assert sim.client.publish("a", b"2", qos=1) == 2
    assert sim.client.publish("a", b"3") is False
    sim.client.poll(2000)
    assert sim.stream.written.endswith(
        make_packet(0x32, utf8_string(b"a"), b"\x00\x01\x001")
        + make_packet(0x32, utf8_string(b"a"), b"\x00\x02\x002")
    )


def test_publish_properties_apply_to_one_message():
    sim = Simulation()
    sim.client.connect()
    sim.client.publish("a", b"1", qos=1, properties=b"\x01\x01")
    sim.client.publish("a", b"2", qos=1)
    sim.client.publish("a", b"3", properties=b"\x01\x01")
    sim.client.publish("a", b"4")
    assert sim.stream.written.endswith(
        make_packet(0x32, utf8_string(b"a"), b"\x00\x01\x02\x01\x011")
        + make_packet(0x32, utf8_string(b"a"), b"\x00\x02\x002")
        + make_packet(0x30, utf8_string(b"a"), b"\x02\x01\x013")
        + make_packet(0x30, utf8_string(b"a"), b"\x004")
    )


def test_subscription_options_are_encoded_in_subscribe():
    sim = Simulation()
    sim.client.connect()

    @sim.client.on("a", qos=1, no_local=True, retain_as_published=True, retain_handling=2)
    def handle(message):
        pass

    sim.client.poll()
    assert sim.stream.written.endswith(utf8_string(b"a") + b"\x2d")


def test_each_packet_is_sent_with_one_write():
    sim = Simulation()
    sim.connect_reply = make_packet(0x20, b"\x00\x00\x03\x22\x00\x01")
    sim.client.connect()
    assert sim.stream.writes == 1
    for i in range(3):
        sim.client.publish("a/b", b"x" * 100, qos=i & 1, properties=b"\x01\x01")
        assert sim.stream.writes == 2 + i
    sim.stream.inbox = publish_packet(b"a", b"", 1, 1)
    sim.client.poll()
    assert sim.stream.writes == 5


def test_the_buffers_do_not_grow():
    sim = Simulation(rx=200, tx=200, outbox=300, inflight=3, aliases=2)
    sim.client.connect()
    session = sim.client.session
    buffers = (session.framer.rx, session.tx, session.outbox.arena)
    sizes = [len(buffer) for buffer in buffers]
    for i in range(200):
        sim.client.publish("topic/%d" % (i % 5), b"x" * (i % 90), qos=i & 1)
        sim.stream.inbox = publish_packet(b"a/b", b"y" * (i % 180), 1, i + 1)
        sim.client.poll()
        sim.stream.is_stalled = i % 7 == 0
    assert [len(buffer) for buffer in buffers] == sizes == [200, 200, 300]
    assert len(sim.client._topics) <= 2


def test_a_handler_may_disconnect():
    sim = Simulation()
    sim.client.subscribe("a", lambda m: sim.client.disconnect())
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox = publish_packet(b"a", b"1") * 3
    sim.client.poll(100)
    assert not sim.client.is_connected and sim.stream.closed


def test_a_filter_that_does_not_fit_the_tx_buffer_raises_value_error():
    sim = Simulation(tx=64)
    raises(ValueError, sim.client.subscribe, "x" * 60, None)
    sim.client.connect()
    sim.client.poll(100)
    assert sim.client.is_connected


def test_a_connection_that_only_receives_is_pinged():  # [MQTT-3.1.2-20]
    sim = Simulation(keep_alive=5)
    sim.client.connect()
    for _ in range(1000):
        sim.stream.inbox += publish_packet(b"a", b"x")
        sim.client.poll()
        sim.now += 10
    assert len(sim.streams) == 1
    assert 2 <= sim.stream.written.count(b"\xc0\x00") <= 3  # within ten seconds


def test_poll_and_connect_in_a_handler_do_nothing():
    sim = Simulation()
    seen = []

    def handle(message):
        before = message.payload
        assert sim.client.poll(50) is True
        assert sim.client.connect() is False
        seen.append((before, message.payload))

    sim.client.subscribe("a", handle, qos=1)
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox = publish_packet(b"a", b"1", 1, 11) + publish_packet(b"a", b"2", 1, 12)
    sim.client.poll(10)
    assert seen == [(b"1", b"1"), (b"2", b"2")]
    assert sim.stream.written.endswith(b"\x40\x02\x00\x0b\x40\x02\x00\x0c")


def test_a_handler_that_reconnects_acknowledges_its_message_on_the_old_connection():
    sim = Simulation()

    def handle(message):
        sim.client.disconnect()
        sim.client.connect(wait=False)

    sim.client.subscribe("a", handle, qos=1)
    sim.client.connect()
    sim.stream.inbox = publish_packet(b"a", b"1", 1, 77)
    sim.client.poll(2000)
    assert len(sim.streams) == 2
    assert sim.streams[0].written.endswith(b"\x40\x02\x00\x4d\xe0\x00")
    assert b"\x40\x02\x00\x4d" not in sim.streams[1].written


def test_data_after_a_malformed_packet_are_discarded():
    sim = Simulation(rx=100)
    sim.client.connect()
    sim.stream.is_stalled = True
    sim.stream.inbox = b"\x30\x04\x00\x01#\x00" + b"x" * 5000
    sim.client.poll(100)
    assert len(sim.client.session.framer.rx) == 100
    sim.stream.is_stalled = False
    sim.client.poll(100)
    assert sim.streams[0].written.endswith(b"\xe0\x01\x90")
    assert sim.streams[0].closed


def test_arguments_of_a_wrong_type_raise_type_error_and_send_nothing():
    sim = Simulation()
    sim.client.connect()
    before = sim.stream.written
    for payload in (21.5, [1], None):
        for qos in (0, 1):
            raises(TypeError, sim.client.publish, "a", payload, qos)
            raises(TypeError, sim.client.publish, "a", b"", qos, False, "properties")
    sim.client.poll(100)
    assert sim.stream.written == before


def test_properties_of_a_failed_publish_are_not_used_again():
    sim = Simulation()
    sim.client.connect()
    for payload, qos in ((b"x" * 5000, 0), (b"x" * 5000, 1)):
        try:
            sim.client.publish("a", payload, qos, False, b"\x01\x01")
        except ValueError:
            pass
    sim.client.publish("a", b"1")
    assert sim.stream.written.endswith(make_packet(0x30, utf8_string(b"a"), b"\x001"))


def test_connect_raises_the_exception_of_the_transport():
    sim = Simulation()

    def broken(host, port):
        raise UnicodeError("host name")

    sim.client._transport = broken
    raises(UnicodeError, sim.client.connect)
    raises(UnicodeError, sim.client.connect)
    sim.client.disconnect()
    assert not sim.client.is_connected


def test_on_state_is_called_before_the_first_message_is_handled():
    sim = Simulation()
    told = []
    sim.client.on_state = lambda client, connected, error: told.append(connected)
    sim.client.subscribe("a", lambda m: told.append(m.payload))
    sim.connect_reply = b"\x20\x03\x00\x00\x00" + publish_packet(b"a", b"1") + make_packet(0xE0, b"\x8b")
    sim.client.connect(wait=False)
    sim.client.poll(1)
    assert told == [True, b"1", False] and sim.client.connection_count == 1


def test_an_exception_in_on_state_is_reported():
    sim = Simulation()
    errors = []

    def broken(client, connected, error):
        raise OSError(28)

    sim.client.on_state = broken
    sim.client.on_error = errors.append
    sim.client.connect()
    assert sim.client.is_connected and len(errors) == 1


def test_connect_does_not_wait_for_the_back_off():
    sim = Simulation()
    sim.broker_listens = False
    sim.client.connect(wait=False)
    sim.client.poll(300_000)
    sim.broker_listens = True
    start = sim.now
    sim.client.connect()
    assert sim.now - start < 100


def test_invalid_arguments_raise_value_error():
    sim = Simulation()
    raises(ValueError, sim.client.subscribe, "a/#/b", None)
    raises(ValueError, sim.client.subscribe, "a", None, 3)
    raises(ValueError, lambda: sim.client.subscribe("$share/g/a", None, no_local=True))
    raises(ValueError, lambda: sim.client.subscribe("a", None, retain_handling=3))
    raises(ValueError, sim.client.topic, "a/+")
    raises(ValueError, sim.client.publish, "", b"x")
    raises(ValueError, sim.client.publish, "a", b"x", 3)
    raises(ValueError, sim.client.publish, "a", b"x" * 5000, 1)
    raises(ValueError, sim.client.unsubscribe, "a/#/b")
    raises(ValueError, sim.client.will, "a", b"", 3)
    raises(ValueError, sim.client.will, "#", b"")
