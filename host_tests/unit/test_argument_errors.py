"""Wrong arguments: each is accepted, or raises an error that names it and says what to pass."""

import sys

from simulation import Simulation

from helper import raises, utf8_string
from umqtt5.core.client import Client

try:
    import socket  # noqa: F401
except ImportError:  # the 32-bit VM

    class Tcp:
        connect = print

    sys.modules["umqtt5.tcp"] = Tcp

NOT_TEXT = (5, 21.5, None, True, ["a"], {"a": 1}, object())


def refused(words, function, *args, **options):
    """Call a function, which must raise ValueError or TypeError with these words in its text."""
    try:
        function(*args, **options)
    except (ValueError, TypeError) as error:
        for word in words:
            assert word in str(error), (word, str(error), args, options)
        return str(error)
    raise AssertionError("accepted: %r %r" % (args, options))


def make(**options):
    return Client(options.pop("host", "broker"), **options)


# ---- Client


def test_numbers_of_the_client():
    for name, bad in (
        ("port", ("x", 70000, -1, 1.5, [1])),
        ("timeout", (0, -1, -5, "x", 0.5, None, 1 << 30)),
        ("rx", (0, -1, 63, None, "x", 100.5, [])),
        ("tx", (0, -1, 63, None, "x", 100.5)),
        ("outbox", (-1, None, "x", 100.5)),
        ("inflight", (0, -1, None, "x", 1.5, 32768)),
        ("aliases", (-1, None, "x", 1.5, 65536)),
        ("topic_alias_maximum", (-1, None, "x", 1.5, 65536)),
        ("keep_alive", (-1, None, "x", 1.5, 65536)),
        ("session_expiry", (-1, None, "x", 1.5, 1 << 32)),
    ):
        for value in bad:
            refused((name + " must be an int from ",), make, **{name: value})
    refused(("port must be an int from 1 to 65535, not '1883': pass port=1883",), make, port="1883")
    refused(
        ("keep_alive must be an int from 0 to 65535 seconds, not 60.0: pass keep_alive=60",),
        make,
        keep_alive=60.0,
    )
    refused(("rx must be an int from 64 to ", "not '1024': pass rx=1024"), make, rx="1024")
    refused(("timeout must be an int from 1 to ", " ms, not 0"), make, timeout=0)


def test_unusual_numbers_are_accepted():
    for name, value in (
        ("port", 65535),
        ("port", 0),  # as if it were missing
        ("timeout", 1),
        ("timeout", 600000),
        ("rx", 100000),
        ("tx", 64),
        ("outbox", 0),
        ("keep_alive", 0),
        ("session_expiry", 0xFFFFFFFF),
        ("session_expiry", 0),
    ):
        make(**{name: value})
    assert make(session_expiry=0xFFFFFFFF).session.session_expiry == 0xFFFFFFFF
    assert make(port=0).port == 1883 and make(rx=100000).session.maximum_packet_size == 100000


def test_unusual_numbers_do_not_keep_the_module_with_the_texts():
    make(rx=100000)
    assert "umqtt5.optional.argument_errors" not in sys.modules
    refused(("port",), make, port="1")


def test_the_client_loads_no_texts_if_nothing_is_wrong():
    sys.modules.pop("umqtt5.optional.argument_errors", None)
    client = make(user="u", password=b"p", client_id=b"id", timeout={"ping": 3000}, session_expiry=0xFFFFFFFF)
    client.subscribe("a/#", print, qos=2)
    client.will("a", "x", qos=1, delay=5)
    client.publish("a", "x", qos=1)
    assert "umqtt5.optional.argument_errors" not in sys.modules


def test_timeouts_in_a_dict():
    for value in (0, -1, "x", 0.5, None):
        refused(("timeout: ping must be an int from 1 to ", " ms"), make, timeout={"ping": value})
    refused(("timeout: pong is not one of connect",), make, timeout={"pong": 1})


