"""Texts of errors: words, the address of the broker, whether a retry can help, what to do.

The texts are those of a traceback, which MicroPython and CPython build in different ways.
"""

import io
import sys

from simulation import Simulation

from helper import Peer, make_packet, publish_packet, raises, utf8_string
from umqtt5.core.errors import MQTTError

ON_CPYTHON = sys.implementation.name == "cpython"

if ON_CPYTHON:
    from os import strerror
    from traceback import format_exception_only


def printed(error):
    """Return the last line of the traceback of an error."""
    if ON_CPYTHON:
        return "".join(format_exception_only(type(error), error)).strip()
    out = io.StringIO()
    sys.print_exception(error, out)
    return out.getvalue().strip().split("\n")[-1]


def connect_error(fail=None, reply=None, closes=False, **options):
    """Let `connect` fail; returns the exception, after checking `client.error` and `on_state`."""
    sim = Simulation(**options)
    told = []
    sim.client.on_state = lambda client, connected, error: told.append(error)
    sim.connect_reply = reply or b""

    def connect(host, port):
        if fail:
            raise fail
        stream = sim.connect(host, port)
        stream.closed_by_broker = closes
        if closes:
            stream.write = lambda buf, at, n: n
        return stream

    sim.client._transport = connect
    error = raises(Exception, sim.client.connect)
    assert error is sim.client.error and told == [error]
    return error


def has(text, *words):
    for word in words:
        assert word in text, (word, text)


def os_error(number):
    """Return an OSError as this interpreter raises it."""
    return OSError(number, strerror(number)) if ON_CPYTHON else OSError(number)


# ---- network errors


def test_network_errors_have_words_and_the_address():
    cases = [
        (111, ("refused", "Is the broker running")),
        (113, ("oute to host" if ON_CPYTHON else "cannot be reached", "Is the address right")),
        (101, ("nreachable" if ON_CPYTHON else "network cannot be reached", "Wi-Fi")),
        (110, ("timed out" if ON_CPYTHON else "no answer", "Is the address right")),
        (104, ("reset",)),
        (32, ("pipe" if ON_CPYTHON else "closed",)),
        (12, ("memory", "heap")),
    ]
    if not ON_CPYTHON:  # numbers of the ESP32
        cases += [(118, ("host cannot be reached",)), (116, ("no answer",)), (128, ("no connection",))]
    for number, words in cases:
        error = connect_error(os_error(number))
        assert isinstance(error, OSError) and error.errno == error.args[0] == number
        has(printed(error), "[Errno %d] broker:1883: " % number, *words)
        has(str(error), "broker:1883: ", *words)
        has(repr(error), "Error", "broker:1883: ", *words)


def test_a_failed_name_lookup_has_words():
    kinds = [OSError(-2, ""), OSError(-202, "")]
    if ON_CPYTHON:
        from socket import gaierror

        kinds.append(gaierror(-2, "Name or service not known"))
    else:
        # a port that raises only a number; the unix port
        kinds += [OSError(-2), OSError(-202), OSError("[addrinfo error -2]")]
    for fail in kinds:
        number = fail.args[0]
        error = connect_error(fail)
        assert isinstance(error, OSError) and error.args[0] == number
        has(printed(error), "broker:1883: the name cannot be resolved", "Is the name right", str(number))


def test_an_error_without_a_known_number_is_printed():
    for fail in (OSError(), OSError("odd"), os_error(11), OSError(99999, "strange"), OSError(99999, None)):
        error = connect_error(fail)
        has(printed(error), "broker:1883: ")
        assert "None" not in printed(error)


def test_a_connection_closed_before_connack_names_the_probable_causes():
    for number in (104, 32, 103):
        sim = Simulation()
        sim.connect_reply = b""
        sim.client.connect(wait=False)
        sim.client.poll(10)

        def fails(buf, n, number=number):
            raise os_error(number)

        sim.stream.readinto = fails
        sim.client.poll(0)
        assert sim.client.error.errno == number
        has(
            printed(sim.client.error),
            "broker:1883: ",
            "closed the connection before CONNACK",
            "TLS",
            "MQTT 5",
        )
    error = connect_error(closes=True)
    assert error.errno == 104
    has(printed(error), "broker:1883: the other end has closed the connection before CONNACK", "ssl=")


