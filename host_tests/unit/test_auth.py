"""Enhanced authentication: AUTH packets, SCRAM-SHA-256, reauthentication, deadlines, hostile brokers."""

from answering_broker import (
    AnsweringStream,
    BrokerSimulation,
    ScramServer,
    auth_packet,
    auth_properties,
    read_string,
)

from helper import make_packet, raises, utf8_string
from umqtt5.core.errors import MQTTError
from umqtt5.scram import Scram

METHOD = b"\x15" + utf8_string(b"SCRAM-SHA-256")
CONTINUE = b"\x18"


def nonce(n):
    """Return a constant nonce; the 32-bit VM has no `os.urandom`."""
    return bytes(range(n))


def scram(password="pencil", **options):
    return Scram("user", password, random=nonce, **options)


def connected_sim(password="pencil", connect=True, **options):
    """Return a simulation whose client authenticates with SCRAM."""
    sim = BrokerSimulation(**options)
    sim.client.auth = scram(password)
    if connect:
        sim.client.connect()
    return sim


class Words:
    """An authentication method that returns the given answers and stores the data it receives."""

    method = "words"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.heard = []

    def start(self):
        return b"hello"

    def challenge(self, data):
        self.heard.append(data)
        return self.answers.pop(0)

    def work(self):
        return self.answers.pop(0)

    def finish(self, data):
        self.heard.append(data)


class Scripted(BrokerSimulation):
    """A broker that replies to CONNECT and to each AUTH with the next packet of `lines`."""

    def __init__(self, *lines, **options):
        BrokerSimulation.__init__(self, **options)
        self.lines = list(lines)

    def on_connect(self, stream, first, body):
        return self.lines.pop(0) if self.lines else b""

    on_auth = on_connect


def fail_to_connect(*lines, **options):
    """Connect with the method `words`, or none if options are given; returns the error and written bytes."""
    sim = Scripted(*lines)
    sim.client.auth = Words(b"one", b"two")
    if options:
        sim.client.auth = None
    error = raises(MQTTError, sim.client.connect)
    assert not sim.client.is_connected
    return error, sim.streams[0].written


ACCEPTED = make_packet(0x20, b"\x00\x00" + auth_properties(b"done", b"words"))


# ---- the SCRAM method


