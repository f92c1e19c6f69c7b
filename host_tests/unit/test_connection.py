"""Connection of `Client`: waiting, timeouts, handshakes, permanent errors, failover, statistics."""

from errno import ECONNRESET, ETIMEDOUT

from answering_broker import BrokerSimulation
from simulation import SimulatedStream, Simulation

from helper import make_packet, publish_packet, raises
from umqtt5.core import connection
from umqtt5.core.errors import MQTTError
from umqtt5.link_statistics import LinkStatistics
from umqtt5.optional.broker_failover import attach


def refused(code):
    return b"\x20\x03\x00" + bytes((code, 0))


# ---- publish(wait=...)


def test_publish_with_wait_returns_after_the_acknowledgement():
    sim = BrokerSimulation()
    sim.client.connect()
    heard = []
    sim.client.on_ack = heard.append
    for qos in (0, 1):
        assert sim.client.publish("a", b"x", qos=qos, wait=True) is True
    assert len(heard) == 1 and len(sim.received_bodies(0x30)) == 2
    assert sim.client.on_ack == heard.append


def test_publish_with_wait_waits_for_a_connection():
    sim = BrokerSimulation()
    sim.broker_listens = False
    sim.client.connect(wait=False)
    sim.client.poll(100)
    sleep = sim.sleep

    def comes_back(ms):
        sleep(ms)
        sim.broker_listens = sim.now > 3000

    sim.sleep = comes_back
    assert sim.client._ticks_ms() < 3000
    from umqtt5.core import connection as module

    module.sleep_ms = comes_back
    assert sim.client.publish("a", b"x", wait=True)
    assert sim.now > 3000 and len(sim.received_bodies(0x30)) == 1


def test_publish_with_wait_raises_the_brokers_reason_string():
    sim = BrokerSimulation()
    sim.replies[0x30] = lambda stream, first, body: make_packet(0x40, body[3:5], b"\x97\x05\x1f\x00\x02no")
    sim.client.connect()
    error = raises(MQTTError, lambda: sim.client.publish("a", b"x", qos=1, wait=True))
    assert (error.code, error.detail) == (0x97, "no")


def test_publish_with_wait_has_a_deadline_and_keeps_the_message():
    sim = BrokerSimulation()
    sim.replies[0x30] = lambda stream, first, body: b""
    sim.client.connect()
    start = sim.now
    error = raises(OSError, lambda: sim.client.publish("a", b"x", qos=1, wait=700))
    assert error.errno == ETIMEDOUT and 700 <= sim.now - start < 800
    assert sim.client.session.outbox.count == 1
    sim.client.disconnect()
    error = raises(OSError, lambda: sim.client.publish("a", b"x", wait=300))
    assert error.errno == ETIMEDOUT


def test_publish_with_wait_raises_if_a_qos_0_message_may_be_lost():
    sim = BrokerSimulation()
    sim.client.connect()
    sim.stream.is_stalled = True
    sim.client.publish("b", b"before")

    def gone(ms):
        sim.stream.closed_by_broker = True

    sim.sleep = gone
    error = raises(OSError, lambda: sim.client.publish("a", b"x", wait=True))
    assert error.errno == ECONNRESET


def test_publish_with_wait_in_a_handler_raises_value_error():
    sim = BrokerSimulation()
    errors = []
    sim.client.on_error = errors.append
    sim.client.subscribe("a", lambda m: sim.client.publish("b", b"", wait=True))
    sim.client.connect()
    sim.client.poll(10)
    sim.client.publish("a", b"x")
    sim.client.poll(10)
    assert [type(error) for error in errors] == [ValueError]


# ---- timeouts


def test_each_wait_has_its_own_timeout():
    sim = Simulation(timeout={"connect": 3000, "connack": 700, "ping": 500, "ack": 900, "write": 400})
    sim.is_writable = False
    assert raises(OSError, sim.client.connect).errno == ETIMEDOUT and 3000 <= sim.now < 3100
    sim.is_writable, sim.connect_reply = True, b""
    start = sim.now
    assert "CONNACK" in str(raises(OSError, sim.client.connect)) and 700 <= sim.now - start < 800
    sim.connect_reply = b"\x20\x03\x00\x00\x00"
    for bound, break_it in (
        (900, lambda: sim.client.publish("a", b"x", qos=1)),
        (400, lambda: setattr(sim.stream, "is_stalled", True) or sim.client.publish("a", b"x")),
    ):
        sim.client.connect()
        start, streams = sim.now, len(sim.streams)
        break_it()
        while sim.client.is_connected and len(sim.streams) == streams:
            sim.client.poll(50)
            assert sim.now - start < 2000
        assert bound <= sim.now - start < bound + 100
        sim.client.disconnect()