def test_a_lost_connection_is_not_taken_for_a_wrong_port():
    sim = Simulation()
    sim.client.connect()
    sim.stream.closed_by_broker = True
    sim.client.poll(0)
    text = printed(sim.client.error)
    has(text, "broker:1883: closed by the broker")
    assert "CONNACK" not in text and "port" not in text


def test_a_timeout_says_what_was_missing():
    error = connect_error(reply=b"", timeout=500)
    assert error.errno == 110
    has(printed(error), "broker:1883: no CONNACK", "Is it the port of an MQTT broker")


def test_an_ipv6_address_is_in_brackets():
    sim = Simulation()
    sim.client.host = "fe80::1"
    sim.broker_listens = False
    has(printed(raises(OSError, sim.client.connect)), "[fe80::1]:1883: ")


def test_a_serial_line_has_no_address():
    sim = Simulation()
    sim.client.host = ""
    sim.broker_listens = False
    text = printed(raises(OSError, sim.client.connect))
    assert ":1883" not in text and "refused" in text, text


def test_a_permanent_error_says_so():
    from umqtt5.optional.permanent_error import PermanentError

    error = connect_error(PermanentError(1, "TLS: bad certificate"))
    assert isinstance(error, OSError) and error.errno == 1 and error.is_permanent
    has(printed(error), "broker:1883: TLS: bad certificate; permanent: retrying cannot fix it")


def test_the_error_of_a_users_transport_keeps_its_class():
    class RadioError(OSError):
        def __str__(self):
            return "no radio"

    error = connect_error(RadioError(5, "x"))
    assert isinstance(error, RadioError) and str(error) == "no radio"


def test_if_the_texts_cannot_be_loaded_the_plain_error_is_printed():
    """There is no memory for the modules with the texts, or flash cannot be read: nothing else fails."""
    for kind in (MemoryError, ImportError, OSError):
        print_plain_errors(kind)


def print_plain_errors(kind):
    if ON_CPYTHON:
        return
    for name in ("error_texts", "link_error", "protocol_error"):
        sys.modules.pop("umqtt5.optional." + name, None)
    package = sys.modules["umqtt5.optional"]
    saved = package.__path__
    try:
        for name in ("error_texts", "link_error", "protocol_error"):
            sys.modules["umqtt5.optional." + name] = Unloadable(kind)
        error = connect_error(os_error(111))
        assert printed(error) == "OSError: [Errno 111] ECONNREFUSED", printed(error)
        error = connect_error(reply=make_packet(0x20, b"\x00\x87\x00"))
        assert error.code == 0x87 and printed(error) == "(135, '')", printed(error)
        error = connect_error(reply=b"\xd0\x00")
        assert error.code == 0x82 and printed(error) == "(130, '')", printed(error)
    finally:
        package.__path__ = saved
        for name in ("error_texts", "link_error", "protocol_error"):
            sys.modules.pop("umqtt5.optional." + name, None)


class Unloadable:
    """A module that cannot be loaded; `kind` is the exception class."""

    def __init__(self, kind):
        self.kind = kind

    def __getattr__(self, name):
        raise self.kind


def test_an_error_is_printed_with_the_heap_locked():
    if ON_CPYTHON:
        return
    import micropython

    if not hasattr(micropython, "heap_lock"):
        return
    error = connect_error(reply=make_packet(0x20, b"\x00\x87\x00"))
    micropython.heap_lock()
    try:
        sys.print_exception(error)
    finally:
        micropython.heap_unlock()


