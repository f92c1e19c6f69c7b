"""`umqtt5.simple` and `umqtt5.robust`: the API of umqtt.simple and umqtt.robust."""

from errno import ENOTCONN, ETIMEDOUT

from answering_broker import BrokerSimulation

from helper import make_packet, publish_packet, raises, utf8_string
from umqtt5 import robust, simple
from umqtt5.simple import MQTTException

EXPIRY_0 = b"\x11\x00\x00\x00\x00"
EXPIRY_NEVER = b"\x11\xff\xff\xff\xff"


def made(kind, sim, *arguments, **options):
    """Return an `MQTTClient` connected to the simulated broker."""
    mqtt = kind(*(arguments or ("umqtt_client", "localhost")), **options)
    mqtt.umqtt5_options = {"transport": sim.connect}
    mqtt.delay = lambda i: sim.sleep(2000)
    return mqtt


def connected(kind=simple.MQTTClient, **options):
    sim = BrokerSimulation()
    mqtt = made(kind, sim, **options)
    heard = []
    mqtt.set_callback(lambda topic, msg: heard.append((topic, msg)))
    mqtt.connect()
    return sim, mqtt, heard


def test_publish_and_disconnect_send_their_packets():
    sim, mqtt, _ = connected()
    mqtt.publish(b"foo_topic", b"hello")
    mqtt.disconnect()
    assert sim.received_bodies(0x30) == [
        utf8_string(b"foo_topic") + b"\x03\x23\x00\x01hello"
    ] or sim.received_bodies(0x30) == [utf8_string(b"foo_topic") + b"\x00hello"]
    assert sim.packets[-1][0] == 0xE0 and sim.stream.closed


def test_connect_carries_the_arguments_of_the_constructor():
    sim = BrokerSimulation()
    mqtt = made(simple.MQTTClient, sim, b"id", "localhost", user="u", password="p", keepalive=7)
    mqtt.set_last_will(b"w", b"bye", retain=True, qos=1)
    assert mqtt.connect() == 0
    body = sim.received_bodies(0x10)[0]
    assert body[7] == 0xEE and body[8:10] == b"\x00\x07" and EXPIRY_0 in body
    assert (
        body.endswith(utf8_string(b"w") + utf8_string(b"bye") + utf8_string(b"u") + utf8_string(b"p"))
        and utf8_string(b"id") in body
    )


def test_clean_session_sets_clean_start_and_session_expiry():
    sim = BrokerSimulation()
    mqtt = made(simple.MQTTClient, sim)
    mqtt.connect(clean_session=False)
    body = sim.received_bodies(0x10)[0]
    assert not body[7] & 2 and EXPIRY_NEVER in body


def test_a_resumed_session_is_reported_and_delivers_its_messages():
    sim = BrokerSimulation()
    sim.make_connack = lambda stream, properties: (
        b"\x20\x03\x01\x00\x00" + publish_packet(b"old", b"1", 1, 5, b"\x0b\x07")
    )
    mqtt = made(simple.MQTTClient, sim)
    heard = []
    mqtt.set_callback(lambda topic, msg: heard.append((topic, msg)))
    assert repr(mqtt.connect(clean_session=False)) == "1"  # programs print it
    mqtt.wait_msg()
    assert heard == [(b"old", b"1")]
    assert sim.received_bodies(0x40) == [b"\x00\x05"]


def test_wait_msg_returns_once_for_each_message():
    sim, mqtt, heard = connected()
    mqtt.subscribe(b"foo_topic")
    sim.stream.inbox = (
        publish_packet(b"foo_topic", b"1")
        + publish_packet(b"foo_topic", b"2")
        + publish_packet(b"foo_topic", b"3")
    )
    for _ in range(3):
        assert mqtt.wait_msg() is not None
    assert heard == [(b"foo_topic", b"%d" % i) for i in (1, 2, 3)]
    assert mqtt.check_msg() is None


