"""Client calls: disconnect in a handler, publish without poll, waits, credentials, subscribe options."""

from errno import ETIMEDOUT

from packet_reader import bodies_of_type, make_ack, make_connack, read_connect, read_publishes, split_packets
from simulation import Simulation

from helper import Peer, identifier_of, make_packet, publish_packet, raises, utf8_string
from umqtt5.core.topics import Topic
from umqtt5.properties import pack

# ---- disconnect in a handler or a callback


def test_disconnect_in_a_handler_acknowledges_the_message_first():
    for qos, ack in ((1, b"\x40\x02\x00\x07"), (2, b"\x50\x02\x00\x07")):
        sim = Simulation()
        got = []

        def handle(message, sim=sim, got=got):
            got.append(message.payload)
            sim.client.disconnect()

        sim.client.subscribe("a", handle, qos)
        sim.client.connect()
        sim.client.poll(10)
        sim.stream.inbox += publish_packet(b"a", b"1", qos, 7) + publish_packet(b"a", b"2", qos, 8)
        sim.client.poll(10)
        assert got == [b"1"], "a message after disconnect was handled"
        assert sim.stream.written.endswith(ack + b"\xe0\x00") and sim.stream.closed
        assert not sim.client.is_connected
        sim.client.poll(100000)
        assert len(sim.streams) == 1


def test_disconnect_in_a_handler_that_fails_refuses_the_message_first():
    sim = Simulation()
    sim.client.on_error = lambda error: None

    def handle(message):
        sim.client.disconnect(0x04, pack(reason_string="bye"))
        raise ValueError("broken")

    sim.client.subscribe("a", handle, 1)
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox += publish_packet(b"a", b"1", 1, 7)
    sim.client.poll(10)
    assert split_packets(sim.stream.written)[-2:] == [
        (0x40, b"\x00\x07\x80"),
        (0xE0, b"\x04\x06\x1f\x00\x03bye"),
    ]


def test_disconnect_in_each_callback_ends_the_connection_in_the_same_poll():
    for name in ("on_ack", "on_subscribed", "on_state", "on_unhandled"):
        sim = Simulation()
        if name == "on_state":
            sim.client.on_state = lambda client, up, error: up and client.disconnect()
        else:
            setattr(sim.client, name, lambda *_, client=sim.client: client.disconnect())
        sim.client.subscribe("a", lambda m: None)
        sim.client.connect(wait=False)
        sim.client.poll(10)
        sim.client.publish("a", b"x", 1)
        sim.stream.inbox += (
            make_packet(0x90, b"\x80\x00\x00\x00") + make_ack(0x40, 1) + publish_packet(b"z", b"")
        )
        sim.client.poll(10)
        assert sim.stream.closed and sim.stream.written.endswith(b"\xe0\x00"), name
        sim.client.poll(100000)
        assert len(sim.streams) == 1, name


def test_disconnect_in_a_handler_closes_a_connection_whose_broker_reads_nothing():
    sim = Simulation()

    def handle(message):
        sim.stream.is_stalled = True
        sim.client.disconnect()

    sim.client.subscribe("a", handle, 1)
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.inbox += publish_packet(b"a", b"1", 1, 7)
    sim.client.poll(10)
    assert sim.stream.closed


# ---- publish without poll


def test_a_program_that_only_publishes_reconnects():
    for qos in (0, 1):
        sim = Simulation()
        sim.client.connect()
        sim.broker_listens = False
        sim.stream.closed_by_broker = True
        for _ in range(5):
            sim.client.publish("a", b"lost", qos)
            sim.sleep(1000)
        sim.broker_listens = True
        answered = 0
        for _ in range(40):
            sim.client.publish("a", b"x", qos)
            sim.sleep(1000)
            sent = read_publishes(sim.stream.written) if len(sim.streams) > 1 else []
            for m in sent[answered:]:
                sim.stream.inbox += make_ack(0x40, m.packet_id) if qos else b""
            answered = len(sent)
        assert sim.client.is_connected and len(sim.streams) == 2, qos
        assert b"x" in [m.payload for m in read_publishes(sim.stream.written)]