def test_a_flapping_link_does_not_grow_the_heap():
    if ON_CPYTHON or sys.platform == "webassembly":  # that VM collects garbage only at the end
        return
    import gc

    sim = Simulation()
    sim.broker_listens = False
    sim.client.connect(wait=False)
    used = []
    for _ in range(6):
        for _ in range(50):
            sim.client.poll(70000)
            printed(sim.client.error)
        gc.collect()
        used.append(gc.mem_alloc())
        sim.connect_times.clear()
    assert used[-1] <= used[1] + 64, used


# ---- refusals of MQTT 5.0

PERMANENT = (0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x99, 0x9A, 0x9B, 0x9D)
TEMPORARY = (0x80, 0x83, 0x88, 0x89, 0x97, 0x9C, 0x9F)


def test_each_refusal_is_permanent_if_retrying_cannot_help():
    for code in PERMANENT + TEMPORARY:
        sim = Simulation()
        sim.connect_reply = make_packet(0x20, bytes((0, code, 0)))
        error = raises(MQTTError, sim.client.connect)
        assert error.code == code and error.args == (code, "")
        assert error.is_permanent == sim.client.has_permanent_error == (code in PERMANENT), code
        text = printed(error)
        has(text, "MQTTError: broker:1883: ", " (0x%02X)" % code)
        assert "Reason code" not in text, text
        assert ("permanent: retrying cannot fix it" in text) == (code in PERMANENT), text


def test_a_wrong_password_is_explained():
    error = connect_error(reply=make_packet(0x20, b"\x00\x87\x0a\x1f", utf8_string(b"go away")))
    assert error.code == 0x87 and error.detail == "go away"
    text = (
        "broker:1883: Not authorized (0x87): go away; permanent: retrying cannot fix it. "
        "Check user and password, and the access rules of the broker."
    )
    assert str(error) == text
    assert printed(error).endswith("MQTTError: " + text), printed(error)
    assert repr(error) == "MQTTError: " + text


def test_a_disconnect_of_the_broker_is_not_permanent():
    for code in PERMANENT:
        sim = Simulation()
        sim.client.connect()
        if code in (0x84, 0x85, 0x86, 0x8A, 0x8C):
            continue  # codes of CONNACK only
        sim.stream.inbox += bytes((0xE0, 1, code))
        sim.client.poll(0)
        error = sim.client.error
        assert error.code == code and error.from_broker
        assert not error.is_permanent and not sim.client.has_permanent_error
        has(printed(error), "broker:1883: ", "(0x%02X)" % code)
        assert "permanent" not in printed(error)


def test_a_server_reference_is_printed():
    error = connect_error(reply=make_packet(0x20, b"\x00\x9d\x09\x1c", utf8_string(b"second")))
    has(printed(error), "Server moved (0x9D)", "server reference: second", "follow_redirects")


def test_control_characters_of_the_broker_are_not_printed():
    error = connect_error(reply=make_packet(0x20, b"\x00\x87\x08\x1f", utf8_string(b"\x1b[2J\n")))
    text = printed(error)
    assert "\x1b" not in text and "\n" not in text and "x1b[2J" in text, text
    assert error.detail == "\x1b[2J\n"


def test_an_error_of_publish_has_no_address():
    sim = Simulation()
    sim.connect_reply = make_packet(0x20, b"\x00\x00\x05\x27\x00\x00\x00\x14")
    sim.client.connect()
    error = raises(MQTTError, sim.client.publish, "a", b"x" * 50)
    assert printed(error).endswith("Packet too large (0x95): the broker's Maximum Packet Size is 20 bytes")


# ---- answers that are not MQTT 5.0


def test_refusals_of_mqtt_3_1_1_have_the_codes_of_mqtt_5():
    for return_code, code in ((0, 0x84), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87)):
        for flags in (0, 1):
            sim = Simulation()
            sim.connect_reply = bytes((0x20, 2, flags, return_code))
            for sim.read_size in (1, 100):
                error = raises(MQTTError, sim.client.connect)
                assert error.code == code and error.from_broker
                assert error.is_permanent == sim.client.has_permanent_error == (code != 0x88)
                has(printed(error), "MQTT 3.1.1", "broker:1883: ")
                if code == 0x84:
                    has(printed(error), "This broker does not speak MQTT 5")
                assert b"\xe0\x01" not in sim.stream.written, "a DISCONNECT was sent"