def test_check_msg_returns_at_once():
    sim, mqtt, heard = connected()
    before = sim.now
    assert mqtt.check_msg() is None and sim.now == before
    sim.stream.inbox = publish_packet(b"a", b"1")
    assert mqtt.check_msg() is not None and heard == [(b"a", b"1")]


def test_wait_msg_sends_pings():
    sim, mqtt, heard = connected(keepalive=10)
    slept = sim.sleep

    def later(ms):
        slept(ms)
        if sim.now > 60_000:
            sim.stream.inbox += publish_packet(b"a", b"1")

    sim.sleep = later
    mqtt.wait_msg()
    assert heard and sim.stream.written.count(b"\xc0\x00") >= 5


def test_publish_at_qos_1_waits_for_its_puback():
    sim, mqtt, _ = connected()
    mqtt.publish("a", "x", qos=1)
    assert not mqtt.umqtt5_link.client.session.outbox.count
    sim.replies[0x30] = lambda stream, first, body: make_packet(0x40, body[3:5], b"\x87")
    assert raises(MQTTException, lambda: mqtt.publish("a", "x", qos=1)).args[0] == 0x87


def test_publish_and_subscribe_have_deadlines():
    sim, mqtt, _ = connected()
    sim.replies[0x30] = lambda stream, first, body: b""
    sim.replies[0x80] = lambda stream, first, body: b""
    sim.replies[0xA0] = lambda stream, first, body: b""
    for call in (
        lambda: mqtt.publish("a", "x", qos=1),
        lambda: mqtt.subscribe(b"a"),
        lambda: mqtt.unsubscribe(b"a"),
    ):
        mqtt.connect(False)
        start = sim.now
        assert raises(OSError, call).errno == ETIMEDOUT
        assert 9000 <= sim.now - start <= 11_000
    mqtt.connect(False)
    sim.stream.is_stalled = True
    error = raises(OSError, lambda: [mqtt.publish("a", b"x" * 1000) for _ in range(10)])
    assert error.errno == ETIMEDOUT


def test_a_refused_subscription_raises_mqttexception():
    sim, mqtt, _ = connected()
    sim.replies[0x80] = lambda stream, first, body: make_packet(0x90, body[:2], b"\x00\x87")
    error = raises(MQTTException, lambda: mqtt.subscribe(b"secret"))
    assert error.args == (0x80,) and error.reason == 0x87
    raises(AssertionError, lambda: made(simple.MQTTClient, BrokerSimulation()).subscribe(b"a"))


def test_a_refused_connection_raises_mqttexception():
    sim = BrokerSimulation()
    for reason, code in ((0x84, 1), (0x85, 2), (0x88, 3), (0x86, 4), (0x87, 5), (0x8A, 0x8A)):
        sim.make_connack = lambda stream, properties: b"\x20\x03\x00" + bytes((reason,)) + b"\x00"  # noqa: B023
        mqtt = made(simple.MQTTClient, sim)
        error = raises(MQTTException, mqtt.connect)
        assert error.args == (code,) and error.reason == reason and str(error) == str(code)
        raises(OSError, mqtt.check_msg)
    assert repr(error) == "MQTTException(138): Banned (0x8A)"  # tracebacks of MicroPython print it


def test_without_a_connection_calls_raise_oserror():
    mqtt = made(simple.MQTTClient, BrokerSimulation())
    for call in (mqtt.check_msg, mqtt.wait_msg, mqtt.ping, lambda: mqtt.publish("a", "x")):
        assert raises(OSError, call).errno == ENOTCONN


def test_a_lost_connection_raises_oserror_and_connect_restores_subscriptions():
    sim, mqtt, heard = connected()
    mqtt.subscribe(b"a")
    sim.stream.closed_by_broker = True
    raises(OSError, mqtt.wait_msg)
    raises(OSError, lambda: mqtt.publish("a", "x"))
    streams = len(sim.streams)
    assert mqtt.umqtt5_link.client._link == 0 and streams == 1  # no reconnect without a call
    mqtt.connect(False)
    mqtt.publish(b"a", b"again")
    mqtt.wait_msg()  # the client has subscribed again
    assert heard == [(b"a", b"again")]


