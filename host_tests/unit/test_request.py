from errno import ENOTCONN, ETIMEDOUT

from answering_broker import Answers, string

from helper import message, packet, raises, text
from umqtt5.core.errors import MQTTError
from umqtt5.properties import CORRELATION_DATA, MESSAGE_EXPIRY, RESPONSE_TOPIC, pack

REPLY = b"reply/c"


class Asked(Answers):
    """A broker behind which somebody answers requests to `a`, `late` ms after they came."""

    def __init__(self, **options):
        Answers.__init__(self, **options)
        self.requests = []  # (response topic, correlation data)
        self.answers = True

    def publish_came(self, stream, first, body):
        _, at = string(body, 0)
        block = body[at + 1 : at + 1 + body[at]]
        found = block.find(b"\x08\x00")
        topic, behind = string(block, found + 1)
        key, _ = string(block, behind + 1)
        self.requests.append((topic, key))
        return self.reply(b"answer %d" % len(self.requests), key) if self.answers else b""

    def reply(self, payload, key, topic=REPLY):
        return message(topic, payload, properties=b"\x09" + text(key) + b"\x0b\x01")


def connected(**options):
    there = Asked(**options)
    there.client.connect()
    return there


def test_a_request_returns_the_payload_of_its_answer():
    there = connected()
    assert there.client.request("a", b"x", timeout=1000) == b"answer 1"
    assert there.client.request("a", "é", timeout=1000) == b"answer 2"
    (topic, one), (_, other) = there.requests
    assert topic == REPLY and one != other
    assert len(there.came(0x80)) == 1  # subscribed to once
    assert b"\x02\x00\x00\x00\x01" in there.came(0x30)[0]  # the broker need not keep it for longer


def test_it_begins_when_the_response_topic_is_subscribed_to():
    there = connected()
    suback = there.subscribe_came

    def refuse(stream, first, body):
        return packet(0x90, body[:2], b"\x00\x87")

    there._answers[0x80] = lambda stream, first, body: b""
    assert there.client.request("a", b"x", on_answer=print) is False
    there.client.poll(10)
    assert there.client.request("a", b"x", on_answer=print) is False and not there.came(0x30)
    there.stream.inbox = suback(there.stream, 0x82, there.came(0x80)[0])
    there.client.poll(10)
    assert there.client.request("a", b"x", on_answer=lambda m: None) is True

    there = Asked()
    there._answers[0x80] = refuse
    there.client.connect()
    error = raises(MQTTError, there.client.request, "a", b"x")
    assert error.code == 0x87 and "reply/c" in error.detail and not there.came(0x30)


def test_no_answer_in_time():
    there = connected()
    there.answers = False
    start = there.now
    error = raises(OSError, lambda: there.client.request("a", b"x", timeout=700))
    assert error.args[0] == ETIMEDOUT and 700 <= there.now - start <= 710
    told = []
    assert there.client.request("a", b"x", timeout=500, on_answer=told.append)
    there.client.poll(400)
    assert told == []
    there.client.poll(200)
    assert told == [None]
    there.client.poll(2000)
    assert told == [None]


def test_deadlines_hold_without_a_link():
    there = connected()
    told = []
    there.answers = False
    raises(OSError, lambda: there.client.request("a", b"x", timeout=100))
    assert there.client.request("a", b"x", timeout=500, on_answer=told.append)
    there.there = False
    there.stream.gone = True
    start = there.now
    error = raises(OSError, lambda: there.client.request("a", b"x", timeout=700))
    assert error.args[0] == ETIMEDOUT and 700 <= there.now - start <= 710
    assert told == [None]


def test_without_connect_it_says_so():
    there = Asked()
    assert raises(OSError, there.client.request, "a", b"x").args[0] == ENOTCONN
    assert there.client.request("a", b"x", on_answer=print) is False


def test_several_are_in_flight_and_answers_find_theirs():
    there = connected(inflight=3)
    there.answers = False
    raises(OSError, lambda: there.client.request("a", b"x", timeout=10))
    got = []
    for i in range(3):
        assert there.client.request("a", b"x", on_answer=lambda m, i=i: got.append((i, m.payload)))
    assert there.client.request("a", b"x", on_answer=print) is False  # as many as `inflight`
    keys = [key for _, key in there.requests[1:]]
    there.stream.inbox = b"".join([there.reply(b"%d" % i, keys[i]) for i in (2, 0, 1)])
    there.client.poll(10)
    assert got == [(2, b"2"), (0, b"0"), (1, b"1")]


