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
    mqtt.TRANSPORT = sim.connect
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
    assert mqtt.connect() is False
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
    assert mqtt.connect(clean_session=False) is True
    mqtt.wait_msg()
    assert heard == [(b"old", b"1")]
    mqtt.check_msg()
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
    assert not mqtt._client.session.outbox.count
    sim.replies[0x30] = lambda stream, first, body: make_packet(0x40, body[3:5], b"\x87")
    assert raises(MQTTException, lambda: mqtt.publish("a", "x", qos=1)).args[0] == 0x87


def test_publish_and_subscribe_have_deadlines():
    sim, mqtt, _ = connected()
    sim.replies[0x30] = lambda stream, first, body: b""
    sim.replies[0x80] = lambda stream, first, body: b""
    for call in (lambda: mqtt.publish("a", "x", qos=1), lambda: mqtt.subscribe(b"a")):
        mqtt.reconnect()
        start = sim.now
        assert raises(OSError, call).errno == ETIMEDOUT
        assert 9000 <= sim.now - start <= 11_000
    mqtt.reconnect()
    sim.stream.is_stalled = True
    error = raises(OSError, lambda: [mqtt.publish("a", b"x" * 1000) for _ in range(10)])
    assert error.errno == ETIMEDOUT


def test_a_refused_subscription_raises_mqttexception():
    sim, mqtt, _ = connected()
    sim.replies[0x80] = lambda stream, first, body: make_packet(0x90, body[:2], b"\x00\x87")
    assert raises(MQTTException, lambda: mqtt.subscribe(b"secret")).args[0] == 0x87
    raises(AssertionError, lambda: made(simple.MQTTClient, BrokerSimulation()).subscribe(b"a"))


def test_a_refused_connection_raises_mqttexception():
    sim = BrokerSimulation()
    sim.make_connack = lambda stream, properties: b"\x20\x03\x00\x86\x00"
    mqtt = made(simple.MQTTClient, sim)
    assert raises(MQTTException, mqtt.connect).args[0] == 0x86
    raises(OSError, mqtt.check_msg)


def test_without_a_connection_calls_raise_oserror():
    mqtt = made(simple.MQTTClient, BrokerSimulation())
    for call in (mqtt.check_msg, mqtt.wait_msg, mqtt.ping, lambda: mqtt.publish("a", "x")):
        assert raises(OSError, call).errno == ENOTCONN


def test_a_lost_connection_raises_oserror_and_reconnect_restores_subscriptions():
    sim, mqtt, heard = connected()
    mqtt.subscribe(b"a")
    sim.stream.closed_by_broker = True
    raises(OSError, mqtt.wait_msg)
    raises(OSError, lambda: mqtt.publish("a", "x"))
    streams = len(sim.streams)
    assert mqtt._client._link == 0 and streams == 1  # no reconnect without a call
    mqtt.reconnect()
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


def test_ping_sends_pingreq_and_sock_is_the_stream():
    sim, mqtt, _ = connected()
    mqtt.ping()
    assert sim.stream.written.endswith(b"\xc0\x00") and mqtt.sock is sim.stream
    mqtt.disconnect()
    assert mqtt.sock is None


# ---- robust


def test_robust_reconnects_automatically():
    sim, mqtt, heard = connected(robust.MQTTClient)
    mqtt.subscribe(b"a")
    sim.stream.closed_by_broker = True
    mqtt.publish(b"a", b"1")  # may be lost, as in umqtt.robust
    mqtt.publish(b"a", b"2")
    mqtt.wait_msg()
    assert (b"a", b"2") in heard and len(sim.streams) == 2


def test_robust_sends_a_message_that_is_published_after_the_connection_was_lost():
    sim, mqtt, heard = connected(robust.MQTTClient)
    mqtt.subscribe(b"a")
    mqtt.publish(b"a", b"1", qos=1)
    sim.stream.closed_by_broker = True
    mqtt._client.poll(0)  # the client notices that the connection is lost
    mqtt.publish(b"a", b"2", qos=1)
    for _ in range(2):
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
