"""`strict=True`: payloads declared as UTF-8 are checked, and the client's Receive Maximum is enforced."""

from simulation import Simulation

from helper import make_packet, publish_packet

TEXT = b"\x01\x01"  # Payload Format Indicator: UTF-8


def connected(strict=True, **options):
    """Return a simulation with a strict client, the payloads its handler receives, and its errors."""
    sim = Simulation(strict=strict, **options)
    got, errors = [], []
    sim.client.on_error = errors.append
    sim.client.subscribe("a", lambda m: got.append(m.payload), qos=2)
    sim.client.connect()
    sim.client.poll(10)
    arrives(sim, make_packet(0x90, b"\x80\x00\x00\x02"))
    return sim, got, errors


def arrives(sim, data):
    """Let bytes arrive in one piece; returns what the client writes in reply."""
    before = len(sim.stream.written)
    sim.stream.inbox = data
    sim.client.poll(10)
    return sim.streams[0].written[before:]


def test_a_payload_that_is_not_utf_8_as_declared_is_refused():
    """[MQTT-3.3.4-1], [MQTT-3.4.2-1], [MQTT-3.5.2-1]"""
    sim, got, errors = connected()
    bad = b"\xff"
    assert arrives(sim, publish_packet(b"a", bad, 1, 7, TEXT)) == b"\x40\x03\x00\x07\x99"
    assert arrives(sim, publish_packet(b"a", bad, 2, 8, TEXT)) == b"\x50\x03\x00\x08\x99"
    assert arrives(sim, publish_packet(b"a", bad, 0, 0, TEXT)) == b""
    assert got == [] and [error.code for error in errors] == [0x99] * 3
    # the packet identifier of the refused message is free again
    assert arrives(sim, publish_packet(b"a", b"x", 2, 8, TEXT)) == b"\x50\x02\x00\x08"
    assert got == [b"x"] and len(sim.streams) == 1


def test_declared_payloads_are_checked_for_valid_utf_8():
    sim, got, _ = connected()
    texts = [b"", b"plain", "é\u20ac\U0001f600".encode(), b"a\x00b", b"\x00", b"\x00\xc3\xa9\x00"]
    for data in texts:
        arrives(sim, publish_packet(b"a", data, properties=TEXT))
    assert got == texts  # a payload may contain U+0000, unlike an MQTT string
    for data in (
        b"\x80",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"a\x00\xc3",
        b"\xc0\x80",
        b"\xc3\x00",
    ):
        arrives(sim, publish_packet(b"a", data, properties=TEXT))
    assert got == texts


def test_undeclared_payloads_are_not_checked():
    sim, got, _ = connected()
    arrives(sim, publish_packet(b"a", b"\xff") + publish_packet(b"a", b"\xfe", properties=b"\x01\x00"))
    assert got == [b"\xff", b"\xfe"]
    sim, got, _ = connected(strict=False)
    arrives(sim, publish_packet(b"a", b"\xff", properties=TEXT))
    assert got == [b"\xff"]


def qos_1(*packet_ids):
    return b"".join([publish_packet(b"a", b"x", 1, i) for i in packet_ids])


def test_more_qos_1_messages_than_the_receive_maximum_end_with_0x93():
    """[MQTT-3.3.4-9]"""
    sim, got, _ = connected(inflight=3)
    assert arrives(sim, qos_1(1, 2, 3, 4)).endswith(b"\xe0\x01\x93")
    assert len(got) == 3 and sim.streams[0].closed
    sim, got, _ = connected(strict=False, inflight=3)
    arrives(sim, qos_1(*range(1, 10)))
    assert len(got) == 9 and len(sim.streams) == 1


def test_acknowledged_messages_free_the_receive_maximum():
    sim, got, _ = connected(inflight=3)
    for _ in range(20):
        arrives(sim, qos_1(1, 2, 3))
    assert len(got) == 60 and len(sim.streams) == 1


def test_qos_2_messages_count_until_their_pubrel():
    """[MQTT-3.3.4-9]"""
    sim, got, _ = connected(inflight=3)
    arrives(sim, publish_packet(b"a", b"x", 2, 1) + publish_packet(b"a", b"x", 2, 2))
    arrives(sim, qos_1(3))
    arrives(sim, publish_packet(b"a", b"x", 2, 1, flags=8))  # a repeat does not count
    assert len(got) == 3 and len(sim.streams) == 1
    assert arrives(sim, qos_1(3, 4)).endswith(b"\xe0\x01\x93")

    sim, got, _ = connected(inflight=3)
    arrives(sim, publish_packet(b"a", b"x", 2, 1) + publish_packet(b"a", b"x", 2, 2))
    arrives(sim, b"\x62\x02\x00\x01")
    arrives(sim, qos_1(3, 4))
    assert len(got) == 4 and len(sim.streams) == 1


def test_acknowledgements_sent_during_a_handler_free_the_receive_maximum():
    sim, got, _ = connected(inflight=2)
    sim.client.subscribe("a", lambda m: sim.client.publish("b", b"x"))
    arrives(sim, qos_1(1, 2, 3, 4))
    assert len(sim.streams) == 1