def test_a_program_that_only_publishes_at_qos_1_reads_its_acknowledgements():
    sim = Simulation(inflight=2)
    sim.client.connect()
    sent = 0
    for _ in range(20):
        packet_id = sim.client.publish("a", b"x", 1)
        if packet_id:
            sent += 1
            sim.stream.inbox += make_ack(0x40, packet_id)
        sim.sleep(1000)
    assert sent == 20 and sim.client.is_connected


def test_publish_never_waits():
    sim = Simulation()
    sim.is_writable = False
    sim.client.connect(wait=False)
    for _ in range(5):
        before = sim.now
        assert sim.client.publish("a", b"x") is False
        assert sim.now <= before + 1  # the simulated poll takes 1 ms
        sim.sleep(100)


def test_publish_after_disconnect_does_not_connect():
    sim = Simulation()
    assert sim.client.publish("a", b"x") is False and sim.client.publish("a", b"x", 1)
    sim.client.connect()
    sim.client.disconnect()
    for _ in range(10):
        sim.client.publish("a", b"x")
        sim.sleep(60000)
    assert len(sim.streams) == 1


# ---- the wait for each answer


def answered_in_time(peer, ms):
    """Advance the clock by up to `ms`; returns the time until OSError is raised, None if it is not."""
    start = peer.now
    while peer.now - start < ms:
        try:
            peer.advance(100)
        except OSError as error:
            assert error.errno == ETIMEDOUT
            return peer.now - start
        yield_acks(peer)
    return None


def yield_acks(peer):
    """Acknowledge the messages that are sent now, except for the packet identifier `peer.silent`."""
    for m in read_publishes(peer.read_output()):
        if m.packet_id != peer.silent:
            peer.feed(make_ack(0x40, m.packet_id))
    peer.publish(peer.topic, b"x", 1)


def flowing(silent):
    peer = Peer()
    peer.connect()
    peer.topic = Topic("a")
    peer.silent = silent
    return peer


def test_a_missing_suback_is_noticed_while_messages_are_acknowledged():
    peer = flowing(0)
    peer.subscribe("a", None, 0)
    peer.read_output()
    assert 4900 <= answered_in_time(peer, 20000) <= 5200
    peer = flowing(0)
    assert answered_in_time(peer, 20000) is None


def test_a_missing_puback_is_noticed_while_others_arrive():
    assert 4900 <= answered_in_time(flowing(3), 20000) <= 5800


def test_a_missing_unsuback_is_noticed_while_subacks_arrive():
    peer = flowing(0)
    for name in ("a", "b"):
        peer.subscribe(name, None, 0)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x00") + make_packet(0x90, b"\x80\x01\x00\x00"))
    peer.unsubscribe("a")
    peer.read_output()
    start = peer.now
    error = None
    while not error and peer.now - start < 20000:
        try:
            peer.advance(500)
        except OSError as found:
            error = found
        peer.subscribe("b", None, 0)
        peer.read_output()
        peer.feed(make_packet(0x90, b"\x80\x01\x00\x00"))
    assert error and "UNSUBACK" in str(error) and peer.now - start <= 6000


# ---- credentials


def test_credentials_may_be_functions_that_are_called_at_each_connect():
    tokens = [0]

    def token():
        tokens[0] += 1
        return "token-%d" % tokens[0]

    sim = Simulation(user="device", password=token)
    sim.client.connect()
    sim.stream.closed_by_broker = True
    sim.client.poll(5000)
    assert [read_connect(sim, i).password for i in (0, 1)] == [b"token-1", b"token-2"]
    assert read_connect(sim).user == b"device"
    sim.client.set_credentials(lambda: "other", lambda: None)
    sim.stream.closed_by_broker = True
    sim.client.poll(9000)
    assert read_connect(sim).user == b"other" and read_connect(sim).password is None
    sim.client.set_credentials(None, b"\x00\xff")
    sim.stream.closed_by_broker = True
    sim.client.poll(20000)
    assert read_connect(sim).user is None and read_connect(sim).password == b"\x00\xff"


