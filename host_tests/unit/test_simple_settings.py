"""Settings of `umqtt5.simple`: arguments, attributes that a program changes, names that a subclass uses."""

from answering_broker import BrokerSimulation

from helper import raises, utf8_string
from umqtt5 import robust, simple


def made(kind, *arguments, **options):
    """Return a simulated broker and an `MQTTClient` for it."""
    sim = BrokerSimulation()
    hosts = sim.hosts = []

    def transport(host, port):
        hosts.append((host, port))
        return sim.connect(host, port)

    mqtt = kind(*(arguments or ("umqtt_client", "localhost")), **options)
    mqtt.umqtt5_options = {"transport": transport}
    mqtt.set_callback(lambda topic, msg: None)
    return sim, mqtt


def last_connect(sim):
    return sim.received_bodies(0x10)[-1]


def test_the_server_may_be_bytes():
    for server in (b"broker.local", bytearray(b"broker.local"), "broker.local"):
        sim, mqtt = made(simple.MQTTClient, "c", server)
        mqtt.connect()
        assert sim.hosts == [("broker.local", 1883)]


def test_attributes_that_change_take_effect_at_the_next_connect():
    for clean in (True, False):
        sim, mqtt = made(simple.MQTTClient, "c", "one", user="u", password="old", keepalive=5)
        mqtt.connect(clean)
        mqtt.server, mqtt.port, mqtt.client_id = b"two", 1884, b"other"
        mqtt.user, mqtt.pswd, mqtt.keepalive = b"v", b"new", 0x102
        mqtt.lw_topic, mqtt.lw_msg, mqtt.lw_qos, mqtt.lw_retain = b"will", b"gone", 1, True
        mqtt.connect(clean)
        assert sim.hosts == [("one", 1883), ("two", 1884)] and sim.streams[0].closed
        body = last_connect(sim)
        assert body[7] & 0xFC == 0xEC and body[8:10] == b"\x01\x02" and utf8_string(b"other") in body
        assert body.endswith(
            utf8_string(b"will") + utf8_string(b"gone") + utf8_string(b"v") + utf8_string(b"new")
        )
        mqtt.user = mqtt.lw_topic = None
        mqtt.connect(clean)
        assert last_connect(sim)[7] & 0xFC == 0


def test_a_falsy_user_means_no_user_and_no_password():
    for user in (None, "", b""):
        sim, mqtt = made(simple.MQTTClient, "c", "h", user=user, password="p")
        mqtt.connect()
        assert last_connect(sim)[7] & 0xC0 == 0
    for password, flags in ((None, 0x80), ("", 0xC0), (b"\xff", 0xC0)):
        sim, mqtt = made(simple.MQTTClient, "c", "h", user="u", password=password)
        mqtt.connect()
        assert last_connect(sim)[7] & 0xC0 == flags


def test_the_default_port_depends_on_tls():
    assert simple.MQTTClient("c", "h").port == 1883
    assert simple.MQTTClient("c", "h", ssl=True).port == 8883
    assert simple.MQTTClient("c", "h", 1234, ssl=True).port == 1234
    sim, mqtt = made(simple.MQTTClient, "c", "h", "1885")
    mqtt.connect()
    assert sim.hosts == [("h", 1885)]


def test_a_wrong_keepalive_raises_as_in_umqtt_simple():
    for keepalive in (65536, -1):
        _, mqtt = made(simple.MQTTClient, "c", "h", keepalive=keepalive)
        raises(AssertionError, mqtt.connect)
        mqtt.keepalive = 65535
        mqtt.connect()


def test_a_client_identifier_that_is_no_text_is_sent_in_hex():
    sim, mqtt = made(simple.MQTTClient, b"\xe6\x61\x00\xff", "h")
    mqtt.connect()
    assert utf8_string(b"e66100ff") in last_connect(sim)


def test_the_timeout_of_connect_is_in_seconds():
    sim, mqtt = made(simple.MQTTClient)
    sim.make_connack = lambda stream, properties: b""
    for timeout, ms in ((None, 10000), (3, 3000), (0.5, 500)):
        start = sim.now
        raises(OSError, lambda: mqtt.connect(True, timeout))  # noqa: B023
        assert ms - 20 <= sim.now - start <= ms + 200, sim.now - start


def test_options_of_the_client_can_be_set():
    sim, mqtt = made(simple.MQTTClient)
    mqtt.umqtt5_options.update(rx=512, timeout=700)
    mqtt.connect()
    assert b"\x27\x00\x00\x02\x00" in last_connect(sim)
    sim.replies[0x80] = lambda stream, first, body: b""
    start = sim.now
    raises(OSError, lambda: mqtt.subscribe(b"a"))
    assert 690 <= sim.now - start <= 800


def test_ssl_params_without_ssl_are_refused():
    sim, mqtt = made(simple.MQTTClient, "c", "h", ssl_params={"cadata": b"ca"})
    raises(ValueError, mqtt.connect)
    assert not sim.streams


def test_ssl_takes_effect_at_the_next_connect():
    for clean in (True, False):
        sim, mqtt = made(simple.MQTTClient)
        mqtt.connect(clean)
        mqtt.ssl = object()
        raises(TypeError, lambda: mqtt.connect(clean))  # noqa: B023  no SSLContext
        mqtt.ssl = None
        mqtt.connect(clean)


class Crowded(robust.MQTTClient):
    """A subclass with the names that programs use, and with those of our own attributes."""

    TIMEOUT = 0.1
    DELAY = 5
    DEBUG = True
    RX = TX = 4  # pins
    OUTBOX = TRANSPORT = timeout = None
    keepalive = host = 7
    client = stream = session = state = error = acks = loop = _error = _client = _timeout = _link = None
    _since = _unreturned = _packet_id = _arguments = _subscription = _reason = "mine"

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.is_connected = False
        self._message = self._sock = self._callback = None

    def _round(self):
        raise AssertionError

    send = require = drop = poll = stop = close = receive = on_message = _round
    _until = _wait = _on_ack = _on_state = _on_error = _on_message = _require_connected = _raise_error = (
        _round
    )


def test_names_in_a_subclass_do_not_collide_with_ours():
    sim, mqtt = made(Crowded)
    mqtt.connect()
    mqtt.subscribe(b"a")
    mqtt.publish(b"a", b"1", qos=1)
    assert mqtt.wait_msg() == 0x32
    mqtt.publish(b"a", b"2")
    assert mqtt.check_msg() == 0x30 and mqtt.check_msg() is None
    mqtt.unsubscribe(b"a")
    mqtt.ping()
    mqtt.disconnect()


def test_methods_of_umqtt_robust_in_a_subclass_of_simple_are_not_called():
    class Mine(simple.MQTTClient):
        def reconnect(self):
            raise AssertionError

        log = delay = disconnect = set_last_will = reconnect

    sim, mqtt = made(Mine)
    for clean in (True, True, False):
        mqtt.connect(clean)
    sim.stream.closed_by_broker = True
    raises(OSError, mqtt.wait_msg)


def test_the_only_names_that_umqtt_simple_does_not_have_begin_with_umqtt5():
    original = "client_id sock server port ssl ssl_params pid cb user pswd keepalive "
    original += "lw_topic lw_msg lw_qos lw_retain"
    mqtt = simple.MQTTClient("c", "h")
    for name in dir(mqtt):
        if not name.startswith("__") and not callable(getattr(mqtt, name)):
            assert name in original.split() or name.startswith("umqtt5_"), name
