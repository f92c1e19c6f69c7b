"""Request/response: `client.request`, `client.responder` and `client.respond`, correlation data, timeouts."""

from errno import ENOTCONN, ETIMEDOUT

from answering_broker import BrokerSimulation, read_string

from helper import make_packet, publish_packet, raises, utf8_string
from umqtt5.core.errors import MQTTError
from umqtt5.properties import CORRELATION_DATA, MESSAGE_EXPIRY, RESPONSE_TOPIC, pack

REPLY = b"reply/c"


class Asked(BrokerSimulation):
    """A broker with a responder that answers every request at once if `answers` is set."""

    def __init__(self, **options):
        BrokerSimulation.__init__(self, **options)
        self.requests = []  # (response topic, correlation data)
        self.answers = True

    def on_publish(self, stream, first, body):
        _, at = read_string(body, 0)
        block = body[at + 1 : at + 1 + body[at]]
        found = block.find(b"\x08\x00")
        topic, behind = read_string(block, found + 1)
        key, _ = read_string(block, behind + 1)
        self.requests.append((topic, key))
        return self.reply(b"answer %d" % len(self.requests), key) if self.answers else b""

    def reply(self, payload, key, topic=REPLY):
        return publish_packet(topic, payload, properties=b"\x09" + utf8_string(key) + b"\x0b\x01")


def connected(**options):
    sim = Asked(**options)
    sim.client.connect()
    return sim


def test_a_request_returns_the_payload_of_its_response():
    sim = connected()
    assert sim.client.request("a", b"x", timeout=1000) == b"answer 1"
    assert sim.client.request("a", "é", timeout=1000) == b"answer 2"
    (topic, one), (_, other) = sim.requests
    assert topic == REPLY and one != other
    assert len(sim.received_bodies(0x80)) == 1  # one subscription
    assert b"\x02\x00\x00\x00\x01" in sim.received_bodies(0x30)[0]  # it expires after 1 s


def test_a_request_is_sent_after_the_response_topic_is_subscribed():
    sim = connected()
    suback = sim.on_subscribe

    def refuse(stream, first, body):
        return make_packet(0x90, body[:2], b"\x00\x87")

    sim.replies[0x80] = lambda stream, first, body: b""
    assert sim.client.request("a", b"x", on_response=print) is False
    sim.client.poll(10)
    assert sim.client.request("a", b"x", on_response=print) is False and not sim.received_bodies(0x30)
    sim.stream.inbox = suback(sim.stream, 0x82, sim.received_bodies(0x80)[0])
    sim.client.poll(10)
    assert sim.client.request("a", b"x", on_response=lambda m: None) is True

    sim = Asked()
    sim.replies[0x80] = refuse
    sim.client.connect()
    error = raises(MQTTError, sim.client.request, "a", b"x")
    assert error.code == 0x87 and "reply/c" in error.detail and not sim.received_bodies(0x30)


def test_a_request_without_a_response_times_out():
    sim = connected()
    sim.answers = False
    start = sim.now
    error = raises(OSError, lambda: sim.client.request("a", b"x", timeout=700))
    assert error.args[0] == ETIMEDOUT and 700 <= sim.now - start <= 710
    told = []
    assert sim.client.request("a", b"x", timeout=500, on_response=told.append)
    sim.client.poll(400)
    assert told == []
    sim.client.poll(200)
    assert told == [None]
    sim.client.poll(2000)
    assert told == [None]


def test_request_timeouts_hold_without_a_connection():
    sim = connected()
    told = []
    sim.answers = False
    raises(OSError, lambda: sim.client.request("a", b"x", timeout=100))
    assert sim.client.request("a", b"x", timeout=500, on_response=told.append)
    sim.broker_listens = False
    sim.stream.closed_by_broker = True
    start = sim.now
    error = raises(OSError, lambda: sim.client.request("a", b"x", timeout=700))
    assert error.args[0] == ETIMEDOUT and 700 <= sim.now - start <= 710
    assert told == [None]


def test_a_request_before_connect_raises_oserror():
    sim = Asked()
    assert raises(OSError, sim.client.request, "a", b"x").args[0] == ENOTCONN
    assert sim.client.request("a", b"x", on_response=print) is False


