"""Topic names and topic filters: matching, wildcards, shared subscriptions, checks."""

from helper import raises
from umqtt5.core.packet import Packet
from umqtt5.core.subscriptions import Subscription
from umqtt5.core.topics import Topic, encode_filter


def match(topic_filter, topic):
    packet = Packet(bytearray(b"/" + topic.encode() + b"/b"))  # `matches` must not read beyond the topic
    packet.topic_start = 1
    packet.topic_end = len(packet.topic_buf) - 2
    return Subscription(topic_filter.encode()).matches(packet)


def test_filters_match_their_topics():  # 4.7.1
    for topic_filter, topic in (
        ("a/b", "a/b"),
        ("sport/tennis/player1/#", "sport/tennis/player1"),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
        ("sport/#", "sport"),
        ("#", "a/b/c"),
        ("#", "/"),
        ("+", "finance"),
        ("+/+", "/finance"),
        ("/+", "/finance"),
        ("sport/+", "sport/"),
        ("sport/+/player1", "sport/tennis/player1"),
        ("+/tennis/#", "sport/tennis/x/y"),
        ("+/tennis/#", "sport/tennis"),
        ("a/+/c", "a//c"),
        ("$SYS/#", "$SYS/broker"),
        ("$SYS/monitor/+", "$SYS/monitor/Clients"),
        ("é/+", "é/ü"),
    ):
        assert match(topic_filter, topic), (topic_filter, topic)


def test_filters_do_not_match_other_topics():
    for topic_filter, topic in (
        ("a/b", "a/B"),
        ("a/b", "a/b/"),
        ("a/b", "a"),
        ("a/b/", "a/b"),
        ("sport/tennis/+", "sport/tennis/player1/ranking"),
        ("sport/+", "sport"),
        ("+", "/finance"),
        ("a/#", "ab"),
        ("a/+/c", "a/b/d"),
        ("#", "$SYS/broker"),  # 4.7.2
        ("+/monitor/Clients", "$SYS/monitor/Clients"),
        ("a", ""),
    ):
        assert not match(topic_filter, topic), (topic_filter, topic)


def test_invalid_filters_are_refused():  # [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2]
    for good in ("a", "/", "#", "+", "a/#", "+/b/#", "$share/group/a/+", "$SYS/#", "a b"):
        assert encode_filter(good) == good.encode()
    for bad in ("", "a#", "a/b#", "#/a", "a/#/b", "+a", "a/b+/c", "a\0"):
        raises(ValueError, encode_filter, bad)


def test_invalid_shared_filters_raise_value_error():  # [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    for bad in ("$share/", "$share/g", "$share//a", "$share/g+/a", "$share/g#/a", "$share/g/"):
        raises(ValueError, encode_filter, bad)
    assert match("$share/g/a/b", "a/b") and not match("$share/g/a/b", "$share/g/a/b") and match("a/b", "a/b")


def test_invalid_topic_names_raise_value_error():  # [MQTT-3.3.2-2], [MQTT-4.7.3-1]
    for bad in ("", "a/+", "#", "a\0", "x" * 65536):
        raises(ValueError, Topic, bad)
    assert Topic("a/é").name == b"a/\xc3\xa9"
    assert Topic(b"a").name == b"a"
