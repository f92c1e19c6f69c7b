"""Reason codes, reason strings and user properties of the broker; properties of CONNECT and the will."""

from answering_broker import BrokerSimulation
from simulation import Simulation

from helper import make_packet, raises, utf8_string
from umqtt5.core.errors import MQTTError
from umqtt5.properties import (
    REASON_STRING,
    RESPONSE_INFORMATION,
    SERVER_KEEP_ALIVE,
    USER_PROPERTY,
    WILL_DELAY,
    pack,
)

WORDS = (
    b"\x1f"
    + utf8_string(b"full")
    + b"\x26"
    + utf8_string(b"k")
    + utf8_string(b"1")
    + b"\x26"
    + utf8_string(b"k")
    + utf8_string(b"2")
)
PROPERTIES = bytes((len(WORDS),)) + WORDS
READ = ("full", ("k", "1"), ("k", "2"), None)


def read(answer):
    """Return the reason string and three user properties of a packet."""
    return (answer.property(REASON_STRING),) + tuple([answer.property(USER_PROPERTY, i) for i in range(3)])


def connected(**options):
    """Return a connected simulation, and the list of what its callbacks receive."""
    sim = Simulation(**options)
    told = []
    sim.client.on_ack = lambda answer: told.append((answer.packet_id, answer.reason, read(answer)))
    sim.client.on_subscribed = lambda s, answer: told.append((s, answer.reason, read(answer)))
    sim.client.on_unsubscribed = sim.client.on_subscribed
    sim.client.connect()
    return sim, told


def arrives(sim, data):
    sim.stream.inbox = data
    sim.client.poll(10)


def test_on_ack_reports_reason_code_reason_string_and_user_properties():
    """[MQTT-4.4.0-2]"""
    sim, told = connected()
    for i in range(1, 4):
        sim.client.publish("a", b"x", qos=2 if i > 1 else 1)
    arrives(sim, make_packet(0x40, b"\x00\x01\x97", PROPERTIES))
    arrives(sim, make_packet(0x50, b"\x00\x02\x87", PROPERTIES))
    arrives(sim, make_packet(0x50, b"\x00\x03"))
    arrives(sim, make_packet(0x70, b"\x00\x03\x00", PROPERTIES))
    assert told == [(1, 0x97, READ), (2, 0x87, READ), (3, 0, READ)]


def test_an_acknowledgement_without_properties_does_not_keep_earlier_ones():
    sim, told = connected()
    sim.client.publish("a", b"x", qos=1)
    sim.client.publish("a", b"x", qos=1)
    arrives(sim, make_packet(0x40, b"\x00\x01\x97", PROPERTIES) + b"\x40\x02\x00\x02")
    assert told == [(1, 0x97, READ), (2, 0, (None,) * 4)]


def test_a_message_that_a_limit_forbids_is_reported_to_on_ack():
    sim, told = connected()
    sim.broker_listens = False
    sim.stream.closed_by_broker = True
    sim.client.poll(10)
    assert sim.client.publish("a", b"x", qos=1, retain=True) == 1
    sim.connect_reply = make_packet(0x20, b"\x00\x00", bytes((len(WORDS) + 2,)), b"\x25\x00" + WORDS)
    sim.broker_listens = True
    sim.client.poll(3000)
    assert told == [(1, 0x9A, (None,) * 4)]  # the broker does not support retained messages


def test_suback_and_unsuback_are_reported_with_their_properties():
    sim, told = connected()
    s = sim.client.subscribe("a", None)
    sim.client.poll(10)
    arrives(sim, make_packet(0x90, b"\x80\x00", PROPERTIES, b"\x87"))
    assert s.reason == 0x87
    sim.client.unsubscribe("a")
    sim.client.poll(10)
    arrives(sim, make_packet(0xB0, b"\x80\x00", PROPERTIES, b"\x11"))
    assert told == [(s, 0x87, READ), (s, 0x11, READ)]


def test_a_subscription_that_a_limit_forbids_is_reported_to_on_subscribed():
    sim = Simulation()
    told = []
    sim.client.on_subscribed = lambda s, answer: told.append((s.topic_filter, answer.reason, read(answer)))
    sim.connect_reply = make_packet(0x20, b"\x00\x00", bytes((len(WORDS) + 2,)), b"\x28\x00" + WORDS)
    sim.client.subscribe("a/#", None)
    sim.client.connect()
    sim.client.poll(10)
    assert told == [(b"a/#", 0xA2, (None,) * 4)]


def test_on_state_can_read_connack_and_disconnect():
    sim = Simulation()
    told = []

    def state(client, up, error):
        packet = client.packet
        told.append((up, packet.reason, packet.property(SERVER_KEEP_ALIVE), read(packet)))

    sim.client.on_state = state
    sim.connect_reply = make_packet(0x20, b"\x00\x00", bytes((len(WORDS) + 3,)), b"\x13\x00\x09" + WORDS)
    sim.client.connect()
    sim.connect_reply = make_packet(0x20, b"\x00\x88", PROPERTIES)
    arrives(sim, make_packet(0xE0, b"\x8b", PROPERTIES))
    sim.client.poll(2000)
    assert told[:3] == [(True, 0, 9, READ), (False, 0x8B, None, READ), (False, 0x88, None, READ)]


