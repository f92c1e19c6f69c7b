"""Dispatch: each message reaches the handlers whose filters match it, also in another program's session."""

from random import choice, getrandbits, seed

from packet_reader import connected_peer, reconnect

from helper import Peer, identifier_of, make_packet, publish_packet, utf8_string
from umqtt5.core.subscriptions import Subscription

FILTERS = ("dev/valve", "dev/display", "dev/+/set", "dev/#", "#", "+/valve", "$share/g/dev/+", "lamp/a/b")
TOPICS = (
    b"dev/valve",
    b"dev/display",
    b"dev/x/set",
    b"dev",
    b"lamp/a/b",
    b"lamp/a",
    b"other",
    b"a/valve",
    b"$SYS/x",
)


def program(filters, resume=True):
    """Return a peer that resumes a session with these subscriptions, and the (filter, topic) it handles."""
    peer = Peer()
    peer.session.clean_start = not resume
    got = []
    for topic_filter in filters:
        peer.subscribe(topic_filter, lambda m, f=topic_filter: got.append((f, m.topic)), 1)
    peer.session.on_unhandled = lambda m: got.append(("unhandled", m.topic))
    peer.connect(make_packet(0x20, b"\x01\x00\x00") if resume else make_packet(0x20, b"\x00\x00\x00"))
    return peer, got


def test_an_identifier_means_the_same_filter_in_every_program():
    first = [Subscription(f.encode()).identifier for f in FILTERS]
    again = [Subscription(f.encode()).identifier for f in reversed(FILTERS)]
    assert first == list(reversed(again)) and len(set(first)) == len(FILTERS)
    peer = Peer()
    peer.subscribe("x", None, 0)
    peer.subscribe("dev/valve", None, 0)
    _, out = peer.connect()
    assert identifier_of(b"dev/valve") + utf8_string(b"dev/valve") in out


def test_a_queued_message_reaches_its_handler_after_the_program_has_changed():
    for filters in (
        ("dev/valve", "dev/display"),
        ("dev/display", "dev/valve"),
        ("dev/new", "dev/display", "dev/valve"),
        ("dev/valve",),
    ):
        peer, got = program(filters)
        out = peer.feed(publish_packet(b"dev/valve", b"ON", 1, 5, identifier_of(b"dev/valve")))
        assert got == [("dev/valve", "dev/valve")] and out == b"\x40\x02\x00\x05"


def test_a_message_for_a_subscription_of_an_earlier_program_reaches_no_wrong_handler():
    peer, got = program(("dev/display", "dev/relay"))
    peer.feed(publish_packet(b"dev/valve", b"ON", 1, 5, identifier_of(b"dev/valve")))
    assert got == [("unhandled", "dev/valve")]


def test_identifiers_of_another_library_fall_back_to_matching():
    """An earlier program may have numbered its subscriptions: 1, 2, 3 ..."""
    for number in (b"\x0b\x01", b"\x0b\x02", b"\x0b\x7f", b"\x0b\xff\xff\xff\x7f"):
        peer, got = program(("dev/display", "dev/valve"))
        peer.feed(publish_packet(b"dev/valve", b"ON", 0, 0, number))
        assert got == [("dev/valve", "dev/valve")]


def test_the_topic_is_compared_although_the_identifier_is_known():
    peer, got = program(("dev/display", "dev/valve"))
    peer.feed(publish_packet(b"dev/valve", b"ON", 0, 0, identifier_of(b"dev/display")))
    peer.feed(publish_packet(b"other", b"ON", 0, 0, identifier_of(b"dev/display")))
    assert got == [("dev/valve", "dev/valve"), ("unhandled", "other")]


def test_a_handler_is_called_once_per_message_if_some_of_its_identifiers_are_unknown():
    peer, got = program(("dev/#", "dev/valve"))
    numbers = b"\x0b\x03" + identifier_of(b"dev/valve") + b"\x0b\x04"
    peer.feed(publish_packet(b"dev/valve", b"ON", 0, 0, numbers))
    assert got == [("dev/valve", "dev/valve")]


def test_filters_with_the_same_identifier_reach_their_own_handlers():
    wanted = Subscription(b"a").identifier
    other = 0
    while Subscription(b"x/%d" % other).identifier != wanted:
        other += 1
    other = "x/%d" % other
    peer, got = program(("a", other), resume=False)
    peer.feed(publish_packet(b"a", b"", 0, 0, identifier_of(b"a")))
    peer.feed(publish_packet(other.encode(), b"", 0, 0, identifier_of(b"a")))
    assert got == [("a", "a"), (other, other)]


def is_match(topic_filter, topic):
    """Compare level by level, as section 4.7 describes it."""
    levels, names = topic_filter.split("/"), topic.decode().split("/")
    if levels[0] == "$share":
        levels = levels[2:]
    if names[0].startswith("$") and levels[0] in ("+", "#"):
        return False
    for i in range(len(levels)):
        if levels[i] == "#":
            return True
        if i == len(names) or (levels[i] != "+" and levels[i] != names[i]):
            return i == len(names) and levels[i:] == ["#"]
    return len(levels) == len(names)


def test_every_message_reaches_exactly_the_handlers_that_match_it():
    """Random programs; the broker sends one copy with the identifiers of all matching subscriptions."""
    seed(7)
    for _ in range(60):
        old = [f for f in FILTERS if getrandbits(1)]  # subscriptions of the earlier program
        new = [f for f in FILTERS if getrandbits(1)]
        new.sort(key=lambda f: getrandbits(8))
        peer, got = program(new)
        topic = choice(TOPICS)
        numbers = b"".join([identifier_of(f.encode()) for f in sorted(set(old + new)) if is_match(f, topic)])
        peer.feed(publish_packet(topic, b"", 0, 0, numbers))
        expected = [(f, topic.decode()) for f in new if is_match(f, topic)]
        assert sorted(got) == sorted(expected) or (not expected and got == [("unhandled", topic.decode())])


def test_unsubscribe_removes_a_subscription_of_an_earlier_program():
    peer, got = program(("dev/#",))
    peer.session.on_unsubscribed = lambda s, answer: got.append((s.topic_filter, answer.reason))
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x01"))
    peer.unsubscribe("dev/valve")
    assert peer.read_output() == make_packet(0xA2, b"\x80\x01\x00", utf8_string(b"dev/valve"))
    peer.feed(publish_packet(b"dev/valve", b"", 0, 0, identifier_of(b"dev/valve")))
    peer.feed(make_packet(0xB0, b"\x80\x01\x00\x00"))
    assert got == [("dev/#", "dev/valve"), (b"dev/valve", 0)]


def test_a_session_without_state_at_the_broker_is_subscribed_again():
    peer = connected_peer()
    got = []
    peer.subscribe("a", lambda m: got.append(m.payload), 1)
    peer.read_output()
    peer.feed(make_packet(0x90, b"\x80\x00\x00\x01"))
    assert identifier_of(b"a") in reconnect(peer, present=0)
    peer.feed(publish_packet(b"a", b"1", 0, 0, identifier_of(b"a")))
    assert got == [b"1"]