def test_an_exception_in_the_callback_is_raised_by_wait_msg():
    sim, mqtt, _ = connected()

    def callback(topic, msg):
        raise KeyError("mine")

    mqtt.set_callback(callback)
    sim.stream.inbox = publish_packet(b"a", b"1")
    raises(KeyError, mqtt.wait_msg)
    mqtt.publish("a", "x")  # the connection still works


def test_the_callback_may_publish_and_subscribe():
    sim, mqtt, _ = connected()

    def callback(topic, msg):
        mqtt.publish(b"answer", msg, qos=1)
        mqtt.subscribe(b"more")

    mqtt.set_callback(callback)
    sim.stream.inbox = publish_packet(b"a", b"1")
    mqtt.wait_msg()
    mqtt.check_msg()
    assert any(
        body.startswith(utf8_string(b"answer")) for body in sim.received_bodies(0x30)
    ) and sim.received_bodies(0x80)


def test_ping_sends_pingreq_and_wait_msg_returns_none_at_the_answer():
    sim, mqtt, heard = connected()
    mqtt.ping()
    assert sim.stream.written.endswith(b"\xc0\x00")
    assert mqtt.wait_msg() is None and heard == []
    mqtt.ping()
    assert mqtt.check_msg() is None
    sim.stream.inbox = publish_packet(b"a", b"1")
    assert mqtt.wait_msg() == 0x30  # the answer to `ping` was handled


# ---- robust


def test_robust_reconnects_automatically():
    sim, mqtt, heard = connected(robust.MQTTClient)
    mqtt.subscribe(b"a")
    sim.stream.closed_by_broker = True
    mqtt.publish(b"a", b"1")
    mqtt.publish(b"a", b"2")
    mqtt.wait_msg()
    mqtt.wait_msg()
    assert heard == [(b"a", b"1"), (b"a", b"2")] and len(sim.streams) == 2


def test_robust_sends_a_message_that_is_published_after_the_connection_was_lost():
    sim, mqtt, heard = connected(robust.MQTTClient)
    mqtt.subscribe(b"a")
    mqtt.publish(b"a", b"1", qos=1)
    sim.stream.closed_by_broker = True
    while mqtt.umqtt5_link.client.poll(0):
        pass  # the client notices that the connection is lost
    mqtt.publish(b"a", b"2", qos=1)
    mqtt.wait_msg()
    assert (b"a", b"2") in heard


def test_robust_retries_after_each_delay_until_it_connects():
    sim, mqtt, _ = connected(robust.MQTTClient)
    sim.now = 5000
    sim.stream.closed_by_broker = True
    sim.broker_listens = False
    sleep = sim.sleep

    def comes_back(ms):
        sleep(ms)
        sim.broker_listens = sim.now > 9000

    sim.sleep = comes_back
    assert mqtt.check_msg() is None
    assert len(sim.streams) == 2 and sim.now >= 9000
    assert [b - a for a, b in zip(sim.connect_times[1:], sim.connect_times[2:])] == [2000] * 3


def test_robust_waits_if_the_broker_closes_the_connection_repeatedly():
    sim, mqtt, _ = connected(robust.MQTTClient)
    waits = []
    mqtt.delay = waits.append
    sim.now += 5000
    sim.stream.closed_by_broker = True
    mqtt.check_msg()
    assert waits == []  # the connection was stable
    for _ in range(3):
        sim.stream.closed_by_broker = True
        mqtt.check_msg()
    assert len(waits) == 3 and len(sim.streams) == 5


def test_robust_publishes_an_unacknowledged_message_once():
    sim, mqtt, _ = connected(robust.MQTTClient)
    answered = []

    def on_publish(stream, first, body):
        if len(sim.streams) == 1:
            stream.closed_by_broker = True
            return b""
        answered.append(body)
        return make_packet(0x40, body[3:5])

    sim.replies[0x30] = on_publish
    mqtt.publish(b"a", b"x", qos=1)
    assert len(answered) == 1


