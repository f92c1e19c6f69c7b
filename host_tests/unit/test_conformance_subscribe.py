"""Conformance: SUBSCRIBE, UNSUBSCRIBE, shared subscriptions (3.8, 3.10, 4.8)."""

from packet_reader import bodies_of_type, connected_peer, read_properties, read_string, split_packets
from simulation import Simulation

from helper import make_packet, raises, utf8_string


def asked(topic_filter, *arguments, **options):
    """Subscribe; returns the (filter, options) pairs of the SUBSCRIBE."""
    sim = Simulation()
    sim.client.connect()
    sim.client.subscribe(topic_filter, None, *arguments, **options)
    sim.client.poll(10)
    (body,) = bodies_of_type(sim.stream.written, 0x80)
    return read(body)


def read(body, options=True):
    """Return the filters of a SUBSCRIBE (with `options`) or an UNSUBSCRIBE."""
    assert body[0] << 8 | body[1]
    _, at = read_properties(body, 2)
    found = []
    while at < len(body):
        topic_filter, at = read_string(body, at)
        found.append((topic_filter, body[at]) if options else topic_filter)
        at += 1 if options else 0
    return found


def test_subscribe_has_the_right_flags_filter_and_options():  # [MQTT-3.8.1-1], [MQTT-3.8.3-2]
    peer = connected_peer()
    peer.subscribe("a/+", None, 1)
    peer.subscribe("b", None, 0)
    sent = split_packets(peer.read_output())
    assert [first for first, _ in sent] == [0x82, 0x82]
    assert [read(body) for _, body in sent] == [[(b"a/+", 1)], [(b"b", 0)]]


def test_filters_are_utf_8():  # [MQTT-3.8.3-1], [MQTT-3.10.3-1]
    peer = connected_peer()
    peer.subscribe("é/ü", None, 0)
    assert read(bodies_of_type(peer.read_output(), 0x80)[0]) == [(b"\xc3\xa9/\xc3\xbc", 0)]
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x00"))
    peer.unsubscribe("é/ü")
    assert read(bodies_of_type(peer.read_output(), 0xA0)[0], False) == [b"\xc3\xa9/\xc3\xbc"]
    client = Simulation().client
    for bad in (b"\xff", b"a/\xed\xa0\x80", "a\0", "x" * 65536):
        raises(ValueError, client.subscribe, bad, None)
        raises(ValueError, client.unsubscribe, bad)


def test_no_local_is_refused_for_shared_subscriptions():  # [MQTT-3.8.3-4]
    sim = Simulation()
    sim.client.connect()
    raises(ValueError, lambda: sim.client.subscribe("$share/g/a", None, no_local=True))
    sim.client.poll(10)
    assert bodies_of_type(sim.stream.written, 0x80) == []
    assert asked("$share/g/a", 1) == [(b"$share/g/a", 1)]
    assert asked("$shared/a", 1, no_local=True) == [(b"$shared/a", 5)]  # not a shared subscription


def test_the_two_highest_bits_of_the_options_are_never_set():  # [MQTT-3.8.3-5]
    for qos in (0, 1, 2):
        for no_local in (False, True):
            for retain_as_published in (False, True):
                for retain_handling in (0, 1, 2):
                    options = {
                        "no_local": no_local,
                        "retain_as_published": retain_as_published,
                        "retain_handling": retain_handling,
                    }
                    expected = qos | no_local << 2 | retain_as_published << 3 | retain_handling << 4
                    assert asked("a", qos, **options) == [(b"a", expected)]
    client = Simulation().client
    for qos, handling in ((3, 0), (64, 0), (-1, 0), (0, 3), (0, 4), (0, -1)):
        raises(ValueError, lambda q=qos, h=handling: client.subscribe("a", None, q, retain_handling=h))


def test_unsubscribe_has_the_right_flags_and_a_filter():  # [MQTT-3.10.1-1], [MQTT-3.10.3-2]
    peer = connected_peer()
    for i in range(2):
        peer.subscribe("f/%d" % i, None, 0)
    peer.read_output()
    peer.feed(b"".join([make_packet(0x90, bytes((0x80, i, 0, 0))) for i in range(2)]))
    for i in range(2):
        peer.unsubscribe("f/%d" % i)
    sent = split_packets(peer.read_output())
    assert [first for first, _ in sent] == [0xA2, 0xA2]
    assert [read(body, False) for _, body in sent] == [[b"f/0"], [b"f/1"]]


def test_invalid_shared_filters_are_refused():  # [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    for good in ("$share/g/a", "$share/a group/#", "$share/g//", "$share/$/+/b"):
        assert asked(good) == [(utf8_string(good.encode())[2:], 0)]
    client = Simulation().client
    for bad in ("$share//a", "$share/", "$share//", "$share///a"):  # no share name
        raises(ValueError, client.subscribe, bad, None)
    for bad in ("$share/g+/a", "$share/+/a", "$share/#/a", "$share/g#/a"):  # invalid share name
        raises(ValueError, client.subscribe, bad, None)
    for bad in ("$share/g", "$share/g/", "$share/g/a#", "$share/g/#/a"):  # invalid topic filter
        raises(ValueError, client.subscribe, bad, None)
