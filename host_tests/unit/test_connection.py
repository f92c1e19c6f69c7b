"""The link as its user sees it: waits, several brokers, what can't mend, counters."""

from errno import ECONNRESET, ETIMEDOUT

from answering_broker import Answers
from simulation import World

from helper import message, packet, raises
from umqtt5.core.errors import MQTTError
from umqtt5.link_statistics import Counters
from umqtt5.optional.broker_failover import attach


def refused(code):
    return b"\x20\x03\x00" + bytes((code, 0))


# ---- publish and wait


def test_publish_waits_for_the_acknowledgement():
    there = Answers()
    there.client.connect()
    heard = []
    there.client.on_ack = heard.append
    for qos in (0, 1):
        assert there.client.publish("a", b"x", qos=qos, wait=True) is True
    assert len(heard) == 1 and len(there.came(0x30)) == 2
    assert there.client.on_ack == heard.append


def test_publish_waits_for_a_link():
    there = Answers()
    there.there = False
    there.client.connect(wait=False)
    there.client.poll(100)
    sleep = there.sleep

    def comes_back(ms):
        sleep(ms)
        there.there = there.now > 3000

    there.sleep = comes_back
    assert there.client._ticks() < 3000
    from umqtt5.core import client as module

    module.sleep_ms = comes_back
    assert there.client.publish("a", b"x", wait=True)
    assert there.now > 3000 and len(there.came(0x30)) == 1


def test_publish_and_wait_raises_the_brokers_words():
    there = Answers()
    there._answers[0x30] = lambda stream, first, body: packet(0x40, body[3:5], b"\x97\x05\x1f\x00\x02no")
    there.client.connect()
    error = raises(MQTTError, lambda: there.client.publish("a", b"x", qos=1, wait=True))
    assert (error.code, error.detail) == (0x97, "no")


def test_publish_and_wait_has_a_deadline_and_the_message_stays():
    there = Answers()
    there._answers[0x30] = lambda stream, first, body: b""
    there.client.connect()
    start = there.now
    error = raises(OSError, lambda: there.client.publish("a", b"x", qos=1, wait=700))
    assert error.errno == ETIMEDOUT and 700 <= there.now - start < 800
    assert there.client.session.outbox.count == 1
    there.client.disconnect()
    error = raises(OSError, lambda: there.client.publish("a", b"x", wait=300))
    assert error.errno == ETIMEDOUT


def test_a_qos_0_message_that_may_be_lost_with_its_link_is_told():
    there = Answers()
    there.client.connect()
    there.stream.stalled = True
    there.client.publish("b", b"before")

    def gone(ms):
        there.stream.gone = True

    there.sleep = gone
    error = raises(OSError, lambda: there.client.publish("a", b"x", wait=True))
    assert error.errno == ECONNRESET


def test_a_handler_can_not_wait():
    there = Answers()
    errors = []
    there.client.on_error = errors.append
    there.client.subscribe("a", lambda m: there.client.publish("b", b"", wait=True))
    there.client.connect()
    there.client.poll(10)
    there.client.publish("a", b"x")
    there.client.poll(10)
    assert [type(error) for error in errors] == [ValueError]


# ---- deadlines


def test_each_wait_has_a_bound_of_its_own():
    world = World(timeout={"connect": 3000, "connack": 700, "ping": 500, "answer": 900, "write": 400})
    world.reachable = False
    assert raises(OSError, world.client.connect).errno == ETIMEDOUT and 3000 <= world.now < 3100
    world.reachable, world.greeting = True, b""
    start = world.now
    assert "CONNACK" in str(raises(OSError, world.client.connect)) and 700 <= world.now - start < 800
    world.greeting = b"\x20\x03\x00\x00\x00"
    for bound, break_it in (
        (900, lambda: world.client.publish("a", b"x", qos=1)),
        (400, lambda: setattr(world.stream, "stalled", True) or world.client.publish("a", b"x")),
    ):
        world.client.connect()
        start, streams = world.now, len(world.streams)
        break_it()
        while world.client.connected and len(world.streams) == streams:
            world.client.poll(50)
            assert world.now - start < 2000
        assert bound <= world.now - start < bound + 100
        world.client.disconnect()