def test_answers_that_are_late_foreign_or_doubled_are_dropped():
    there = connected()
    there.answers = False
    raises(OSError, lambda: there.client.request("a", b"x", timeout=10))
    got = []
    there.client.request("a", b"x", on_answer=lambda m: got.append(m.payload))
    (_, late), (_, mine) = there.requests
    there.stream.inbox = (
        there.reply(b"late", late)
        + there.reply(b"foreign", b"????????0002")
        + message(REPLY, b"without", properties=b"\x0b\x01")
        + there.reply(b"right", mine)
        + there.reply(b"doubled", mine)
    )
    there.client.poll(20000)
    assert got == [b"right"] and there.client.connects == 1


def test_a_handler_that_asks_gives_a_callback():
    there = connected()
    there.client.request("a", b"x")
    errors, got = [], []
    there.client.on_error = errors.append

    def handle(m):
        if m.equals(b"block"):
            there.client.request("a", b"x")
        else:
            assert there.client.request("a", b"x", on_answer=lambda m: got.append(m.payload))

    there.client.subscribe("b", handle)
    there.client.poll(10)
    there.stream.inbox = message(b"b", b"block") + message(b"b", b"")
    there.client.poll(100)
    assert len(errors) == 1 and isinstance(errors[0], ValueError)
    assert got == [b"answer 2"]


def test_after_a_reconnect_the_response_topic_is_there_again():
    there = connected()
    there.client.request("a", b"x")
    there.stream.gone = True
    there.client.poll(2000)
    assert there.client.connects == 2
    assert there.client.request("a", b"x") == b"answer 2"
    assert len(there.came(0x80)) == 2


def test_after_a_reconnect_no_request_goes_out_before_its_subscription():
    there = connected()
    there.client.request("a", b"x")

    def state(client, up, error):
        if up:
            assert client.request("a", b"y", on_answer=print) is False

    errors = []
    there.client.on_state, there.client.on_error = state, errors.append
    there.packets = []
    there.stream.gone = True
    there.client.poll(2000)
    assert [first for first, _ in there.packets] == [0x10, 0x82] and errors == []


def test_a_request_waits_for_the_link():
    there = connected()
    there.stream.gone = True
    assert there.client.request("a", b"x", timeout=5000) == b"answer 1"


def test_the_brokers_response_information_is_used():
    there = Asked(properties=pack(request_response_information=1))
    there.connack = b"\x1a" + text(b"home/c/")
    there.client.connect()
    assert b"\x19\x01" in there.came(0x10)[0]
    there.answers = False
    raises(OSError, lambda: there.client.request("a", b"x", timeout=10))
    assert there.requests[0][0] == b"home/c/reply" and b"home/c/reply" in there.subscribed
    # another broker has another
    there.connack = b"\x1a" + text(b"garden")
    there.stream.gone = True
    there.client.poll(2000)
    raises(OSError, lambda: there.client.request("a", b"x", timeout=10))
    assert there.requests[1][0] == b"garden/reply"
    there.client.poll(10)
    assert list(there.subscribed) == [b"garden/reply"]


def test_a_client_id_with_wildcards_makes_no_wildcard_topic():
    """[MQTT-3.3.2-14]"""
    there = Asked()
    there.client.session.client_id = b"a+b#"
    there.client.connect()
    there.answers = False
    raises(OSError, lambda: there.client.request("a", b"x", timeout=10))
    assert there.requests[0][0] == b"reply/a_b_"


def test_properties_of_a_request():
    there = connected()
    there.client.request("a", b"x", properties=pack(message_expiry=9, user=[("k", "v")]))
    body = there.came(0x30)[0]
    assert body.count(b"\x02\x00\x00\x00") == 1 and b"\x02\x00\x00\x00\x09\x26" in body
    for wrong in (pack(response_topic="r"), pack(correlation_data=b"1")):
        raises(ValueError, lambda wrong=wrong: there.client.request("a", b"x", properties=wrong))