def test_several_requests_in_flight_get_their_own_responses():
    sim = connected(inflight=3)
    sim.answers = False
    raises(OSError, lambda: sim.client.request("a", b"x", timeout=10))
    got = []
    for i in range(3):
        assert sim.client.request("a", b"x", on_response=lambda m, i=i: got.append((i, m.payload)))
    assert sim.client.request("a", b"x", on_response=print) is False  # at most `inflight` requests
    keys = [key for _, key in sim.requests[1:]]
    sim.stream.inbox = b"".join([sim.reply(b"%d" % i, keys[i]) for i in (2, 0, 1)])
    sim.client.poll(10)
    assert got == [(2, b"2"), (0, b"0"), (1, b"1")]


def test_late_foreign_and_repeated_responses_are_dropped():
    sim = connected()
    sim.answers = False
    raises(OSError, lambda: sim.client.request("a", b"x", timeout=10))
    got = []
    sim.client.request("a", b"x", on_response=lambda m: got.append(m.payload))
    (_, late), (_, mine) = sim.requests
    sim.stream.inbox = (
        sim.reply(b"late", late)
        + sim.reply(b"foreign", b"????????0002")
        + publish_packet(REPLY, b"without", properties=b"\x0b\x01")
        + sim.reply(b"right", mine)
        + sim.reply(b"doubled", mine)
    )
    sim.client.poll(20000)
    assert got == [b"right"] and sim.client.connection_count == 1


def test_a_handler_can_send_a_request_only_with_a_callback():
    sim = connected()
    sim.client.request("a", b"x")
    errors, got = [], []
    sim.client.on_error = errors.append

    def handle(m):
        if m.equals(b"block"):
            sim.client.request("a", b"x")
        else:
            assert sim.client.request("a", b"x", on_response=lambda m: got.append(m.payload))

    sim.client.subscribe("b", handle)
    sim.client.poll(10)
    sim.stream.inbox = publish_packet(b"b", b"block") + publish_packet(b"b", b"")
    sim.client.poll(100)
    assert len(errors) == 1 and isinstance(errors[0], ValueError)
    assert got == [b"answer 2"]


def test_after_a_reconnect_requests_work_again():
    sim = connected()
    sim.client.request("a", b"x")
    sim.stream.closed_by_broker = True
    sim.client.poll(2000)
    assert sim.client.connection_count == 2
    assert sim.client.request("a", b"x") == b"answer 2"
    assert len(sim.received_bodies(0x80)) == 2


def test_after_a_reconnect_no_request_is_sent_before_the_subscription():
    sim = connected()
    sim.client.request("a", b"x")

    def state(client, up, error):
        if up:
            assert client.request("a", b"y", on_response=print) is False

    errors = []
    sim.client.on_state, sim.client.on_error = state, errors.append
    sim.packets = []
    sim.stream.closed_by_broker = True
    sim.client.poll(2000)
    assert [first for first, _ in sim.packets] == [0x10, 0x82] and errors == []


def test_a_request_waits_for_the_connection():
    sim = connected()
    sim.stream.closed_by_broker = True
    assert sim.client.request("a", b"x", timeout=5000) == b"answer 1"


def test_the_brokers_response_information_is_used():
    sim = Asked(properties=pack(request_response_information=1))
    sim.connack_properties = b"\x1a" + utf8_string(b"home/c/")
    sim.client.connect()
    assert b"\x19\x01" in sim.received_bodies(0x10)[0]
    sim.answers = False
    raises(OSError, lambda: sim.client.request("a", b"x", timeout=10))
    assert sim.requests[0][0] == b"home/c/reply" and b"home/c/reply" in sim.subscription_ids
    # another broker sends other Response Information
    sim.connack_properties = b"\x1a" + utf8_string(b"garden")
    sim.stream.closed_by_broker = True
    sim.client.poll(2000)
    raises(OSError, lambda: sim.client.request("a", b"x", timeout=10))
    assert sim.requests[1][0] == b"garden/reply"
    sim.client.poll(10)
    assert list(sim.subscription_ids) == [b"garden/reply"]


def test_wildcards_in_a_client_id_are_replaced_in_the_response_topic():
    """[MQTT-3.3.2-14]"""
    sim = Asked()
    sim.client.session.client_id = b"a+b#"
    sim.client.connect()
    sim.answers = False
    raises(OSError, lambda: sim.client.request("a", b"x", timeout=10))
    assert sim.requests[0][0] == b"reply/a_b_"


def test_a_request_accepts_properties_except_its_own():
    sim = connected()
    sim.client.request("a", b"x", properties=pack(message_expiry=9, user_properties=[("k", "v")]))
    body = sim.received_bodies(0x30)[0]
    assert body.count(b"\x02\x00\x00\x00") == 1 and b"\x02\x00\x00\x00\x09\x26" in body
    for wrong in (pack(response_topic="r"), pack(correlation_data=b"1")):
        raises(ValueError, lambda wrong=wrong: sim.client.request("a", b"x", properties=wrong))