def test_an_unknown_timeout_is_named_in_the_error():
    assert "pings" in str(raises(ValueError, lambda: Simulation(timeout={"pings": 1})))
    raises(ValueError, lambda: Simulation(timeout={"ping": 0}))


def test_next_timeout_and_poll_events_serve_an_external_event_loop():
    sim = Simulation(keep_alive=8)
    sim.client.connect()
    sim.client.poll()
    wait = sim.client.next_timeout()
    assert 6000 <= wait <= 7000 and sim.client.poll_events() == 1
    sim.now += wait
    assert sim.client.next_timeout() == 0
    before = sim.stream.writes
    sim.client.poll()
    assert sim.stream.writes == before + 1  # PINGREQ
    sim.stream.is_stalled = True
    sim.client.publish("a", b"x")
    assert sim.client.poll_events() == 5 and sim.client.stream is sim.stream


def test_a_with_block_connects_and_disconnects():
    sim = Simulation()
    with sim.client as client:
        assert client.is_connected
    assert sim.stream.written.endswith(b"\xe0\x00") and sim.stream.closed


# ---- transports with a handshake


class Slow:
    """A transport whose handshake waits for the poll events in `steps`."""

    def __init__(self, stream, steps):
        self._stream = stream
        self._steps = steps
        self.readinto, self.write, self.close = stream.readinto, stream.write, stream.close
        self.pollable = stream

    def do_handshake(self):
        return self._steps.pop(0) if self._steps else 0


def test_a_transport_may_need_several_handshake_steps():
    sim = Simulation()
    steps = [4, 4]
    sim.client._transport = lambda host, port: Slow(sim.connect(host, port), steps)
    sim.client.connect()
    assert sim.client.is_connected and steps == []


def test_a_handshake_that_never_ends_has_a_deadline():
    sim = Simulation(timeout=2000)
    sim.connect_reply = b""
    sim.client._transport = lambda host, port: Slow(sim.connect(host, port), [1])
    assert raises(OSError, sim.client.connect).errno == ETIMEDOUT
    assert 2000 <= sim.now < 2100 and sim.stream.closed and sim.stream.written == b""


# ---- permanent and temporary errors


def test_a_permanent_refusal_is_retried_rarely():
    for code in (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x82):
        sim = Simulation()
        sim.connect_reply = refused(code)
        sim.client.connect(wait=False)
        sim.client.poll(3_600_000)
        assert 3 <= len(sim.connect_times) <= 7, (code, len(sim.connect_times))  # within one hour
        assert sim.client.has_permanent_error


def test_a_temporary_refusal_is_retried_soon():
    for code in (0x88, 0x89, 0x97, 0x9F):
        sim = Simulation()
        sim.connect_reply = refused(code)
        sim.client.connect(wait=False)
        sim.client.poll(3_600_000)
        assert len(sim.connect_times) > 60 and not sim.client.has_permanent_error


def test_a_protocol_error_in_a_live_connection_is_not_permanent():
    sim = Simulation()
    sim.client.connect()
    sim.stream.inbox = b"\x00\x00"
    sim.client.poll(5000)
    assert sim.client.connection_count == 2 and not sim.client.has_permanent_error