# ---- the other side


def request(topic, payload, response, key=None, qos=0):
    block = b"\x08" + text(response) if response else b""
    if key is not None:
        block += b"\x09" + text(key)
    return message(topic, payload, qos, 77 if qos else 0, block)


def answered(function, *requests, **options):
    """What a responder publishes: (topic, payload, correlation data, QoS)."""
    there = Answers(**options)
    there.errors = []
    there.client.on_error = there.errors.append
    there.client.responder("ask", function)
    there.client.connect()
    there.client.poll(10)
    there.stream.inbox = b"".join(requests)
    there.client.poll(10)
    found = []
    for first, body in there.packets:
        if first & 0xF0 == 0x30:
            topic, at = string(body, 0)
            at += 2 if first & 6 else 0
            end = at + 1 + body[at]
            key = string(body, at + 2)[0] if body[at] else None
            found.append((topic, body[end:], key, first >> 1 & 3))
    return there, found


def test_a_responder_answers_to_the_response_topic_with_the_correlation_data():
    """[MQTT-3.3.2-15], [MQTT-3.3.2-16]"""
    _, found = answered(
        lambda m: m.payload + b"!",
        request(b"ask", b"1", b"back", b"\x00key"),
        request(b"ask", b"2", b"there", None, 1),
    )
    assert found == [(b"back", b"1!", b"\x00key", 0), (b"there", b"2!", None, 1)]


def test_what_can_not_be_answered():
    called = []
    there, found = answered(
        lambda m: called.append(m.payload) or b"x",
        request(b"ask", b"1", b"", b"key"),
        request(b"ask", b"2", b"a/#", b"key"),
        request(b"ask", b"3", b"+"),
    )
    assert found == [] and called == [b"1", b"2", b"3"]
    assert there.errors == [] and there.client.connects == 1
    assert answered(lambda m: None, request(b"ask", b"1", b"back"))[1] == []


def test_answers_wait_for_a_link_in_their_order():
    there = Answers()
    results = []

    def handle(m):
        there.there = False
        there.client._drop(OSError(104))  # as when the network goes
        for i in range(10):
            results.append(there.client.respond(m, b"%d" % i))

    there.client.subscribe("ask", handle)
    there.client.connect()
    there.client.poll(10)
    there.stream.inbox = request(b"ask", b"1", b"back", b"key")
    there.client.poll(10)
    assert results == [True] * 8 + [False] * 2 and not there.came(0x30)
    there.there = True
    there.client.poll(3000)
    assert [body[-1:] for body in there.came(0x30)] == [b"%d" % i for i in range(8)]


def test_answers_wait_for_room_in_their_order():
    there = Answers(inflight=1)
    there._answers[0x30] = lambda stream, first, body: b""  # PUBACKs come later

    def handle(m):
        for payload, qos in ((b"1", 1), (b"2", 1), (b"3", 1), (b"4", 0)):
            assert there.client.respond(m, payload, qos=qos)

    there.client.subscribe("ask", handle)
    there.client.connect()
    there.client.poll(10)
    there.stream.inbox = request(b"ask", b"", b"back")
    for _ in range(3):
        there.client.poll(10)
        there.stream.inbox = b"\x40\x02\x00\x01"
    there.client.poll(10)
    assert [body[-1:] for body in there.came(0x30)] == [b"1", b"2", b"3", b"4"]


def test_a_default_topic_and_qos_for_answers():
    there = Answers()
    there.client.subscribe("ask", lambda m: there.client.respond(m, b"x", topic="default", qos=1))
    there.client.connect()
    there.client.poll(10)
    there.stream.inbox = message(b"ask", b"")
    there.client.poll(10)
    assert there.came(0x30) == [text(b"default") + b"\x00\x01\x00x"]


def test_both_sides_in_one_client():
    there = Answers()
    seen = []

    def serve(m):
        seen.append(
            (m.property(RESPONSE_TOPIC), len(m.property(CORRELATION_DATA)), m.number(MESSAGE_EXPIRY, 0))
        )
        return m.payload + b"!"

    there.client.responder("ask", serve)
    there.client.connect()
    assert there.client.request("ask", b"hi", timeout=3000) == b"hi!"
    assert seen == [("reply/c", 12, 3)]