# ---- the responder


def request(topic, payload, response, key=None, qos=0):
    block = b"\x08" + utf8_string(response) if response else b""
    if key is not None:
        block += b"\x09" + utf8_string(key)
    return publish_packet(topic, payload, qos, 77 if qos else 0, block)


def answered(function, *requests, **options):
    """Return a simulation and what its responder publishes: (topic, payload, correlation data, QoS)."""
    sim = BrokerSimulation(**options)
    sim.errors = []
    sim.client.on_error = sim.errors.append
    sim.client.responder("ask", function)
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox = b"".join(requests)
    sim.client.poll(10)
    found = []
    for first, body in sim.packets:
        if first & 0xF0 == 0x30:
            topic, at = read_string(body, 0)
            at += 2 if first & 6 else 0
            end = at + 1 + body[at]
            key = read_string(body, at + 2)[0] if body[at] else None
            found.append((topic, body[end:], key, first >> 1 & 3))
    return sim, found


def test_a_responder_publishes_to_the_response_topic_with_the_correlation_data():
    """[MQTT-3.3.2-15], [MQTT-3.3.2-16]"""
    _, found = answered(
        lambda m: m.payload + b"!",
        request(b"ask", b"1", b"back", b"\x00key"),
        request(b"ask", b"2", b"there", None, 1),
    )
    assert found == [(b"back", b"1!", b"\x00key", 0), (b"there", b"2!", None, 1)]


def test_a_request_without_a_valid_response_topic_gets_no_response():
    called = []
    sim, found = answered(
        lambda m: called.append(m.payload) or b"x",
        request(b"ask", b"1", b"", b"key"),
    )
    assert found == [] and called == [b"1"]
    assert sim.errors == [] and sim.client.connection_count == 1
    assert answered(lambda m: None, request(b"ask", b"1", b"back"))[1] == []


def test_responses_wait_for_a_connection_and_keep_their_order():
    sim = BrokerSimulation()
    results = []

    def handle(m):
        sim.broker_listens = False
        sim.client._on_link_lost(OSError(104))  # as if the network failed
        for i in range(10):
            results.append(sim.client.respond(m, b"%d" % i))

    sim.client.subscribe("ask", handle)
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox = request(b"ask", b"1", b"back", b"key")
    sim.client.poll(10)
    assert results == [True] * 8 + [False] * 2 and not sim.received_bodies(0x30)
    sim.broker_listens = True
    sim.client.poll(3000)
    assert [body[-1:] for body in sim.received_bodies(0x30)] == [b"%d" % i for i in range(8)]


def test_responses_wait_for_outbox_space_and_keep_their_order():
    sim = BrokerSimulation(inflight=1)
    sim.replies[0x30] = lambda stream, first, body: b""  # PUBACKs arrive later

    def handle(m):
        for payload, qos in ((b"1", 1), (b"2", 1), (b"3", 1), (b"4", 0)):
            assert sim.client.respond(m, payload, qos=qos)

    sim.client.subscribe("ask", handle)
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox = request(b"ask", b"", b"back")
    for _ in range(3):
        sim.client.poll(10)
        sim.stream.inbox = b"\x40\x02\x00\x01"
    sim.client.poll(10)
    assert [body[-1:] for body in sim.received_bodies(0x30)] == [b"1", b"2", b"3", b"4"]


def test_respond_accepts_a_default_topic_and_a_qos():
    sim = BrokerSimulation()
    sim.client.subscribe("ask", lambda m: sim.client.respond(m, b"x", topic="default", qos=1))
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox = publish_packet(b"ask", b"")
    sim.client.poll(10)
    assert sim.received_bodies(0x30) == [utf8_string(b"default") + b"\x00\x01\x00x"]


def test_a_client_can_answer_its_own_request():
    sim = BrokerSimulation()
    seen = []

    def serve(m):
        seen.append(
            (m.property(RESPONSE_TOPIC), len(m.property(CORRELATION_DATA)), m.int_property(MESSAGE_EXPIRY, 0))
        )
        return m.payload + b"!"

    sim.client.responder("ask", serve)
    sim.client.connect()
    assert sim.client.request("ask", b"hi", timeout=3000) == b"hi!"
    assert seen == [("reply/c", 12, 3)]