def test_a_broker_that_exceeds_our_receive_maximum_delivers_all_messages():
    """When a session is resumed, mosquitto 2.0 sends all its queued messages at once."""
    sim = Simulation(inflight=4)
    kept = list(range(1, 301))
    taken = []  # PUBREC received, PUBCOMP not yet
    got = []
    sim.client.subscribe("a", lambda m: got.append(m.payload), 2)

    def connect(host, port):
        stream = Simulation.connect(sim, host, port)
        stream.inbox = make_packet(0x20, b"\x01" if len(sim.streams) > 1 else b"\x00", b"\x00\x00")
        for i in taken:
            stream.inbox += b"\x62\x02" + bytes((i >> 8, i & 255))
        for i in kept:
            stream.inbox += publish_packet(b"a", b"%d" % i, 2, i)
        stream.write_before = stream.write

        def write(buf, at, n):
            data = bytes(buf[at : at + n])
            for j in range(len(data) - 3):
                i = data[j + 2] << 8 | data[j + 3]
                if data[j : j + 2] == b"\x70\x02" and i in taken:
                    taken.remove(i)
                if data[j : j + 2] == b"\x50\x02":  # PUBREC: reply with PUBREL
                    if i in kept:
                        kept.remove(i)
                        taken.append(i)
                        stream.inbox += b"\x62\x02" + bytes((i >> 8, i & 255))
            return stream.write_before(buf, at, n)

        stream.write = write
        return stream

    sim.client._transport = connect
    sim.client.connect(wait=False)
    while len(got) < 300 and sim.now < 60_000:
        sim.client.poll(100)
    assert got == [b"%d" % i for i in range(1, 301)], len(got)
    assert len(sim.streams) <= 6 and sim.now < 10_000


# ---- broker failover


class Hosts(Simulation):
    """A simulation with several brokers, of which those in `up` accept connections."""

    def __init__(self, hosts, up, **options):
        self.up = up
        self.tried = []
        Simulation.__init__(self, **options)
        attach(self.client, hosts)

    def connect(self, host, port):
        self.tried.append((host, port))
        self.broker_listens = host in self.up
        return Simulation.connect(self, host, port)


def test_brokers_are_tried_in_turn():
    sim = Hosts(["a", "b:1884", ("c", 1885)], ["c"])
    sim.client.connect(wait=False)
    sim.client.poll(100)
    assert sim.client.is_connected and sim.now <= 100  # without a pause
    assert sim.tried == [("a", 1883), ("b", 1884), ("c", 1885)]


def test_the_client_pauses_after_all_brokers_failed():
    sim = Hosts(["a", "b"], [])
    sim.client.connect(wait=False)
    sim.client.poll(60_000)
    assert [host for host, _ in sim.tried[:4]] == ["a", "b", "a", "b"]
    assert len(sim.tried) < 30


def test_after_a_lost_connection_the_first_broker_is_tried_first():
    sim = Hosts(["a", "b"], ["b"])
    sim.client.connect(wait=False)
    sim.client.poll(60_000)
    assert sim.client.is_connected
    sim.up = ["a", "b"]
    sim.stream.closed_by_broker = True
    sim.client.poll(5000)
    assert sim.client.is_connected and sim.tried[-1] == ("a", 1883)


def test_an_invalid_list_of_brokers_raises_value_error():
    from umqtt5 import Client

    for hosts in ([], ["a:x"], [("a",)], [""]):
        raises(ValueError, lambda hosts=hosts: Client(hosts, transport=print))
    client = Client(["a", ("b", 1)], 1884, transport=print)
    assert (client.host, client.port) == ("a", 1884)


# ---- statistics


def test_disconnects_are_counted_by_cause():
    sim = Simulation(timeout=1000)
    statistics = LinkStatistics(sim.client)
    sim.broker_listens = False
    raises(OSError, sim.client.connect)
    sim.broker_listens = True
    sim.connect_reply = refused(0x88)
    raises(MQTTError, sim.client.connect)
    sim.connect_reply = b"\x20\x03\x00\x00\x00"
    sim.client.connect()
    for data in (b"\xe0\x01\x8b", b"\x00\x00"):
        sim.stream.inbox = data
        sim.client.poll(5000)
        assert sim.client.is_connected
    sim.client.publish("a", b"x", qos=1)
    while sim.client.connection_count < 4:  # no PUBACK arrives, and the client reconnects
        sim.client.poll(100)
    sim.client.disconnect()
    figures = statistics.snapshot()
    for cause in ("network", "refused", "broker", "protocol", "timeout", "ours"):
        assert figures["drops_" + cause] == 1, (cause, figures)


def test_messages_and_the_longest_poll_gap_are_counted():
    sim = BrokerSimulation()
    statistics = LinkStatistics(sim.client)
    sim.client.connect()
    sim.client.poll(100)
    sim.now += 1234
    sim.client.poll(5000)
    sim.replies[0x30] = lambda stream, first, body: make_packet(0x40, body[3:5], b"\x97")
    sim.client.publish("a", b"x", qos=1)
    sim.client.poll(10)
    figures = statistics.snapshot()
    assert figures["stall"] == 1234 and figures["refused"] == 1 and figures["messages"] == 1
    assert figures["connects"] == 1 and figures["bytes"] > 0