def test_hosts():
    for host, words in (
        ("", ("host must not be empty",)),
        (" ", ("host must not be empty",)),
        (" broker", ("must not contain blanks",)),
        ("broker\n", ("must not contain blanks",)),
        ("my broker", ("must not contain blanks",)),
        (None, ("host must be a str",)),
        (5, ("host must be a str",)),
        (b"broker", ("host must be a str, not b'broker': pass host.decode()",)),
        ("broker:1883", ("pass host='broker', port=1883",)),
        ("[::1]:1883", ("pass host='::1', port=1883",)),
        ("broker:", ("host must be a name or an address",)),
        ("broker:mqtt", ("host must be a name or an address",)),
        ("[::1", ("host must be a name or an address",)),
        ("mqtt://broker", ("not a URL: pass host='broker'",)),
        ("mqtt://broker:1884/", ("pass host='broker', port=1884",)),
        ("mqtt://user:secret@broker:1884", ("pass host='broker', port=1884",)),
        ("mqtts://broker", ("pass host='broker'", "ssl=")),
        ("ws://broker/mqtt", ("pass host='broker'", "websocket")),
        ("mqtt://[::1]:1884", ("pass host='::1', port=1884",)),
        ("broker/mqtt", ("without a path",)),
        ([], ("host must not be an empty list",)),
        (["a", 5], ("host must be",)),
        ([None], ("host must be",)),
        ([b"a"], ("host must be",)),
        (["mqtt://a"], ("not a URL: pass host='a'",)),
        (["a b"], ("must not contain blanks",)),
        (["a/b"], ("without a path",)),
        ([("a", "1883")], ("port must be an int", "pass port=1883")),
        ([("a", 70000)], ("port must be an int",)),
        ([("a",)], ("host must be",)),
        (("broker", 1883), ("host must be",)),
        ({"a": 1}, ("host must be",)),
    ):
        refused(words, make, host=host)


def test_an_ipv6_address_is_accepted_with_and_without_brackets():
    for host in ("::1", "[::1]"):
        assert make(host=host).host == "::1"
    assert make(host="fe80::1%eth0").host == "fe80::1%eth0"
    assert make(host="[fe80::1]").host == "fe80::1"


def test_another_transport_may_have_any_host():
    for host in ("", "/dev/ttyUSB0", "a:b"):
        assert make(host=host, transport=print).host == host
    for transport in ("tcp", 5, True):
        refused(("transport must be a function (host, port)",), make, transport=transport)


def test_texts_of_the_client():
    for value in NOT_TEXT:
        refused(("client_id must be a str, not ",), make, client_id=value)
        if value is not None:
            refused(("user must be a str, not ",), make, user=value)
            refused(("password must be bytes or str, not ",), make, password=value)
    refused(('pass ""',), make, client_id=None)
    refused(("use str(5)",), make, client_id=5)
    refused(("use str(1234)",), make, password=1234)
    refused(("client_id has 65536 bytes, the maximum is 65535",), make, client_id="x" * 65536)
    refused(
        ("client_id must be UTF-8", "hexlify"), make, client_id=b"\x24\x0a\xc4\xff"
    )  # as from `unique_id()`
    refused(("user must be UTF-8 without U+0000",), make, user="a\0")
    assert make(user="", password="").session.user == b""


def test_other_arguments_of_the_client():
    refused(("properties must be bytes, see umqtt5.properties.pack",), make, properties={"a": 1})
    refused(("properties must be bytes",), make, properties="a")
    refused(('when_full must be "oldest" or "topic"',), make, when_full="newest")
    refused(("ssl must be an SSLContext",), make, ssl=True)


# ---- topics, payloads, QoS


def connected():
    sim = Simulation()
    sim.client.connect()
    return sim.client


def test_topics():
    client = connected()
    for call in (
        lambda topic: client.publish(topic, b"x"),
        client.topic,
        lambda topic: client.will(topic, b"x"),
    ):
        for value in (5, 21.5, None, ("a",)):
            refused(("topic must be a str, not ",), call, value)
        refused(("use str(5)",), call, 5)
        refused(("topic must not be empty",), call, "")
        refused(("topic must not contain + or #", "'a/+'"), call, "a/+")
        refused(("topic must not contain + or #",), call, b"a/#")
        refused(("topic must be UTF-8 without U+0000",), call, "a\0")
        refused(("topic has 65536 bytes",), call, "x" * 65536)
    assert client.publish(b"a", b"x")


def test_topic_filters():
    client = connected()
    for call in (lambda f: client.subscribe(f, print), client.unsubscribe):
        for value in (5, 21.5, None):
            refused(("topic_filter must be a str, not ",), call, value)
        refused(("topic_filter must not be empty",), call, "")
        refused(("topic_filter is not valid: 'a+'", "$share/GROUP/FILTER"), call, "a+")
        refused(("topic_filter is not valid: 'a/#/b'",), call, "a/#/b")
        refused(("topic_filter must be UTF-8 without U+0000",), call, "a\0")
    client.subscribe(b"a/+", print)