def test_a_subclass_may_override_connect():
    class Mine(robust.MQTTClient):
        def connect(self, clean_session=True):
            self.set_last_will(b"lwt", b"off", retain=True)
            try:
                return super().connect(clean_session)
            finally:
                self.publish(b"lwt", b"on", retain=True)

    sim = BrokerSimulation()
    mqtt = made(Mine, sim)
    mqtt.connect()
    sim.stream.closed_by_broker = True
    mqtt.check_msg()
    assert len(sim.streams) == 2
    assert len([body for body in sim.received_bodies(0x30) if body.endswith(b"on")]) == 2


# ---- a connection that the broker has closed


def closed_without_notice(stream):
    """Let the broker close its end; the network still accepts what the client writes."""
    stream.inbox = b""
    stream.readinto = lambda buf, n: 0


def test_a_publish_at_qos_0_raises_the_error_that_happens_inside_it():
    for close in (closed_without_notice, lambda stream: setattr(stream, "closed_by_broker", True)):
        sim, mqtt, _ = connected()
        close(sim.stream)
        raises(OSError, lambda: mqtt.publish(b"a", b"1"))  # noqa: B023
        mqtt.connect()
        mqtt.publish(b"a", b"2")


def test_robust_loses_no_message_of_qos_0_when_the_broker_restarts():
    sim, mqtt, heard = connected(robust.MQTTClient)
    mqtt.subscribe(b"a")
    for i in range(9):
        if i % 2:
            closed_without_notice(sim.stream)
        mqtt.publish(b"a", b"%d" % i)
        assert mqtt.wait_msg() == 0x30
    assert [int(msg) for _, msg in heard] == list(range(9))


def test_robust_loses_nothing_while_an_unread_message_hides_the_end_of_the_connection():
    sim, mqtt, heard = connected(robust.MQTTClient)
    mqtt.delay = sim.sleep
    mqtt.subscribe(b"a")
    sim.stream.inbox = publish_packet(b"a", b"unread")
    mqtt.publish(b"b", b"1")  # the first bytes of the message are read
    assert heard == []
    # the network has accepted the next message, and poll then reports POLLERR and POLLHUP
    mqtt.umqtt5_link.client._poller.ipoll = lambda ms: [(None, 0x19)]
    mqtt.publish(b"a", b"2")
    assert len(sim.streams) == 2
    mqtt.umqtt5_link.client._poller.ipoll = lambda ms: []
    mqtt.wait_msg()
    assert heard == [(b"a", b"2")]


def test_a_publish_at_qos_0_calls_no_callback():
    sim, mqtt, heard = connected()
    for i in range(3):
        sim.stream.inbox += publish_packet(b"a", b"%d" % i)
    for _ in range(5):
        mqtt.publish(b"b", b"x")
    assert heard == []
    for _ in range(3):
        mqtt.wait_msg()
    assert [msg for _, msg in heard] == [b"0", b"1", b"2"]


def test_a_program_that_was_away_does_not_lose_a_link_whose_answer_waits_in_the_socket():
    sim, mqtt, heard = connected(keepalive=10)
    sim.now += 9_000
    readinto = sim.stream.readinto
    sim.stream.readinto = lambda buf, n: None  # the answer is still on its way
    mqtt.check_msg()  # sends PINGREQ
    assert sim.stream.written.endswith(b"\xc0\0") and sim.stream.inbox == b"\xd0\0"
    sim.stream.inbox = publish_packet(b"a", b"1") * 20 + sim.stream.inbox
    sim.stream.readinto = readinto
    sim.now += 60_000
    for _ in range(20):
        assert mqtt.check_msg() == 0x30
    mqtt.check_msg()
    assert len(heard) == 20 and len(sim.streams) == 1