def test_a_bound_that_does_not_exist_is_named():
    assert "pings" in str(raises(ValueError, lambda: World(timeout={"pings": 1})))
    raises(ValueError, lambda: World(timeout={"ping": 0}))


def test_a_loop_of_ones_own_knows_how_long_it_may_sleep():
    world = World(keep_alive=8)
    world.client.connect()
    world.client.poll()
    wait = world.client.next_deadline()
    assert 6000 <= wait <= 7000 and world.client.events() == 1
    world.now += wait
    assert world.client.next_deadline() == 0
    before = world.stream.writes
    world.client.poll()
    assert world.stream.writes == before + 1  # the ping
    world.stream.stalled = True
    world.client.publish("a", b"x")
    assert world.client.events() == 5 and world.client.stream is world.stream


def test_with_connects_and_disconnects():
    world = World()
    with world.client as client:
        assert client.connected
    assert world.stream.written.endswith(b"\xe0\x00") and world.stream.closed


# ---- a transport that takes more than one step to open


class Slow:
    """Two steps: something has to be read, then written."""

    def __init__(self, stream, steps):
        self._stream = stream
        self._steps = steps
        self.readinto, self.write, self.close = stream.readinto, stream.write, stream.close
        self.pollable = stream

    def opening(self):
        return self._steps.pop(0) if self._steps else 0


def test_a_transport_may_take_steps_to_open():
    world = World()
    steps = [4, 4]
    world.client._transport = lambda host, port: Slow(world.connect(host, port), steps)
    world.client.connect()
    assert world.client.connected and steps == []


def test_a_transport_that_never_opens_has_its_deadline():
    world = World(timeout=2000)
    world.greeting = b""
    world.client._transport = lambda host, port: Slow(world.connect(host, port), [1])
    assert raises(OSError, world.client.connect).errno == ETIMEDOUT
    assert 2000 <= world.now < 2100 and world.stream.closed and world.stream.written == b""


# ---- what can not mend


def test_a_refusal_that_can_not_mend_is_not_hammered():
    for code in (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x82):
        world = World()
        world.greeting = refused(code)
        world.client.connect(wait=False)
        world.client.poll(3_600_000)
        assert 3 <= len(world.times) <= 7, (code, len(world.times))  # in an hour
        assert world.client.lasting


def test_a_refusal_that_can_mend_is_tried_again_soon():
    for code in (0x88, 0x89, 0x97, 0x9F):
        world = World()
        world.greeting = refused(code)
        world.client.connect(wait=False)
        world.client.poll(3_600_000)
        assert len(world.times) > 60 and not world.client.lasting


def test_a_fault_in_a_live_connection_can_mend():
    world = World()
    world.client.connect()
    world.stream.inbox = b"\x00\x00"
    world.client.poll(5000)
    assert world.client.connects == 2 and not world.client.lasting


def test_a_broker_that_ignores_our_receive_maximum_still_gets_on():
    """As mosquitto 2.0: where a session is resumed it sends all that it has kept at once."""
    world = World(inflight=4)
    kept = list(range(1, 301))
    taken = []  # PUBREC has come, PUBCOMP has not
    got = []
    world.client.subscribe("a", lambda m: got.append(m.payload), 2)

    def connect(host, port):
        stream = World.connect(world, host, port)
        stream.inbox = packet(0x20, b"\x01" if len(world.streams) > 1 else b"\x00", b"\x00\x00")
        for i in taken:
            stream.inbox += b"\x62\x02" + bytes((i >> 8, i & 255))
        for i in kept:
            stream.inbox += message(b"a", b"%d" % i, 2, i)
        stream.write_before = stream.write

        def write(buf, at, n):
            data = bytes(buf[at : at + n])
            for j in range(len(data) - 3):
                i = data[j + 2] << 8 | data[j + 3]
                if data[j : j + 2] == b"\x70\x02" and i in taken:
                    taken.remove(i)
                if data[j : j + 2] == b"\x50\x02":  # PUBREC, answered as it should be
                    if i in kept:
                        kept.remove(i)
                        taken.append(i)
                        stream.inbox += b"\x62\x02" + bytes((i >> 8, i & 255))
            return stream.write_before(buf, at, n)

        stream.write = write
        return stream

    world.client._transport = connect
    world.client.connect(wait=False)
    while len(got) < 300 and world.now < 60_000:
        world.client.poll(100)
    assert got == [b"%d" % i for i in range(1, 301)], len(got)
    assert len(world.streams) <= 6 and world.now < 10_000