def test_the_example_of_rfc_7677_is_computed():
    method = Scram("user", "pencil", random=lambda n: b"")
    method.start()
    # replace the generated nonce by that of the example
    method._nonce = b"rOprNGfwEbeRWgbNEkqO"
    method._first = b"n=user,r=rOprNGfwEbeRWgbNEkqO"
    final = method.challenge(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    while final is None:
        final = method.work()
    assert final == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    method.finish(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_special_characters_in_a_user_name_are_escaped():
    method = Scram("a=b,c", "x", random=nonce)
    assert method.start().startswith(b"n,,n=a=3Db=2Cc,r=")


def test_an_invalid_server_first_message_raises_value_error():
    good = b"r=" + b"AAECAwQFBgcICQoLDA0ODxAR" + b"more,s=MDEy,i=4096"
    method = scram()
    assert method.start() == b"n,,n=user,r=AAECAwQFBgcICQoLDA0ODxAR"
    assert method.challenge(good) is None
    for bad in (
        b"",
        b"r=,s=,i=",
        b"\x00\xff" * 20,
        good.replace(b"AAEC", b"BBBB"),  # not the client's nonce
        good.replace(b"more", b""),  # no server nonce added
        good.replace(b"MDEy", b""),
        good.replace(b"MDEy", b"MDE"),
        good.replace(b"MDEy", b"M*Ey"),
        good.replace(b"MDEy", b"MDEyYQ==YQ=="),
        good.replace(b"4096", b"4095"),  # too few iterations
        good.replace(b"4096", b"32769"),  # too many iterations
        good.replace(b"4096", b"9" * 500),
        good.replace(b"4096", b"-5000"),
        good.replace(b"4096", b" 5000"),
        good.replace(b"4096", b""),
        b"m=new," + good,
        good + b"x" * 2000,
    ):
        method.start()
        raises(ValueError, method.challenge, bad)
    for i in range(len(good)):
        for byte in b"\x00,=\xff":
            method.start()
            try:
                method.challenge(good[:i] + bytes((byte,)) + good[i + 1 :])
            except ValueError:
                pass
    method.start()
    method.challenge(good)
    raises(ValueError, method.challenge, good)  # a second challenge


def test_only_the_correct_server_signature_is_accepted():
    server = ScramServer()
    method = scram()
    final = method.challenge(server.server_first_message(method.start()))
    while final is None:
        final = method.work()
    signature = server.server_final_message(final)
    for bad in (b"", b"v=", b"e=other-error", b"v=" + b"A" * 44, signature[:-1], b"\xff" * 3000):
        before = method._first, method._signature
        raises(ValueError, method.finish, bad)
        method._first, method._signature = before
    method.finish(signature)
    raises(ValueError, method.finish, signature)  # a second time


def test_a_connack_without_an_exchange_raises_value_error():
    method = scram()
    method.start()
    raises(ValueError, method.finish, b"")
    raises(ValueError, method.finish, b"v=")


def test_the_iterations_are_computed_once_for_a_salt():
    sim = connected_sim()
    assert sim.client.auth.challenge and sim.scram.exchanges == 1
    sim.stream.closed_by_broker = True
    sim.client.poll(2000)
    assert sim.client.is_connected and sim.scram.exchanges == 2
    server = ScramServer()
    assert sim.client.auth.challenge(server.server_first_message(sim.client.auth.start())) is not None


# ---- authentication while connecting


def test_connect_carries_authentication_method_and_data():
    sim = connected_sim()
    first = b"n,,n=user,r=AAECAwQFBgcICQoLDA0ODxAR"
    assert METHOD + b"\x16" + utf8_string(first) in sim.received_bodies(0x10)[0]
    assert sim.client.is_connected


def test_the_client_replies_to_auth_with_continue_and_the_same_method():
    """[MQTT-4.12.0-3], [MQTT-4.12.0-5], [MQTT-3.15.2-1]"""
    sim = connected_sim()
    (body,) = sim.received_bodies(0xF0)
    assert body[:1] == CONTINUE and body[2:18] == METHOD
    assert read_string(body, 19)[0].startswith(b"c=biws,r=AAECAwQFBgcICQoLDA0ODxAR1,p=")
    assert len(body) == 2 + body[1]  # method and data, and nothing after them


def test_before_connack_only_auth_is_sent():
    """[MQTT-3.1.2-30]"""
    sim = connected_sim(connect=False)
    sim.client.subscribe("a", None)
    sim.client.publish("b", b"x", qos=1)
    sim.client.connect()
    sim.client.poll(10)
    assert [first for first, _ in sim.packets[:2]] == [0x10, 0xF0]
    assert [first for first, _ in sim.packets[2:]] == [0x82, 0x32]


def test_there_may_be_several_challenges_and_empty_responses():
    sim = Scripted(
        auth_packet(0x18, b"1", b"words"),
        make_packet(0xF0, b"\x18\x08\x15" + utf8_string(b"words")),
        ACCEPTED,
    )
    sim.client.auth = method = Words(b"", b"two")
    sim.client.connect()
    assert method.heard == [b"1", b"", b"done"]
    assert sim.received_bodies(0xF0) == [
        b"\x18\x0b\x15" + utf8_string(b"words") + b"\x16\x00\x00",
        b"\x18\x0e\x15" + utf8_string(b"words") + b"\x16" + utf8_string(b"two"),
    ]


def test_a_wrong_password_is_refused_by_the_broker():
    """[MQTT-4.12.0-4]"""
    sim = connected_sim("pen", connect=False)
    assert raises(MQTTError, sim.client.connect).code == 0x87
    assert not sim.client.is_connected and sim.stream.closed


def test_a_method_that_the_broker_does_not_support_is_refused():
    """[MQTT-4.12.0-1]"""
    error, _ = fail_to_connect(make_packet(0x20, b"\x00\x8c\x00"))
    assert error.code == 0x8C


def test_a_broker_that_does_not_know_the_password_is_refused():
    sim = connected_sim(connect=False)
    sim.scram.knows_password = False
    error = raises(MQTTError, sim.client.connect)
    assert error.code == 0x80 and "has not proved" in error.detail
    assert sim.stream.written.endswith(b"\xe0\x01\x80") and sim.stream.closed


def test_another_authentication_method_ends_with_0x82():
    """[MQTT-4.12.0-5]"""
    for lines in (
        (auth_packet(0x18, b"1", b"other"),),
        (make_packet(0xF0, b"\x18\x04\x16" + utf8_string(b"1")),),
        (make_packet(0x20, b"\x00\x00\x00"),),
        (make_packet(0x20, b"\x00\x00" + auth_properties(b"", b"other")),),
        (auth_packet(0x18, b"1", b"words"), make_packet(0x20, b"\x00\x00\x00")),
    ):
        error, written = fail_to_connect(*lines)
        assert error.code == 0x82 and written.endswith(b"\xe0\x01\x82"), lines


def test_invalid_auth_packets_end_with_a_reason_code():
    """[MQTT-3.15.1-1], [MQTT-3.15.2-1], [MQTT-4.12.0-2]"""
    for line, code in (
        (b"\xf1" + auth_packet(0x18, b"", b"words")[1:], 0x81),
        (auth_packet(0x00, b"", b"words"), 0x82),  # CONNACK reports success, not AUTH
        (auth_packet(0x19, b"", b"words"), 0x82),
        (auth_packet(0x87, b"", b"words"), 0x82),
        (b"\xf0\x00", 0x82),
        (b"\xf0\x01\x18", 0x82),
        (make_packet(0xF0, b"\x18\x05\x15" + utf8_string(b"words")), 0x81),
        (make_packet(0xF0, b"\x18\x08\x15" + utf8_string(b"words") + b"x"), 0x81),
        (make_packet(0xF0, b"\x18\x09\x15" + utf8_string(b"words") + b"\x1f"), 0x81),
        (make_packet(0xF0, b"\x18\x0a\x15" + utf8_string(b"words") + b"\x01\x00"), 0x81),  # wrong property
        (make_packet(0xF0, b"\x18\x10" + (b"\x15" + utf8_string(b"words")) * 2), 0x82),
    ):
        error, written = fail_to_connect(line)
        assert error.code == code and written.endswith(bytes((0xE0, 1, code))), line
        assert b"\x16\x00\x03one" not in written, line  # it has not answered the AUTH


def test_authentication_without_a_method_ends_with_0x82():
    """[MQTT-4.12.0-6]"""
    for line in (auth_packet(0x18, b""), make_packet(0x20, b"\x00\x00" + auth_properties(b""))):
        error, written = fail_to_connect(line, none=True)
        assert error.code == 0x82 and written.endswith(b"\xe0\x01\x82")


def test_an_unexpected_auth_in_a_live_connection_ends_with_0x82():
    """[MQTT-4.12.0-6]"""
    for sim in (connected_sim(), BrokerSimulation()):
        sim.client.connect()
        sim.stream.inbox = auth_packet(0x18, b"")
        sim.client.poll()
        assert sim.streams[0].written.endswith(b"\xe0\x01\x82")


def test_a_method_that_raises_ends_the_connection_with_0x80():
    class Broken(Words):
        def challenge(self, data):
            raise KeyError("no card")

    sim = Scripted(auth_packet(0x18, b"1", b"words"))
    sim.client.auth = Broken()
    error = raises(MQTTError, sim.client.connect)
    assert error.code == 0x80 and "no card" in error.detail
    assert sim.stream.written.endswith(b"\xe0\x01\x80")
    for answer in ("text", 1.5):
        sim = Scripted(auth_packet(0x18, b"1", b"words"))
        sim.client.auth = Words(answer)
        assert raises(MQTTError, sim.client.connect).code == 0x80
    sim = Scripted(auth_packet(0x18, b"1", b"words"))
    sim.client.auth = Broken()
    sim.client.auth.challenge = lambda data: None
    sim.client.auth.work = None  # as if the method had no `work`
    assert raises(MQTTError, sim.client.connect).code == 0x80


def test_a_method_that_fails_in_start_sends_nothing():
    def broken():
        raise KeyError("no card")

    sim = Scripted()
    sim.client.auth = method = Words()
    method.start = broken
    error = raises(MQTTError, sim.client.connect)
    assert error.code == 0x80 and "no card" in error.detail
    assert sim.stream.written == b"" and sim.stream.closed


def test_an_exchange_has_a_deadline():
    sim = Scripted(auth_packet(0x18, b"1", b"words"), timeout=3000)
    sim.client.auth = Words(b"one")
    assert "no CONNACK" in str(raises(OSError, sim.client.connect))
    assert sim.now <= 3100


def test_long_computations_are_done_between_polls():
    sim = Scripted(auth_packet(0x18, b"1", b"words"), ACCEPTED, timeout=3000)
    sim.client.auth = Words(None, None, None, b"three")
    sim.client.connect(wait=False)
    rounds = 0
    while not sim.client.is_connected:
        sim.client.poll()
        sim.now += 2000  # longer than `timeout` in total, but the broker does not cause the delay
        rounds += 1
        assert rounds < 20
    assert sim.received_bodies(0xF0)[0].endswith(utf8_string(b"three")) and len(sim.streams) == 1


def test_a_failed_long_computation_ends_the_connection_at_once():
    def broken():
        raise KeyError("no card")

    for work, code in ((broken, 0x80), (lambda: b"x" * 2000, 0x83)):
        sim = Scripted(auth_packet(0x18, b"1", b"words"))
        sim.client.auth = method = Words(None)
        method.work = work
        assert raises(MQTTError, sim.client.connect).code == code
        assert sim.now < 100 and sim.stream.written.endswith(bytes((0xE0, 1, code)))


def test_a_response_waits_until_it_fits_into_the_tx_buffer():
    sim = Scripted(auth_packet(0x18, b"1", b"words"), timeout=1000)
    sim.client.auth = Words(b"x" * 30, b"y" * 30)
    sim.lines += [ACCEPTED]
    sim.client.connect()
    sim.stream.inbox = b""
    sim.lines = [b"", make_packet(0xF0, b"\x00" + auth_properties(b"", b"words"))]
    assert sim.client.reauthenticate(wait=False)
    sim.stream.is_stalled = True
    while sim.client.publish("a", b"z" * 100):
        pass
    sim.stream.inbox = auth_packet(0x18, b"1", b"words")
    before = sim.now
    sim.client.poll(100)
    assert sim.now - before >= 100 and len(sim.received_bodies(0xF0)) == 2
    sim.stream.is_stalled = False
    sim.client.poll(100)
    assert sim.received_bodies(0xF0)[-1].endswith(b"y" * 30)
    assert sim.client.is_connected and sim.client.reauthenticate(wait=False)


def test_poll_computes_a_few_scram_iterations_at_a_time():
    sim = connected_sim(connect=False)
    sim.client.connect(wait=False)
    rounds = 0
    while not sim.client.is_connected:
        sim.client.poll()
        rounds += 1
    assert 100 < rounds < 200  # 4096 iterations, a few per poll


def test_a_response_larger_than_the_tx_buffer_ends_with_0x83():
    sim = Scripted(auth_packet(0x18, b"1", b"words"), tx=128)
    sim.client.auth = Words(b"x" * 200)
    error = raises(MQTTError, sim.client.connect)
    assert error.code == 0x83 and "tx" in error.detail


def test_an_exchange_works_if_each_read_returns_one_byte():
    class Dripping(AnsweringStream):
        def readinto(self, buf, n):
            return AnsweringStream.readinto(self, buf, min(n, 1))

    sim = connected_sim(connect=False)
    sim.client._transport = lambda host, port: sim.streams.append(Dripping(sim)) or sim.stream
    sim.client.connect()
    assert sim.client.is_connected and sim.client.reauthenticate()


def test_after_a_cut_at_any_byte_the_client_connects():
    class Cut(AnsweringStream):
        left = 0

        def readinto(self, buf, n):
            n = min(n, self.bytes_left)
            if not n and self.inbox:
                return 0
            n = AnsweringStream.readinto(self, buf, n)
            self.bytes_left -= n or 0
            return n

        def write(self, buf, at, n):
            if self.bytes_left < n:
                AnsweringStream.write(self, buf, at, self.bytes_left)
                raise OSError(104)
            self.bytes_left -= n
            return AnsweringStream.write(self, buf, at, n)

    sim = connected_sim()
    whole = sum([len(stream.written) for stream in sim.streams]) + 250
    method = sim.client.auth
    for left in range(whole):
        sim = BrokerSimulation()
        sim.client.auth = method  # the key is already computed

        def connect(host, port, sim=sim, left=left):
            stream = AnsweringStream(sim) if sim.streams else Cut(sim)
            stream.bytes_left = left
            sim.streams.append(stream)
            return stream

        sim.client._transport = connect
        sim.client.connect(wait=False)
        sim.client.poll(3000)
        if sim.client.is_connected and sim.client.reauthenticate(wait=False):
            sim.client.poll(3000)
        assert sim.client.is_connected and len(sim.streams) <= 2, left
        if len(sim.streams) == 2:
            assert sim.client.reauthenticate()


def test_any_wrong_byte_in_an_exchange_ends_with_a_reason_code():
    """[MQTT-4.12.0-5]"""
    method = connected_sim().client.auth  # the key is already computed
    challenge = auth_packet(0x18, ScramServer().server_first_message(method.start()))
    accepted = b"\x20" + challenge[1:2] + b"\x00\x00" + challenge[3:]
    for line in (challenge, accepted):
        for at in range(len(line)):
            for bits in (0x01, 0x80, 0xFF):
                wrong = bytearray(line)
                wrong[at] ^= bits
                sim = Scripted(bytes(wrong), accepted, timeout=1000)
                sim.client.auth = method
                try:
                    sim.client.connect()
                    raise AssertionError("accepted without a proof")
                except MQTTError as error:
                    refused = wrong[0] == 0x20 and wrong[3]  # refused by the broker
                    assert refused or sim.stream.written.endswith(bytes((0xE0, 1, error.code))), wrong
                except OSError:  # the client waits for more bytes
                    assert at == 1, wrong
                assert sim.stream.closed


# ---- reauthentication


def test_reauthentication_starts_with_reason_0x19_and_the_same_method():
    """[MQTT-4.12.1-1], [MQTT-4.12.0-5]"""
    sim = connected_sim()
    assert sim.client.reauthenticate() is True
    again, last = sim.received_bodies(0xF0)[1:]
    assert again[:1] == b"\x19" and again[2:18] == METHOD
    assert read_string(again, 19)[0] == b"n,,n=user,r=AAECAwQFBgcICQoLDA0ODxAR"
    assert last[:1] == CONTINUE and sim.scram.exchanges == 2
    assert sim.client.is_connected and len(sim.streams) == 1
    assert sim.client.reauthenticate() is True


def test_messages_are_exchanged_during_reauthentication():
    sim = connected_sim()
    got = []
    sim.client.subscribe("a", lambda m: got.append(m.payload))
    sim.client.poll(10)
    answer = sim.on_auth
    sim.replies[0xF0] = lambda stream, first, body: b""  # the broker does not reply yet
    assert sim.client.reauthenticate(wait=False) is True
    assert sim.client.reauthenticate(wait=False) is False  # only one at a time
    sim.client.publish("a", b"1", qos=1)
    sim.client.poll(10)
    assert got == [b"1"] and sim.client.is_connected
    sim.replies[0xF0] = answer
    sim.stream.inbox = answer(sim.stream, 0xF0, sim.received_bodies(0xF0)[-1])
    sim.client.poll(100)
    assert sim.client.reauthenticate(wait=False) is True


def test_a_failed_reauthentication_closes_the_connection():
    """[MQTT-4.12.1-2]"""
    sim = connected_sim()
    sim.scram.knows_password = False
    error = raises(MQTTError, sim.client.reauthenticate)
    assert error.code == 0x80 and sim.streams[0].written.endswith(b"\xe0\x01\x80")

    sim = connected_sim()
    sim.replies[0xF0] = lambda stream, first, body: b"\xe0\x01\x87"  # the broker disconnects
    assert raises(MQTTError, sim.client.reauthenticate).code == 0x87
    assert sim.streams[0].closed


def test_reauthentication_has_a_deadline():
    sim = connected_sim(timeout=3000)
    sim.replies[0xF0] = lambda stream, first, body: b""
    start = sim.now
    raises(OSError, sim.client.reauthenticate)
    assert sim.now - start <= 3100 and sim.streams[0].closed


def test_the_deadline_ends_with_the_reauthentication():
    sim = connected_sim(timeout=3000)
    assert sim.client.reauthenticate()
    sim.client.poll(20_000)
    assert sim.client.is_connected and len(sim.streams) == 1


def test_reauthentication_needs_a_method_and_a_connection():
    """[MQTT-4.12.0-7]"""
    sim = BrokerSimulation()
    sim.client.connect()
    before = sim.stream.written
    raises(ValueError, sim.client.reauthenticate)
    assert sim.stream.written == before
    assert connected_sim(connect=False).client.reauthenticate() is False


def test_reauthentication_obeys_the_brokers_maximum_packet_size():
    """[MQTT-3.2.2-15]"""
    sim = connected_sim(connect=False)
    sim.connack_properties = b"\x27\x00\x00\x00\x28"
    sim.client.connect()
    before = sim.stream.written
    assert raises(MQTTError, sim.client.reauthenticate).code == 0x95
    assert sim.stream.written == before and sim.client.is_connected


def test_the_method_can_only_change_between_connections():
    sim = connected_sim()
    sim.client.auth = None
    raises(ValueError, sim.client.connect)
    sim.client.disconnect()
    sim.client.connect()
    assert METHOD not in sim.received_bodies(0x10)[-1] and sim.client.auth is None