def test_payloads():
    client = connected()
    client.topic("a")
    for call in (
        lambda payload: client.publish("a", payload),
        lambda payload: client.publish("a", payload, qos=1),
        lambda payload: client.publish("a", payload, wait=True),
        lambda payload: client.will("a", payload),
    ):
        refused(("payload must be bytes or str, not 21.5: use str(21.5)",), call, 21.5)
        refused(("payload must be bytes or str, not 5: use str(5)",), call, 5)
        refused(("payload must be bytes or str, not True: use str(True)",), call, True)
        refused(("not None", 'use b""'), call, None)
        refused(("use json.dumps(payload)",), call, {"a": 1})
        refused(("use json.dumps(payload)",), call, [1, 2])
        refused(("use json.dumps(payload)",), call, (1, 2))
        refused(("use str(payload)",), call, object())
    for payload in ("ü", b"x", bytearray(b"x"), memoryview(b"x"), ""):
        assert client.publish("a", payload)
    refused(("has 70000 bytes, the maximum is 65535",), client.will, "a", b"x" * 70000)
    refused(("has 70000 bytes, the maximum is 65535",), Simulation(password=b"x" * 70000).client.connect)


def test_qos_and_retain():
    client = connected()
    calls = [
        lambda qos: client.publish("a", b"x", qos),
        lambda qos: client.subscribe("a", print, qos),
        lambda qos: client.will("a", b"x", qos),
    ]
    for call in calls:
        for qos in ("1", 3, -1, 1.5, 2.0, [1]):
            refused(("qos must be an int from 0 to 2, not ",), call, qos)
        refused(("pass qos=1",), call, "1")
        for qos in (0, 1, 2, False, True):
            call(qos)
    Simulation().client.publish("a", b"x", False)
    refused(("qos",), Simulation().client.publish, "a", b"x", -1)  # without a connection, too
    assert client.publish("a", b"x", retain=1) and client.publish("a", b"x", retain=None)
    refused(("properties must be bytes",), lambda: client.publish("a", b"x", properties={"a": 1}))
    refused(("properties must be bytes",), lambda: client.publish("a", b"x", properties=None))


def test_options_of_subscribe():
    client = connected()
    for handler in (5, "print", [], True):
        refused(("handler must be a function (message)",), client.subscribe, "a", handler)
    for value in (3, -1, "1", None, 1.0):
        refused(
            ("retain_handling must be an int from 0 to 2",),
            lambda v=value: client.subscribe("a", print, retain_handling=v),
        )
    refused(("handler must be a function (message)",), lambda: client.subscribe("a", None, ack="manual"))
    refused(('ack must be "manual" or None',), lambda: client.subscribe("a", print, ack="yes"))


def test_a_subscription_without_a_handler_ignores_its_messages():
    sim = Simulation()
    errors = []
    sim.client.on_error = errors.append
    sim.client.subscribe("a", None, qos=1)
    sim.client.connect()
    sim.client.poll(10)
    sim.stream.written = b""
    sim.stream.inbox += b"\x32\x0a" + utf8_string(b"a") + b"\x00\x07\x02\x0b\x01xx"
    sim.client.poll(10)
    assert sim.stream.written == b"\x40\x02\x00\x07" and not errors


def test_the_delay_of_a_will():
    client = connected()
    for delay in (-1, "5", 0.5, None, 1 << 32):
        refused(
            ("delay must be an int from 0 to 4294967295 seconds",),
            lambda d=delay: client.will("a", b"x", delay=d),
        )


def test_streamed_payloads():
    from umqtt5 import streaming

    client = connected()
    for options, name in (
        ((b"", -1), "size"),
        ((b"", "5"), "size"),
        ((b"", 5, 3), "qos"),
        ((b"", 5, "1"), "qos"),
    ):
        refused((name + " must be an int from 0 to ",), streaming.send, client, "a", *options)
    refused(("topic must be a str",), streaming.send, client, 5, b"", 5)


def test_errors_are_of_the_kind_that_python_uses():
    raises(TypeError, lambda: make(port="1883"))
    raises(ValueError, lambda: make(port=70000))
    raises(TypeError, lambda: make(client_id=None))
    raises(TypeError, lambda: connected().publish("a", 21.5))
    raises(ValueError, lambda: connected().publish("a/+", "x"))