# ---- several brokers


class Hosts(World):
    """Only some of the brokers are up."""

    def __init__(self, hosts, up, **options):
        self.up = up
        self.tried = []
        World.__init__(self, **options)
        attach(self.client, hosts)

    def connect(self, host, port):
        self.tried.append((host, port))
        self.there = host in self.up
        return World.connect(self, host, port)


def test_brokers_are_tried_in_turn():
    world = Hosts(["a", "b:1884", ("c", 1885)], ["c"])
    world.client.connect(wait=False)
    world.client.poll(100)
    assert world.client.connected and world.now <= 100  # no pause in between
    assert world.tried == [("a", 1883), ("b", 1884), ("c", 1885)]


def test_a_pause_comes_when_all_have_failed():
    world = Hosts(["a", "b"], [])
    world.client.connect(wait=False)
    world.client.poll(60_000)
    assert [host for host, _ in world.tried[:4]] == ["a", "b", "a", "b"]
    assert len(world.tried) < 30


def test_after_a_link_that_was_up_the_first_is_the_first():
    world = Hosts(["a", "b"], ["b"])
    world.client.connect(wait=False)
    world.client.poll(60_000)
    assert world.client.connected
    world.up = ["a", "b"]
    world.stream.gone = True
    world.client.poll(5000)
    assert world.client.connected and world.tried[-1] == ("a", 1883)


def test_a_list_of_brokers_is_checked():
    from umqtt5 import Client

    for hosts in ([], ["a:x"], [("a",)], [""]):
        raises(ValueError, lambda hosts=hosts: Client(hosts, transport=print))
    client = Client(["a", ("b", 1)], 1884, transport=print)
    assert (client.host, client.port) == ("a", 1884)


# ---- counters


def test_drops_are_counted_by_cause():
    world = World(timeout=1000)
    counters = Counters(world.client)
    world.there = False
    raises(OSError, world.client.connect)
    world.there = True
    world.greeting = refused(0x88)
    raises(MQTTError, world.client.connect)
    world.greeting = b"\x20\x03\x00\x00\x00"
    world.client.connect()
    for data in (b"\xe0\x01\x8b", b"\x00\x00"):
        world.stream.inbox = data
        world.client.poll(5000)
        assert world.client.connected
    world.client.publish("a", b"x", qos=1)
    while world.client.connects < 4:  # nobody acknowledges it; then it is back
        world.client.poll(100)
    world.client.disconnect()
    figures = counters.read()
    for cause in ("network", "refused", "broker", "protocol", "timeout", "ours"):
        assert figures["drops_" + cause] == 1, (cause, figures)


def test_counters_of_messages_and_of_the_longest_stall():
    there = Answers()
    counters = Counters(there.client)
    there.client.connect()
    there.client.poll(100)
    there.now += 1234
    there.client.poll(5000)
    there._answers[0x30] = lambda stream, first, body: packet(0x40, body[3:5], b"\x97")
    there.client.publish("a", b"x", qos=1)
    there.client.poll(10)
    figures = counters.read()
    assert figures["stall"] == 1234 and figures["refused"] == 1 and figures["messages"] == 1
    assert figures["connects"] == 1 and figures["bytes"] > 0