def test_a_password_function_that_fails_is_reported_and_tried_again():
    errors = []
    results = [RuntimeError("no token"), 5, "good"]

    def token():
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    sim = Simulation(user="u", password=token)
    sim.client.on_error = errors.append
    sim.client.connect(wait=False)
    sim.client.poll(20000)
    assert sim.client.is_connected and read_connect(sim).password == b"good"
    assert [type(error) for error in errors] == [RuntimeError, TypeError]


def test_clean_start_can_be_chosen():
    sim = Simulation(clean_start=False)
    sim.connect_reply = make_connack(present=1)
    assert sim.client.connect() is True and not read_connect(sim).flags & 2
    sim = Simulation()
    assert sim.client.session.clean_start is True
    sim.client.connect()
    assert read_connect(sim).flags & 2 and sim.client.session.clean_start is False
    sim.client.disconnect()
    sim.client.session.clean_start = True
    sim.client.connect()
    assert read_connect(sim).flags & 2


# ---- subscribe and unsubscribe


def subscribed(*arguments, **options):
    """Return the simulation, the Subscription and the body of its SUBSCRIBE."""
    sim = Simulation()
    s = sim.client.subscribe(*arguments, **options)
    sim.client.connect()
    sim.client.poll(10)
    return sim, s, bodies_of_type(sim.stream.written, 0x80)[0]


def test_one_subscribe_carries_several_filters():
    got, told = [], []
    sim, s, body = subscribed(["a/+", "b/#", "$share/g/c"], lambda m: got.append(m.topic), 1)
    number = bytes((s.identifier & 127 | 128, s.identifier >> 7))
    filters = (
        utf8_string(b"a/+") + b"\x01" + utf8_string(b"b/#") + b"\x01" + utf8_string(b"$share/g/c") + b"\x01"
    )
    assert body == b"\x80\x00\x03\x0b" + number + filters
    sim.client.on_subscribed = lambda s, answer: told.append((s.reason, answer.payload))
    sim.stream.inbox += make_packet(0x90, b"\x80\x00\x00\x01\x00\x87")
    sim.client.poll(10)
    assert told == [(0x87, b"\x01\x00\x87")]
    for topic in (b"a/x", b"b", b"b/1/2", b"c", b"d"):
        sim.stream.inbox += publish_packet(topic, b"", 0, 0, b"\x0b" + number)
        sim.stream.inbox += publish_packet(topic, b"")
    sim.client.poll(10)
    assert got == ["a/x", "a/x", "b", "b", "b/1/2", "b/1/2", "c", "c"]
    sim.client.unsubscribe(["a/+", "b/#", "$share/g/c"])
    sim.client.poll(10)
    body = bodies_of_type(sim.stream.written, 0xA0)[0]
    assert body == b"\x80\x00\x00" + utf8_string(b"a/+") + utf8_string(b"b/#") + utf8_string(b"$share/g/c")
    sim.stream.inbox += make_packet(0xB0, b"\x80\x00\x00\x00\x00\x11")
    sim.client.poll(10)
    assert s.is_removed and sim.client.is_connected


def test_subscribe_and_unsubscribe_carry_user_properties():
    user = pack(user_properties=[("app", "logger")])
    _, s, body = subscribed("a", None, properties=user)
    assert (
        body
        == b"\x80\x00"
        + bytes((len(user) + len(identifier_of(b"a")),))
        + identifier_of(b"a")
        + user
        + utf8_string(b"a")
        + b"\x00"
    )
    sim, s, _ = subscribed("a", None)
    sim.stream.inbox += make_packet(0x90, b"\x80\x00\x00\x00")
    sim.client.unsubscribe("a", user)
    sim.client.poll(10)
    body = bodies_of_type(sim.stream.written, 0xA0)[0]
    assert body == b"\x80\x00" + bytes((len(user),)) + user + utf8_string(b"a")