def test_a_silent_broker_is_noticed():
    sim, mqtt, _ = connected(keepalive=10)
    sim.stream.write = lambda buf, at, n: n
    raises(OSError, mqtt.wait_msg)
    assert sim.now < 30_000
    sim, mqtt, _ = connected(keepalive=0)
    sim.stream.write = lambda buf, at, n: n
    mqtt.ping()
    raises(OSError, mqtt.wait_msg)
    assert sim.now < 30_000


# ---- the callback


def test_one_wait_msg_calls_the_callback_once():
    sim, mqtt, heard = connected()
    sim.stream.inbox = b"".join(publish_packet(b"a", b"%d" % i, i % 2, i) for i in range(1, 6))
    for i in range(1, 6):
        assert mqtt.check_msg() == (0x32 if i % 2 else 0x30)
        assert len(heard) == i and len(sim.received_bodies(0x40)) == (i + 1) // 2


def test_wait_msg_returns_the_first_byte_of_the_packet():
    sim, mqtt, _ = connected()
    for flags in (0, 1, 2, 3, 10):
        sim.stream.inbox = publish_packet(b"a", b"1", flags >> 1 & 3, 5, flags=flags & 9)
        assert mqtt.wait_msg() == 0x30 | flags


def test_a_message_is_acknowledged_after_the_callback():
    for qos in (1, 2):
        sim, mqtt, _ = connected()
        seen = []
        mqtt.set_callback(lambda topic, msg: seen.append(len(sim.packets)))  # noqa: B023
        sim.stream.inbox = publish_packet(b"a", b"1", qos, 7)
        before = len(sim.packets)
        assert mqtt.wait_msg() is not None
        assert seen == [before] and sim.packets[before:] == [(0x30 + 0x10 * qos, b"\x00\x07")]
        sim.stream.inbox = publish_packet(b"a", b"1", qos, 7, flags=8) + publish_packet(b"a", b"2")
        mqtt.wait_msg()
        assert len(seen) == (2 if qos == 1 else 1)  # QoS 2: not delivered again


def test_a_message_whose_callback_raises_is_refused():
    sim, mqtt, _ = connected()

    def callback(topic, msg):
        raise KeyError("mine")

    mqtt.set_callback(callback)
    sim.stream.inbox = publish_packet(b"a", b"1", 1, 7)
    raises(KeyError, mqtt.wait_msg)
    assert sim.packets[-1] == (0x40, b"\x00\x07\x80")
    assert mqtt.check_msg() is None


def test_a_message_without_a_callback_raises():
    sim, mqtt, _ = connected()
    mqtt.set_callback(None)
    sim.stream.inbox = publish_packet(b"a", b"1")
    raises(TypeError, mqtt.wait_msg)


def test_the_callback_may_wait_for_a_message():
    sim, mqtt, _ = connected()
    heard = []

    def callback(topic, msg):
        if topic == b"question":
            heard.append((mqtt.wait_msg(), mqtt.check_msg()))
        heard.append(msg)

    mqtt.set_callback(callback)
    sim.stream.inbox = publish_packet(b"question", b"1", 1, 7) + publish_packet(b"answer", b"2", 1, 8)
    assert mqtt.wait_msg() == 0x32
    assert heard == [b"2", (0x32, None), b"1"]
    assert sim.received_bodies(0x40) == [b"\x00\x08", b"\x00\x07"]


def test_the_callback_may_disconnect_and_connect():
    for kind in (simple.MQTTClient, robust.MQTTClient):
        for clean in (True, False):
            sim, mqtt, _ = connected(kind)
            heard = []

            def callback(topic, msg):
                mqtt.disconnect()  # noqa: B023
                mqtt.connect(clean)  # noqa: B023
                mqtt.publish(b"a", b"again", qos=1)  # noqa: B023
                heard.append(msg)  # noqa: B023

            mqtt.set_callback(callback)
            sim.stream.inbox = publish_packet(b"a", b"restart", 1, 7)
            assert mqtt.wait_msg() == 0x32 and heard == [b"restart"] and len(sim.streams) == 2
            # the message is acknowledged before DISCONNECT, and not in the new connection
            kinds = [first for first, _ in sim.packets]
            assert kinds == [0x10, 0x40, 0xE0, 0x10, 0x32]
            mqtt.publish(b"b", b"x")


