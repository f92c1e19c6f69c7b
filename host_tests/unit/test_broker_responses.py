"""What the broker's answers carry reaches the caller; what we ask for in CONNECT and the will."""

from answering_broker import Answers
from simulation import World

from helper import packet, raises, text
from umqtt5.core.errors import MQTTError
from umqtt5.properties import (
    REASON_STRING,
    RESPONSE_INFORMATION,
    SERVER_KEEP_ALIVE,
    USER_PROPERTY,
    WILL_DELAY,
    pack,
)

WORDS = b"\x1f" + text(b"full") + b"\x26" + text(b"k") + text(b"1") + b"\x26" + text(b"k") + text(b"2")
PROPERTIES = bytes((len(WORDS),)) + WORDS
READ = ("full", ("k", "1"), ("k", "2"), None)


def read(answer):
    """Reason string and user properties of an answer."""
    return (answer.property(REASON_STRING),) + tuple([answer.property(USER_PROPERTY, i) for i in range(3)])


def connected(**options):
    """A world whose client is connected, and the list of what its callbacks were told."""
    world = World(**options)
    told = []
    world.client.on_ack = lambda answer: told.append((answer.packet_id, answer.reason, read(answer)))
    world.client.on_subscribed = lambda s, answer: told.append((s, answer.reason, read(answer)))
    world.client.on_unsubscribed = world.client.on_subscribed
    world.client.connect()
    return world, told


def arrives(world, data):
    world.stream.inbox = data
    world.client.poll(10)


def test_reason_code_string_and_user_properties_of_each_acknowledgement():
    """[MQTT-4.4.0-2]"""
    world, told = connected()
    for i in range(1, 4):
        world.client.publish("a", b"x", qos=2 if i > 1 else 1)
    arrives(world, packet(0x40, b"\x00\x01\x97", PROPERTIES))
    arrives(world, packet(0x50, b"\x00\x02\x87", PROPERTIES))
    arrives(world, packet(0x50, b"\x00\x03"))
    arrives(world, packet(0x70, b"\x00\x03\x00", PROPERTIES))
    assert told == [(1, 0x97, READ), (2, 0x87, READ), (3, 0, READ)]


def test_an_answer_without_properties_has_none_of_the_one_before():
    world, told = connected()
    world.client.publish("a", b"x", qos=1)
    world.client.publish("a", b"x", qos=1)
    arrives(world, packet(0x40, b"\x00\x01\x97", PROPERTIES) + b"\x40\x02\x00\x02")
    assert told == [(1, 0x97, READ), (2, 0, (None,) * 4)]


def test_a_message_that_ends_without_an_answer_is_told_in_the_same_way():
    world, told = connected()
    world.there = False
    world.stream.gone = True
    world.client.poll(10)
    assert world.client.publish("a", b"x", qos=1, retain=True) == 1
    world.greeting = packet(0x20, b"\x00\x00", bytes((len(WORDS) + 2,)), b"\x25\x00" + WORDS)
    world.there = True
    world.client.poll(3000)
    assert told == [(1, 0x9A, (None,) * 4)]  # by this broker's Retain Available


def test_suback_and_unsuback_reach_the_caller():
    world, told = connected()
    s = world.client.subscribe("a", None)
    world.client.poll(10)
    arrives(world, packet(0x90, b"\x80\x00", PROPERTIES, b"\x87"))
    assert s.reason == 0x87
    world.client.unsubscribe("a")
    world.client.poll(10)
    arrives(world, packet(0xB0, b"\x80\x00", PROPERTIES, b"\x11"))
    assert told == [(s, 0x87, READ), (s, 0x11, READ)]


def test_a_subscription_that_a_limit_forbids_is_told_with_its_reason():
    world = World()
    told = []
    world.client.on_subscribed = lambda s, answer: told.append((s.filter, answer.reason, read(answer)))
    world.greeting = packet(0x20, b"\x00\x00", bytes((len(WORDS) + 2,)), b"\x28\x00" + WORDS)
    world.client.subscribe("a/#", None)
    world.client.connect()
    world.client.poll(10)
    assert told == [(b"a/#", 0xA2, (None,) * 4)]


def test_connack_and_disconnect_of_the_broker_are_there_in_on_state():
    world = World()
    told = []

    def state(client, up, error):
        packet = client.packet
        told.append((up, packet.reason, packet.property(SERVER_KEEP_ALIVE), read(packet)))

    world.client.on_state = state
    world.greeting = packet(0x20, b"\x00\x00", bytes((len(WORDS) + 3,)), b"\x13\x00\x09" + WORDS)
    world.client.connect()
    world.greeting = packet(0x20, b"\x00\x88", PROPERTIES)
    arrives(world, packet(0xE0, b"\x8b", PROPERTIES))
    world.client.poll(2000)
    assert told[:3] == [(True, 0, 9, READ), (False, 0x8B, None, READ), (False, 0x88, None, READ)]


