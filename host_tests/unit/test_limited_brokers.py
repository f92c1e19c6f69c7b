"""A whole device with brokers that do not support QoS 1, retained messages or large packets (3.2.2.3)."""

import json

from answering_broker import BrokerSimulation
from long_uptime import IS_CPYTHON, Device, Pins

from app.node import publishing
from helper import make_packet, publish_packet
from update_device import KEY, sign

CYCLES = 2  # of `use`, 10 minutes each
MAX_ROUNDS = 3500  # of the main loop in these cycles
STEP = 500  # ms
CHANGES = {
    "tasmota": True,
    "timestamps": True,
    "backlog": {"keep": 8},
    "update": {"key": KEY},
    "health": 200,
    "sensors": [
        {"kind": "analog", "name": "level", "pin": "level", "period": 60, "qos": 2, "retain": True},
        {"kind": "digital", "name": "door", "pin": "door", "period": 300, "qos": 1},
        {"kind": "analog", "name": "flat", "pin": "level", "period": 60},
    ],
}


class LimitedBroker:
    """Limits of a broker, which replies as the standard says; None: the property is not in CONNACK."""

    def __init__(self, sim, max_qos, retain, max_size):
        self.sim = sim
        self.max_qos = 2 if max_qos is None else max_qos
        self.retain = retain is None
        self.max_size = max_size or 1 << 28
        properties = b"" if max_qos is None else bytes((0x24, max_qos))
        properties += b"" if retain is None else b"\x25\x00"
        sim.connack_properties = properties + (b"\x27" + max_size.to_bytes(4, "big") if max_size else b"")
        self.refusals = 0
        sim.replies[0x10] = self.on_connect
        sim.replies[0x30] = self.on_publish
        sim.replies[0x60] = lambda stream, first, body: make_packet(0x70, body[:2])  # PUBREL: PUBCOMP

    def on_connect(self, stream, first, body):
        flags = body[7]
        reason = 0
        if len(body) + 2 > self.max_size and flags & 4:
            reason = 0x95
        elif flags & 0x20 and not self.retain:
            reason = 0x9A  # Retain not supported
        elif flags >> 3 & 3 > self.max_qos:
            reason = 0x9B  # QoS not supported
        if reason:
            self.refusals += 1
            stream.closed_by_broker = True
            return make_packet(0x20, bytes((0, reason, 0)))
        return BrokerSimulation.on_connect(self.sim, stream, first, body)

    def on_publish(self, stream, first, body):
        assert len(body) + 2 <= self.max_size, body
        assert first >> 1 & 3 <= self.max_qos, body
        assert first & 6 or not first & 8, "DUP at QoS 0"
        assert self.retain or not first & 1, body
        return BrokerSimulation.on_publish(self.sim, stream, first, body)


def start(max_qos=None, retain=None, max_size=None, **changes):
    """Return a device, its broker, and start it."""
    del publishing.dropped[:]
    with open("crash.txt", "w") as file:
        file.write("Traceback: something\n" * 20)
    settings = dict(CHANGES)
    settings.update(changes)
    device = Device(0, Pins(), **settings)
    return device, LimitedBroker(device.sim, max_qos, retain, max_size)


def send(device, topic, payload):
    """Send a message to a subscription of the device, and run the loop for 1 s."""
    sim = device.sim
    if topic not in sim.subscription_ids:  # SUBSCRIBE was too large
        return
    sim._packet_id += 1
    sim.stream.inbox += publish_packet(topic, payload, 0, 0, sim.subscription_ids[topic])
    device.run(1000)


def offer_update(device):
    """Send a valid offer of an update, which the device begins to download."""
    line = "umqtt5 update 2 dut host 9 100 %s %s" % ("ab" * 32, device.node._update.load_nonce())
    send(device, b"p/dut/update/set", sign(line))


def use(device):
    """Use all parts of a device, and interrupt its connection; returns the number of rounds of its loop."""
    rounds = [0]
    poll = device.sim.client.poll

    def count(timeout=0):
        rounds[0] += 1
        return poll(timeout)

    device.sim.client.poll = count
    for _ in range(CYCLES):
        for command in (b"ON", b"TOGGLE", b'{"state": "OFF"}', b"nonsense"):
            send(device, b"p/dut/switch/valve/set", command)
            send(device, b"cmnd/dut/POWER2", b"TOGGLE")
        offer_update(device)
        send(device, b"ha/status", b"online")
        device.pins.voltage = None  # the sensor fails
        device.pins.door.set(1 - device.pins.door.level)
        device.run(150_000, STEP)
        device.pins.voltage = 1.0
        device.sim.broker_listens = False
        device.run(120_000, STEP)
        device.pins.door.set(1 - device.pins.door.level)
        device.sim.broker_listens = True
        device.run(330_000, STEP)
    del device.sim.client.poll
    return rounds[0]