def test_robust_reconnects_inside_the_callback():
    sim, mqtt, _ = connected(robust.MQTTClient)
    heard = []

    def callback(topic, msg):
        closed_without_notice(sim.stream)
        mqtt.publish(b"answer", b"0")
        heard.append(msg)

    mqtt.set_callback(callback)
    sim.stream.inbox = publish_packet(b"a", b"1", 1, 7)
    assert mqtt.wait_msg() == 0x32
    assert len(sim.streams) == 2 and sim.streams[1].written.endswith(b"0") and heard == [b"1"]


# ---- messages and subscriptions


def test_topics_and_payloads_may_be_of_each_type():
    sim, mqtt, _ = connected()
    values = (b"a/b", "a/b", bytearray(b"a/b"), memoryview(b"a/b"))
    for qos in (0, 1):
        for topic in values:
            for payload in values:
                mqtt.publish(topic, payload, False, qos)
    assert len(sim.received_bodies(0x30)) == 32
    assert all(body.endswith(b"a/b") for body in sim.received_bodies(0x30))
    for topic in values:
        mqtt.subscribe(topic)
        mqtt.unsubscribe(topic)
        mqtt.set_last_will(topic, topic)
        mqtt.connect()
    raises(TypeError, lambda: mqtt.publish(b"a", 5))
    raises(TypeError, lambda: mqtt.publish(b"a", None))


def test_unsubscribe_waits_for_unsuback():
    sim, mqtt, heard = connected()
    mqtt.subscribe(b"a")
    mqtt.unsubscribe(b"a")
    assert len(sim.received_bodies(0xA0)) == 1 and not sim.subscription_ids
    mqtt.unsubscribe(b"never")  # a session may have it from an earlier program
    assert sim.received_bodies(0xA0)[1].endswith(utf8_string(b"never"))
    assert len(sim.received_bodies(0x80)) == 1 and not sim.stream.inbox
    for _ in range(20):
        mqtt.subscribe(b"again")
        mqtt.unsubscribe(b"again")
    mqtt.subscribe(b"a")
    mqtt.publish(b"a", b"1")
    mqtt.wait_msg()
    assert heard == [(b"a", b"1")] and mqtt.pid == 44


def test_pid_counts_the_packets_with_a_packet_identifier():
    sim, mqtt, _ = connected()
    assert mqtt.pid == 0
    mqtt.publish("a", "x")
    assert mqtt.pid == 0
    mqtt.publish("a", "x", qos=1)
    mqtt.subscribe("a")
    assert mqtt.pid == 2


def test_log_prints_the_errors_of_robust_if_debug_is_set():
    sim, mqtt, _ = connected(robust.MQTTClient)
    lines = []
    mqtt.log = lambda in_reconnect, e: lines.append((in_reconnect, isinstance(e, OSError)))
    sim.stream.closed_by_broker = True
    sim.broker_listens = False
    slept = []

    def delay(i):
        slept.append(i)
        sim.broker_listens = len(slept) == 4

    mqtt.delay = delay
    mqtt.publish(b"a", b"x")
    assert slept == [0, 1, 2, 3] and lines == [(False, True)] + 3 * [(True, True)]


def test_robust_publishes_again_if_the_program_connects_with_a_clean_session():
    class Clean(robust.MQTTClient):
        def connect(self, clean_session=True):
            return super().connect(True)

    sim = BrokerSimulation()
    mqtt = made(Clean, sim)
    mqtt.connect()
    count = []

    def on_publish(stream, first, body):
        count.append(body)
        if len(count) == 1:
            stream.closed_by_broker = True
            return b""
        return make_packet(0x40, body[3:5])

    sim.replies[0x30] = on_publish
    mqtt.publish(b"a", b"x", qos=1)
    assert len(count) == 2