# ---- what we ask for


def test_properties_of_connect_are_sent_in_order():
    """[MQTT-3.1.3-10]"""
    block = pack(request_response_information=1, user=[("b", "2"), ("a", "1")])
    world = World(properties=block)
    world.client.connect()
    assert block == b"\x19\x01\x26" + text(b"b") + text(b"2") + b"\x26" + text(b"a") + text(b"1")
    assert bytes((8 + 5 + 3 + len(block),)) + block + b"\x27" in world.stream.written


def test_many_properties_of_connect():
    world = World(properties=pack(user=[("key %d" % i, "value") for i in range(30)]))
    world.client.connect()
    written = world.stream.written
    size = written[1] & 127 | written[2] << 7
    assert len(written) == 3 + size and written[0] == 0x10


def test_what_may_not_be_among_the_properties_of_connect():
    for wrong in (
        pack(session_expiry=1),  # an argument of its own
        pack(reason_string="x"),
        pack(content_type="x"),
        pack(request_problem_information=0) * 2,
        b"\x21\x00\x01",
        b"\x17",
        b"\x17\x02",
        b"\xff",
    ):
        raises(ValueError, lambda wrong=wrong: World(properties=wrong))
    raises(TypeError, lambda: World(properties="x"))
    raises(ValueError, lambda: pack(request_problem_information=2))


def test_no_problem_information_means_none():
    """[MQTT-3.1.2-29]"""
    asked = (
        (0x40, b"\x00\x01\x10"),
        (0x90, b"\x80\x00"),
    )
    for first, start in asked:
        for block in (b"\x1f" + text(b"x"), b"\x26" + text(b"k") + text(b"v")):
            for wanted in (0, 1):
                world = World(properties=pack(request_problem_information=wanted))
                world.client.connect()
                world.client.publish("a", b"x", qos=1)
                world.client.subscribe("a", None)
                world.client.poll(10)
                tail = b"\x00" if first == 0x90 else b""
                arrives(world, packet(first, start, bytes((len(block),)), block, tail))
                if wanted:
                    assert world.client.connected and len(world.streams) == 1
                else:
                    assert world.streams[0].written.endswith(b"\xe0\x01\x82"), (first, block)


def test_without_problem_information_connack_publish_and_disconnect_may_have_it():
    """[MQTT-3.1.2-29]"""
    world = World(properties=pack(request_problem_information=0))
    world.greeting = packet(0x20, b"\x00\x00", PROPERTIES)
    got = []
    world.client.subscribe("a", lambda m: got.append(m.property(USER_PROPERTY)))
    world.client.connect()
    block = b"\x26" + text(b"k") + text(b"v")
    arrives(world, packet(0x30, text(b"a"), bytes((len(block),)), block))
    assert got == [("k", "v")]
    errors = []
    world.client.on_state = lambda client, up, error: errors.append(error)
    arrives(world, packet(0xE0, b"\x8b", PROPERTIES))
    assert errors[0].code == 0x8B and errors[0].detail == "full"


def test_response_information_is_kept():
    world = Answers(properties=pack(request_response_information=1))
    seen = []
    world.client.on_state = lambda client, up, error: seen.append(
        client.packet.property(RESPONSE_INFORMATION)
    )
    world.connack = b"\x1a" + text(b"home")
    world.client.connect()
    assert seen == ["home"]


def test_properties_of_a_will():
    """[MQTT-3.3.2-14]"""
    world = World()
    block = pack(
        payload_format=1,
        message_expiry=60,
        content_type="text/plain",
        response_topic="r",
        correlation_data=b"\x00",
        user=[("a", "1")],
    )
    world.client.will("w", "bye", delay=7, properties=block)
    world.client.connect()
    delay = bytes((WILL_DELAY, 0, 0, 0, 7))
    assert bytes((5 + len(block),)) + block + delay + text(b"w") + text(b"bye") in world.stream.written
    for wrong in (pack(session_expiry=1), pack(reason_string="x"), b"\x23\x00\x01", b"\x01\x02", b"\x01"):
        raises(ValueError, lambda wrong=wrong: world.client.will("w", b"", properties=wrong))
    raises(ValueError, lambda: world.client.will("w", b"", delay=1, properties=delay))
    raises(ValueError, lambda: pack(response_topic="a/#"))


def test_a_refusal_has_its_words_and_where_to_go():
    world = World()
    world.greeting = packet(0x20, b"\x00\x9d", bytes((len(WORDS) + 8,)), WORDS, b"\x1c" + text(b"there"))
    error = raises(MQTTError, world.client.connect)
    assert (error.code, error.detail, error.reference) == (0x9D, "full", "there")