# ---- properties of CONNECT and the will


def test_properties_of_connect_are_sent_in_order():
    """[MQTT-3.1.3-10]"""
    block = pack(request_response_information=1, user_properties=[("b", "2"), ("a", "1")])
    sim = Simulation(properties=block)
    sim.client.connect()
    assert block == b"\x19\x01\x26" + utf8_string(b"b") + utf8_string(b"2") + b"\x26" + utf8_string(
        b"a"
    ) + utf8_string(b"1")
    assert bytes((8 + 5 + 3 + len(block),)) + block + b"\x27" in sim.stream.written


def test_connect_properties_may_exceed_127_bytes():
    sim = Simulation(properties=pack(user_properties=[("key %d" % i, "value") for i in range(30)]))
    sim.client.connect()
    written = sim.stream.written
    size = written[1] & 127 | written[2] << 7
    assert len(written) == 3 + size and written[0] == 0x10


def test_invalid_connect_properties_raise_value_error():
    for wrong in (
        pack(session_expiry=1),  # `session_expiry` is an argument of `Client`
        pack(reason_string="x"),
        pack(content_type="x"),
        pack(request_problem_information=0) * 2,
        b"\x21\x00\x01",
        b"\x17",
        b"\x17\x02",
        b"\xff",
    ):
        raises(ValueError, lambda wrong=wrong: Simulation(properties=wrong))
    raises(TypeError, lambda: Simulation(properties="x"))
    raises(ValueError, lambda: pack(request_problem_information=2))


def test_without_problem_information_a_reason_string_is_a_protocol_error():
    """[MQTT-3.1.2-29]"""
    asked = (
        (0x40, b"\x00\x01\x10"),
        (0x90, b"\x80\x00"),
    )
    for first, start in asked:
        for block in (b"\x1f" + utf8_string(b"x"), b"\x26" + utf8_string(b"k") + utf8_string(b"v")):
            for wanted in (0, 1):
                sim = Simulation(properties=pack(request_problem_information=wanted))
                sim.client.connect()
                sim.client.publish("a", b"x", qos=1)
                sim.client.subscribe("a", None)
                sim.client.poll(10)
                tail = b"\x00" if first == 0x90 else b""
                arrives(sim, make_packet(first, start, bytes((len(block),)), block, tail))
                if wanted:
                    assert sim.client.is_connected and len(sim.streams) == 1
                else:
                    assert sim.streams[0].written.endswith(b"\xe0\x01\x82"), (first, block)


def test_without_problem_information_some_packets_may_still_have_it():
    """[MQTT-3.1.2-29]"""
    sim = Simulation(properties=pack(request_problem_information=0))
    sim.connect_reply = make_packet(0x20, b"\x00\x00", PROPERTIES)
    got = []
    sim.client.subscribe("a", lambda m: got.append(m.property(USER_PROPERTY)))
    sim.client.connect()
    block = b"\x26" + utf8_string(b"k") + utf8_string(b"v")
    arrives(sim, make_packet(0x30, utf8_string(b"a"), bytes((len(block),)), block))
    assert got == [("k", "v")]
    errors = []
    sim.client.on_state = lambda client, up, error: errors.append(error)
    arrives(sim, make_packet(0xE0, b"\x8b", PROPERTIES))
    assert errors[0].code == 0x8B and errors[0].detail == "full"


def test_response_information_can_be_read_in_on_state():
    sim = BrokerSimulation(properties=pack(request_response_information=1))
    seen = []
    sim.client.on_state = lambda client, up, error: seen.append(client.packet.property(RESPONSE_INFORMATION))
    sim.connack_properties = b"\x1a" + utf8_string(b"home")
    sim.client.connect()
    assert seen == ["home"]


def test_a_will_carries_properties():
    """[MQTT-3.3.2-14]"""
    sim = Simulation()
    block = pack(
        payload_format=1,
        message_expiry=60,
        content_type="text/plain",
        response_topic="r",
        correlation_data=b"\x00",
        user_properties=[("a", "1")],
    )
    sim.client.will("w", "bye", delay=7, properties=block)
    sim.client.connect()
    delay = bytes((WILL_DELAY, 0, 0, 0, 7))
    assert (
        bytes((5 + len(block),)) + block + delay + utf8_string(b"w") + utf8_string(b"bye")
        in sim.stream.written
    )
    for wrong in (pack(session_expiry=1), pack(reason_string="x"), b"\x23\x00\x01", b"\x01\x02", b"\x01"):
        raises(ValueError, lambda wrong=wrong: sim.client.will("w", b"", properties=wrong))
    raises(ValueError, lambda: sim.client.will("w", b"", delay=1, properties=delay))
    raises(ValueError, lambda: pack(response_topic="a/#"))


def test_a_refused_connect_reports_reason_string_and_server_reference():
    sim = Simulation()
    sim.connect_reply = make_packet(
        0x20, b"\x00\x9d", bytes((len(WORDS) + 8,)), WORDS, b"\x1c" + utf8_string(b"there")
    )
    error = raises(MQTTError, sim.client.connect)
    assert (error.code, error.detail, error.server_reference) == (0x9D, "full", "there")