def test_a_device_runs_with_each_combination_of_limits():
    for max_qos in (None, 0, 1):
        for retain in (None, 0):
            for max_size in (None, 20, 60, 150) if IS_CPYTHON else (60 + 90 * bool(max_qos),):
                device, broker = start(max_qos, retain, max_size)
                try:
                    device.run(10_000)
                    limits = max_qos, retain, max_size
                    assert device.sim.client.is_connected, limits  # not after the pause of a permanent error
                    assert broker.refusals <= 3
                    rounds = use(device)
                    assert rounds < MAX_ROUNDS, (limits, rounds)
                    client = device.sim.client
                    assert client.is_connected and client.connection_count == 1 + CYCLES, limits
                    assert not client.session.outbox.count, limits
                    assert len(device.node._telemetry.sensors) == 3 and device.node._discovery
                    assert not publishing.dropped or max_size, publishing.dropped
                finally:
                    device.close()


def make_client(properties):
    """Return the simulation of a client that adapts to the limits of its broker, and its answers."""
    sim = BrokerSimulation(outbox=1024)
    sim.connack_properties = properties
    sim.client.session.adapts_to_limits = True
    answers = []
    sim.client.on_ack = lambda answer: answers.append((answer.packet_id, answer.reason))
    return sim, answers


def test_messages_queued_before_connack_are_lowered_and_reported_when_they_are_written():
    sim, answers = make_client(b"\x24\x00\x25\x00")
    client = sim.client
    ids = [client.publish("a/%d" % qos, b"x" * 50, qos=qos, retain=True) for qos in (1, 2)]
    client.connect()
    sim.stream.is_stalled = True
    ids.append(client.publish("a/3", b"x" * 50, qos=1))
    client.poll(10)
    assert len(answers) < 3 and client.session.outbox.count
    sim.stream.is_stalled = False
    client.poll(10)
    client.poll(10)
    assert answers == [(packet_id, 0) for packet_id in ids] and not client.session.outbox.count
    assert [first for first, _ in sim.packets if first & 0xF0 == 0x30] == [0x30] * 3
    assert client.session.messages_refused == 0 and client.session._send_quota == 65535


def test_a_message_that_is_partly_written_is_not_reported_and_its_bytes_stay():
    sim, answers = make_client(b"\x24\x00")
    client = sim.client
    client.connect()
    write = sim.stream.write

    def write_once(buf, at, n):
        sim.stream.write = lambda buf, at, n: None
        n = write(buf, at, 7)
        sim.stream.is_stalled = True
        return n

    sim.stream.write = write_once
    client.publish("a/1", b"1" * 400, qos=1)
    client.poll(10)
    assert answers == [] and client.session.outbox.count == 1
    assert client.publish("a/2", b"2" * 400, qos=1)
    sim.stream.write = write
    sim.stream.is_stalled = False
    client.poll(10)
    client.poll(10)
    assert len(answers) == 2 and [body[-400:] for body in sim.received_bodies(0x30)] == [
        b"1" * 400,
        b"2" * 400,
    ]


def test_qos_2_is_lowered_to_1_and_acknowledged():
    sim, answers = make_client(b"\x24\x01")
    sim.client.connect()
    packet_id = sim.client.publish("a", b"x", qos=2, retain=True)
    sim.client.poll(10)
    assert answers == [(packet_id, 0)] and sim.packets[-1][0] == 0x33


def test_without_qos_1_and_retain_everything_arrives():
    expected = None
    for max_qos, retain in ((None, None), (1, None), (0, None), (0, 0)):
        device, broker = start(max_qos, retain)
        try:
            device.run(10_000)
            use(device)
            found = device.take_messages()
            # the delay of a reconnect is random, so the number of some messages differs
            fixed = [name for name in found if name[:6] == "switch" or name[:3] == "ice"]
            topics = sorted(found), sorted([(name, len(found[name])) for name in fixed])
            expected = expected or topics
            assert len(fixed) == 3 and topics == expected, (max_qos, retain)
            assert len(found["update/request"]) >= CYCLES and len(found["sensor/level"]) >= 12
            assert found["status"] == [b"online"] * (1 + CYCLES) and len(found["crash"]) == 1
            assert json.loads(found["health"][-1].decode()).get("dropped") is None
            assert found["answer"] and found["switch/valve"] and found["backlog"] and found["update"]
            assert found["ha/device/dut/config"[6:]][0]  # the discovery message
        finally:
            device.close()


def test_messages_larger_than_the_broker_accepts_are_reported_once():
    device, broker = start(max_size=150)
    try:
        device.run(10_000)
        use(device)
        found = device.take_messages()
        assert found["status"] and found["sensor/level"] and found["answer"] and "health" not in found
        assert "p/dut/health" in publishing.dropped
        assert len(publishing.dropped) == len(set(publishing.dropped))
    finally:
        device.close()


def test_the_health_counts_the_topics_whose_messages_are_dropped():
    device, broker = start()
    try:
        device.run(10_000)
        assert publishing.publish(device.sim.client, "p/dut/large", bytes(5000)) is True
        assert publishing.publish(device.sim.client, "p/dut/large", bytes(5000), qos=1) is True
        device.take_messages()
        device.run(201_000, STEP)
        assert json.loads(device.take_messages()["health"][-1].decode())["dropped"] == 1
    finally:
        device.close()


def test_a_refusal_that_the_will_does_not_cause_is_not_retried_at_once():
    device, broker = start()
    device.sim.replies[0x10] = lambda stream, first, body: make_packet(0x20, b"\x00\x9b\x00")
    try:
        device.run(300_000, STEP)
        assert len(device.sim.connect_times) == 2  # the second one without QoS of the will
    finally:
        device.close()