def test_a_refusal_without_properties_is_reported():
    error = connect_error(reply=b"\x20\x02\x00\x87")
    assert error.code == 0x87 and error.is_permanent


OTHER_PROTOCOLS = (
    (b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", ("HTTP", "400 Bad Request", "WebSocket", "Wi-Fi")),
    (b"HTTP/1.0 302 Found\r\nLocation: http://login/\r\n\r\n" + b"x" * 200, ("HTTP", "302 Found", "login")),
    (b"<!DOCTYPE html>\n<html><head>", ("HTML", "login page")),
    (b"<html><body>400</body></html>", ("HTML",)),
    (b"\x15\x03\x01\x00\x02\x02\x28", ("TLS", "ssl=")),
    (b"\x15\x03\x03\x00\x02\x02\x46", ("TLS", "ssl=")),
    (b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03", ("TLS", "ssl=")),
    (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", ("SSH", "OpenSSH_9.2p1", "Is the port right?")),
    (b"220 mail.example.com ESMTP Postfix\r\n", ("SMTP or FTP", "mail.example.com", "Is the port right?")),
    (b"220-FTP\r\n", ("SMTP or FTP",)),
    (b"AMQP\x00\x00\x09\x01", ("AMQP", "1883")),
    (b"* OK IMAP4rev1 ready\r\n", ("IMAP",)),
    (b"+OK POP3 ready\r\n", ("POP3",)),
    (b"-ERR unknown command\r\n", ("Redis",)),
    (b"what is this?", ("does not speak MQTT", "what is this?")),
    (b"\xff\xfb\x01\xff\xfb\x03\xff\xfd", ("does not speak MQTT", "xff")),
    (b"\x00" * 30, ("does not speak MQTT",)),
)


def test_other_protocols_are_named():
    for data, words in OTHER_PROTOCOLS:
        for size in (1, 3, 100):
            sim = Simulation()
            sim.connect_reply = data
            sim.read_size = size
            error = raises(MQTTError, sim.client.connect)
            assert sim.now < 1000, (data, "waited for more bytes")
            assert not sim.client.has_permanent_error  # a login page may go away
            # words of the other end can be missing if they arrive late
            has(printed(error), "broker:1883: ", *words if size == 100 else words[:1])
            assert printed(error).count("\n") == 0


def test_packets_before_connack_are_named():
    for data, name in (
        (b"\xd0\x00", "PINGRESP"),
        (publish_packet(b"a", b"x"), "PUBLISH"),
        (b"\x90\x04\x80\x00\x00\x00", "SUBACK"),
    ):
        has(printed(connect_error(reply=data)), "Protocol Error (0x82)", name + " instead of CONNACK")


# ---- packets that break the protocol


def ended(peer, data, size=100000):
    """Feed data that ends the session; returns the error."""
    peer.feed(data[:-1], size)
    if not peer.session.error:
        peer.feed(data[-1:])
    return peer.session.error


def test_a_protocol_error_names_the_packet_and_its_size():
    for data, code, words in (
        (b"\x90\x03\x80\x00\x00", 0x81, "SUBACK of 5 bytes"),
        (b"\x40\x01\x00", 0x81, "PUBACK of 3 bytes"),
        (b"\xd1\x00", 0x81, "PINGRESP of 2 bytes"),
        (b"\x82\x00", 0x82, "SUBSCRIBE of 2 bytes, which only a client sends"),
        (b"\x10\x00", 0x82, "CONNECT of 2 bytes, which only a client sends"),
        (b"\x00\x00", 0x82, "packet type 0"),
        (b"\x20\x03\x00\x00\x00", 0x82, "CONNACK of 5 bytes, the second one"),
        (b"\xf0\x00", 0x82, "AUTH of 2 bytes"),
        (b"\x36\x00", 0x81, "PUBLISH of 2 bytes"),
        (make_packet(0x36, b"x" * 200), 0x81, "PUBLISH of 203 bytes"),
        (b"\x30\xff\xff\xff\xff", 0x81, "PUBLISH with a malformed length"),
    ):
        for size in (1, 1000):
            peer = Peer()
            peer.connect()
            peer.feed(b"\xd0\x00")  # the packet before is not the one to report
            error = ended(peer, data, size)
            assert error.code == code and not error.from_broker, (data, error)
            has(str(error), words, "(0x%02X)" % code)


def test_a_publish_larger_than_rx_says_how_large_rx_must_be():
    packet = make_packet(0x30, b"\x00\x01a\x00", b"x" * 4993)
    assert len(packet) == 5000
    for size in (1, 1000):
        peer = Peer(rx=1024)
        peer.connect()
        peer.feed(b"\xd0\x00" + publish_packet(b"a", b"x"))
        error = ended(peer, packet[:1024], size)
        assert error.code == 0x95
        has(str(error), "PUBLISH of 5000 bytes", "rx is 1024, pass rx=5000 or more", "Maximum Packet Size")


def test_a_refusal_larger_than_rx_is_reported():
    packet = make_packet(0x20, b"\x00\x87\xaf\x02\x1f", utf8_string(b"You may not " * 25))
    for size in (1, 3, 50, 1000):
        sim = Simulation(rx=64)
        sim.read_size = size
        sim.connect_reply = packet
        error = raises(MQTTError, sim.client.connect)
        assert error.code == 0x87 and error.is_permanent and sim.client.has_permanent_error
        has(printed(error), "Not authorized (0x87)", "CONNACK of %d bytes, larger than rx=64" % len(packet))
    has(printed(error), "You may not You")


def test_a_connack_larger_than_rx_that_accepts_is_too_large():
    sim = Simulation(rx=64)
    sim.connect_reply = make_packet(0x20, b"\x00\x00\xaf\x02\x1f", utf8_string(b"welcome_" * 37 + b"1234"))
    error = raises(MQTTError, sim.client.connect)
    assert error.code == 0x95
    has(printed(error), "CONNACK of ", "pass rx=")


def test_a_disconnect_larger_than_rx_is_reported():
    text = "Grüße " * 40
    packet = make_packet(0xE0, b"\x98\xab\x02\x1f", utf8_string(text.encode()))
    for rx in (64, 65, 66, 67):  # the cut is in each byte of a character
        sim = Simulation(rx=rx)
        sim.client.connect()
        sim.stream.inbox += packet
        sim.client.poll(10)
        error = sim.client.error
        assert error.code == 0x98 and error.from_broker and not error.is_permanent
        has(
            printed(error),
            "Administrative action (0x98)",
            "Grüße Grüße",
            "DISCONNECT of %d bytes" % len(packet),
        )


def test_any_first_bytes_end_in_an_error_with_text():
    """Each first byte, and sizes of all kinds, are described, with any number of bytes of each packet."""
    for first in range(256):
        for rest in (b"\x00", b"\x02\x00\x00", b"\x7f" * 9, b"\xff\x7f" + b"x" * 70, b"\xff\xff\xff\xff"):
            for connected in (False, True):
                peer = Peer(rx=64)
                peer.session.open(0)
                peer.read_output()
                if connected:
                    peer.feed(b"\x20\x03\x00\x00\x00")
                data = bytes((first,)) + rest
                for size in (1, 100):
                    while data and peer.session.state in (1, 2):
                        peer.feed(data[:size])
                        data = data[size:]
                if peer.session.error:
                    assert str(peer.session.error) and repr(peer.session.error).startswith("MQTTError: ")


# ---- our own limits


def test_a_message_larger_than_a_buffer_names_the_argument_and_the_size():
    sim = Simulation(tx=64, outbox=128)
    sim.client.connect()
    error = raises(ValueError, sim.client.publish, "topic", b"x" * 100)
    has(printed(error), "packet of ", "tx is 64, pass tx=")
    needed = int(str(error).split("pass tx=")[1].split(" ")[0])
    sim = Simulation(tx=needed)
    sim.client.connect()
    assert sim.client.publish("topic", b"x" * 100)
    error = raises(ValueError, lambda: sim.client.publish("topic", b"x" * 3000, qos=1))
    has(printed(error), "packet of 3019 bytes: outbox is 2048, pass outbox=3019 or more")
    sim = Simulation(outbox=3019)
    assert sim.client.publish("topic", b"x" * 3000, qos=1)
    error = raises(ValueError, lambda: Simulation(tx=64).client.subscribe("x" * 60, print))
    has(printed(error), "tx is 64, pass tx=84 or more")
    Simulation(tx=84).client.subscribe("x" * 60, print)
    error = raises(ValueError, lambda: sim.client.disconnect(0, b"\x1f" + utf8_string(b"x" * 2000)))
    has(printed(error), "packet of 2009 bytes: tx is 1024, pass tx=2009 or more")


# the error numbers of the ESP32, whose C library is newlib
NEWLIB = {
    104: "ECONNRESET",
    111: "ECONNREFUSED",
    112: "EADDRINUSE",
    113: "ECONNABORTED",
    116: "ETIMEDOUT",
    118: "EHOSTUNREACH",
    119: "EINPROGRESS",
    120: "EALREADY",
    128: "ENOTCONN",
}


def test_error_numbers_of_the_esp32_have_the_right_words():
    from umqtt5.optional import error_texts

    real = error_texts.errorcode
    error_texts.errorcode = NEWLIB
    try:
        for number, words in (
            (104, "closed the connection before CONNACK"),
            (113, "closed the connection before CONNACK"),
            (128, "closed the connection before CONNACK"),
            (111, "connection refused. Is the broker running"),
            (114, "the network cannot be reached. Is the device in the network"),
            (115, "the network cannot be reached. Is the device in the network"),
            (116, "no answer. Is the address right"),
            (118, "the host cannot be reached. Is the address right"),
        ):
            text = error_texts.os_error_text(OSError(number), "broker", 1883, 2)
            assert text.startswith("broker:1883: ") and words in text, text
    finally:
        error_texts.errorcode = real


def test_numbers_of_errors_are_those_of_the_port():
    """EINPROGRESS, for example, is 115 with lwIP on an RP2 and 119 on the ESP32."""
    import errno
    import os
    import sys

    if sys.platform == "webassembly" and "socket" not in sys.modules:
        sys.modules["socket"] = os  # this VM has no socket module
    from umqtt5 import tcp
    from umqtt5.optional import tls_errors

    names = ("EINPROGRESS", "ECONNABORTED", "ECONNRESET", "ENOTCONN", "ETIMEDOUT", "EHOSTUNREACH", "EINVAL")

    class Esp32:
        errorcode = NEWLIB

    for i, name in enumerate(names):
        setattr(Esp32, name, 1000 + i)
    sys.modules["errno"] = Esp32
    for name in ("umqtt5.tcp", "umqtt5.optional.tls_errors"):
        del sys.modules[name]
    try:
        from umqtt5.optional.tls_errors import _CLOSED
        from umqtt5.tcp import EINPROGRESS

        assert EINPROGRESS == 1000 and _CLOSED[1:4] == (1001, 1002, 1003)
    finally:
        sys.modules["errno"] = errno
        sys.modules["umqtt5.tcp"] = tcp
        sys.modules["umqtt5.optional.tls_errors"] = tls_errors
        sys.modules["umqtt5"].tcp = tcp
        sys.modules["umqtt5.optional"].tls_errors = tls_errors