def test_the_subscription_identifier_can_be_chosen_or_omitted():
    got = []
    sim, s, body = subscribed("a", lambda m: got.append(m.payload), identifier=300)
    assert body == b"\x80\x00\x03\x0b\xac\x02" + utf8_string(b"a") + b"\x00"
    sim.stream.inbox += publish_packet(b"a", b"1", 0, 0, b"\x0b\xac\x02")
    sim.client.poll(10)
    assert got == [b"1"]
    _, s, body = subscribed("a", None, identifier=0)
    assert body == b"\x80\x00\x00" + utf8_string(b"a") + b"\x00"


def test_invalid_subscribe_options_raise_value_error():
    client = Simulation().client
    for arguments, options in (
        ((["a", "b#"], None), {}),
        (([], None), {}),
        ((["a" * 2000], None), {}),
        (("a", None), {"identifier": -1}),
        (("a", None), {"identifier": 268435456}),
        (("a", None), {"properties": b"\x0b\x01"}),
        (("a", None), {"properties": b"garbage"}),
        ((["a", "$share/g/b"], None), {"no_local": True}),
    ):
        raises(ValueError, lambda a=arguments, o=options: client.subscribe(*a, **o))
    raises(ValueError, lambda: client.unsubscribe([]))
    raises(TypeError, lambda: client.subscribe("a", None, properties="text"))


# ---- messages


def test_a_handler_refuses_a_message_with_its_own_reason_code():
    got = []

    def handle(message):
        got.append(message.payload)
        message.refuse(0x87)

    sim = Simulation()
    sim.client.subscribe("a", handle, 2)
    sim.client.connect()
    sim.stream.inbox += (
        publish_packet(b"a", b"1", 1, 7) + publish_packet(b"a", b"2", 2, 8) + publish_packet(b"a", b"3")
    )
    sim.client.poll(10)
    assert split_packets(sim.stream.written)[-2:] == [(0x40, b"\x00\x07\x87"), (0x50, b"\x00\x08\x87")]
    sim.stream.inbox += publish_packet(b"a", b"new", 2, 8)  # the refused identifier is free again
    sim.client.poll(10)
    assert got == [b"1", b"2", b"3", b"new"]
    for code in (0, 1, 0x10, 0x81, 0x91, 255):
        raises(ValueError, sim.client.packet.refuse, code)


def test_a_message_prints_its_topic_and_payload():
    texts = []
    sim = Simulation()
    sim.client.subscribe("#", lambda m: texts.append(repr(m)))
    sim.client.on_ack = lambda answer: texts.append(repr(answer))
    sim.client.connect()
    sim.client.publish("a", b"x", 1)
    sim.stream.inbox += publish_packet(b"a/b", b"21.5", 1, 7, flags=1) + publish_packet(b"a", b"x" * 100)
    sim.stream.inbox += make_ack(0x40, 1, 0x87)
    sim.client.poll(10)
    assert texts[0] == "<message topic='a/b' payload=b'21.5' qos=1 retain>"
    assert texts[1].endswith("... (100 bytes) qos=0>")
    assert texts[2] == "<answer packet_id=1 Not authorized (0x87)>"


def test_a_broker_whose_maximum_packet_size_is_too_small_is_refused():
    for size in (1, 2, 3, 4):
        sim = Simulation()
        sim.connect_reply = make_connack(b"\x27\x00\x00\x00" + bytes((size,)))
        error = raises(Exception, sim.client.connect)
        assert error.code == 0x95 and str(size) in str(error)
        assert [first for first, _ in split_packets(sim.stream.written)] == [0x10]
    sim = Simulation()
    sim.connect_reply = make_connack(b"\x27\x00\x00\x00\x05")
    sim.client.connect()
    assert sim.client.is_connected


def test_max_reconnect_delay_above_64_seconds_is_used():
    sim = Simulation()
    sim.client.max_reconnect_delay = 600000
    sim.broker_listens = False
    sim.client.connect(wait=False)
    sim.client.poll(3600000)
    pauses = [b - a for a, b in zip(sim.connect_times, sim.connect_times[1:])]
    assert 200000 <= max(pauses) <= 600100