# ---- the end of a connection


class PatientStream(SimulatedStream):
    """A broker that does not close the connection when it receives DISCONNECT, until `closed_by_broker`."""

    def write(self, buf, at, n):
        n = SimulatedStream.write(self, buf, at, n)
        self.closed_by_broker = False
        return n


def exceed_receive_maximum():
    """Return a simulation whose broker has sent more QoS 2 messages than the client can store."""
    sim = Simulation(inflight=1)
    sim.client._transport = lambda host, port: sim.streams.append(PatientStream(sim)) or sim.stream
    sim.client.connect()
    sim.stream.inbox += b"".join([publish_packet(b"a", b"x", 2, i) for i in range(1, 66)])
    sim.client.poll()
    assert sim.stream.written.endswith(b"\xe0\x01\x93")
    return sim


def test_after_0x93_the_client_waits_until_the_broker_has_closed_the_connection():
    """If it closed the stream while bytes arrive, TCP would reset it, and the broker could lose PUBRECs."""
    sim = exceed_receive_maximum()
    stream = sim.stream
    stream.inbox += b"more"
    sim.client.poll(100)
    assert not stream.closed and not stream.inbox, "received bytes are read and ignored"
    stream.closed_by_broker = True
    sim.client.poll()
    assert stream.closed and sim.client.error.code == 0x93


def test_after_0x93_the_client_waits_for_the_broker_for_one_second():
    sim = exceed_receive_maximum()
    stream = sim.stream
    sim.client.poll(900)
    assert not stream.closed
    sim.client.poll(200)
    assert stream.closed and sim.client.error.code == 0x93


def test_disconnect_reads_what_has_arrived_before_it_closes_the_stream():
    sim = Simulation(rx=64)
    sim.client.connect()
    sim.stream.inbox += publish_packet(b"a", b"x") * 40
    sim.client.disconnect()
    assert sim.stream.closed and not sim.stream.inbox and sim.stream.written.endswith(b"\xe0\x00")
    assert sim.client.error is None


# ---- calls of a scheduled function during a wait


def call_during_sleep(sim, at, function):
    """Call `function` when a wait of the client has lasted until `at` ms, as a scheduled function."""
    sleep = sim.sleep
    called = []

    def sleep_and_call(ms):
        if not called and sim.now + ms > at:
            called.append(True)
            function()
        sleep(ms)

    sim.sleep = sleep_and_call
    connection.sleep_ms = sleep_and_call


def test_disconnect_during_a_blocking_connect_ends_it():
    sim = Simulation()
    client = sim.client
    poll_once = client._poll_once

    def interrupted_poll():
        client._should_connect = True
        client.disconnect()  # a scheduled function, just before the round
        client._poll_once = poll_once
        return poll_once()

    client._poll_once = interrupted_poll
    client.connect()
    assert sim.now < 2000 and not client.is_connected


def test_connect_during_a_poll_without_connection_connects_soon():
    sim = Simulation()
    sim.client.connect()
    sim.client.disconnect()
    call_during_sleep(sim, 3000, lambda: sim.client.connect(wait=False))
    sim.client.poll(60000)
    assert sim.client.is_connected
    assert sim.connect_times[1] < 6000, sim.connect_times


def test_a_connection_that_lasts_until_the_ticks_wrap_around_resets_the_back_off():
    for ms in (29_000, 31_000, 1 << 29, (1 << 30) + 5_000):
        sim = BrokerSimulation(keep_alive=0)
        sim.broker_listens = False
        sim.client.connect(wait=False)
        while len(sim.connect_times) < 6:
            sim.client.poll(1000)
        sim.broker_listens = True
        while not sim.client.is_connected:
            sim.client.poll(1000)
        ends = sim.now + ms
        while sim.now < ends:
            sim.client.poll(max(1, min(10_000_000, ends - sim.now)) if ms > 100_000 else 1000)
        sim.stream.closed_by_broker = True
        lost_at = sim.now
        attempts = len(sim.connect_times)
        while len(sim.connect_times) == attempts:
            sim.client.poll(100)
        delay = sim.connect_times[-1] - lost_at
        assert (delay <= 1200) == (ms > 30_000), (ms, delay)
