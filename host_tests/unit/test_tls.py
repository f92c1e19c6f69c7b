"""TLS: contexts, PEM files, and the TLS stream of MicroPython (host_tests/transports uses real brokers)."""

import sys

from helper import raises
from umqtt5 import Client, tls
from umqtt5.optional import tls_errors, tls_options
from umqtt5.optional.permanent_error import PermanentError

try:
    import ssl
except ImportError:  # the 32-bit VM
    ssl = None

PEM = b"""subject: somebody
-----BEGIN CERTIFICATE-----
AAEC
AwQF
-----END CERTIFICATE-----
-----BEGIN EC PARAMETERS-----
BgUrgQQAIg==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
BgcI
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
CQo=
-----END CERTIFICATE-----
"""


def test_a_context_without_verification_must_be_explicit():
    assert "verify=False" in str(raises(ValueError, tls.context))
    for arguments in ((b"ca", None, None, False), (b"ca", b"cert"), (b"ca", None, b"key")):
        raises(ValueError, tls.context, *arguments)


def test_pem_is_converted_to_der():
    assert tls._ders(PEM, b"CERTIFICATE") == [b"\x00\x01\x02\x03\x04\x05", b"\x09\x0a"]
    assert tls._ders(PEM.replace(b"\n", b"\r\n"), b"PRIVATE KEY") == [b"\x06\x07\x08"]
    assert tls._ders(b"\x30\x82", b"CERTIFICATE") == [b"\x30\x82"]
    raises(ValueError, tls._ders, PEM.replace(b"PRIVATE", b"PUBLIC"), b"PRIVATE KEY")
    raises(ValueError, tls._ders, PEM.replace(b"EC PRIVATE", b"ENCRYPTED PRIVATE"), b"PRIVATE KEY")
    raises(ValueError, tls._ders, PEM.replace(b"BgcI", b"Proc-Type: 4,ENCRYPTED\n\nBgcI"), b"PRIVATE KEY")
    raises(OSError, tls._ders, "no/such/file.pem", b"CERTIFICATE")


def test_a_ca_certificate_may_be_text_or_bytes_but_nothing_else():
    assert len(tls._ders(PEM.decode(), b"CERTIFICATE")) == 2
    assert tls._ders(bytearray(PEM), b"PRIVATE KEY") == [b"\x06\x07\x08"]
    functions = [lambda data: tls._ders(data, b"CERTIFICATE")]
    if ssl:
        functions.append(tls.context)
    for function in functions:
        for ca in (5, [PEM], {}):
            assert "paths (str)" in str(raises(TypeError, function, ca))
        assert "no/such/file.pem" in str(raises(OSError, function, "no/such/file.pem"))


class Context:
    """An SSLContext with a verify mode: 0 is CERT_NONE, 1 CERT_OPTIONAL, 2 CERT_REQUIRED."""

    def __init__(self, verify_mode):
        self.verify_mode = verify_mode

    def wrap_socket(self, *_):
        pass


def test_wrap_requires_a_context():
    assert "umqtt5.tls.context" in str(raises(TypeError, tls.wrap, print, True))
    for odd in (True, {}, {"cadata": b""}, "ca.pem", "", b"", 1, sys, Context, print):
        assert "ssl must be an SSLContext" in str(raises(TypeError, tls.wrap, print, odd))
        assert "ssl must be an SSLContext" in str(
            raises(TypeError, lambda odd=odd: Client("broker", ssl=odd, transport=print))
        )
    for name in (b"broker", "", 5):
        assert "server_hostname" in str(raises(TypeError, tls.wrap, print, Context(2), name))


def test_a_context_that_verifies_and_ignores_the_result_is_refused():
    assert "CERT_REQUIRED" in str(raises(ValueError, tls.wrap, print, Context(1)))


def printed_by(function, *arguments):
    """Return what `umqtt5.tls` prints during a call."""
    lines = []
    tls.print = lines.append
    try:
        function(*arguments)
    finally:
        del tls.print
    return lines


def test_a_context_that_does_not_verify_is_reported_unless_verify_is_false():
    assert "not authenticated" in printed_by(tls.wrap, print, Context(0))[0]
    assert not printed_by(tls.wrap, print, Context(2))
    make = tls._make_context
    tls._make_context = lambda *_: Context(0)
    try:
        context = tls.context(verify=False)
        assert not printed_by(tls.wrap, print, context)
    finally:
        tls._make_context = make


def test_a_pre_shared_key_needs_an_identity_and_excludes_certificates():
    for words, arguments in (
        ("together", {"psk": b"key"}),
        ("together", {"psk_identity": "panel"}),
        ("together", {"psk": b"", "psk_identity": "panel"}),
        ("not both", {"psk": b"key", "psk_identity": "panel", "ca": b"ca"}),
        ("not both", {"psk": b"key", "psk_identity": "panel", "verify": False}),
        ("hexadecimal", {"psk": "xyz", "psk_identity": "panel"}),
        ("hexadecimal", {"psk": "abc", "psk_identity": "panel"}),
    ):
        error = raises(ValueError, lambda arguments=arguments: tls.context(**arguments))
        assert words in str(error), error
    raises(TypeError, lambda: tls.context(psk=5, psk_identity="panel"))


def test_alpn_names_are_checked_and_a_port_without_alpn_is_named():
    context = Context(2)
    for odd in ("", [], ["a", ""], ["x" * 256], [5], 5, b"mqtt"):
        assert "alpn" in str(raises(ValueError, tls_options.set_alpn, context, odd))
    assert "no ALPN" in str(raises(ValueError, tls_options.set_alpn, context, "x-amzn-mqtt-ca"))
    inner = Context(2)
    offered = []
    inner.set_alpn_protocols = offered.append
    context._context = inner
    tls_options.set_alpn(context, "x-amzn-mqtt-ca")
    tls_options.set_alpn(context, ("a", "b"))
    assert offered == [["x-amzn-mqtt-ca"], ["a", "b"]]


class Transport:
    """A TLS transport that failed `refusals` times."""

    refusals = 2
    context = None


def test_an_unset_clock_is_not_a_permanent_error():
    def check(words, year, is_permanent):
        real = tls_errors.gmtime
        tls_errors.gmtime = lambda: (year, 1, 2, 3, 4, 5, 6, 7)
        try:
            error = raises(
                OSError, tls_errors.raise_certificate_error, Transport(), -0x2700, words, "broker.local"
            )
        finally:
            tls_errors.gmtime = real
        assert isinstance(error, PermanentError) is is_permanent
        return str(error)

    future = "The certificate validity starts in the future"
    assert "2000-01-02" in check(future, 2000, False)
    check("certificate is not yet valid", 2021, False)
    check(future, 2026, True)
    # the clock is not the only reason
    check(future + ". The certificate is not correctly signed by the trusted CA", 2000, True)
    check("The certificate validity has expired", 2000, True)
    assert "broker.local" in check("The certificate Common Name (CN) does not match", 2026, True)


def test_alerts_of_corrupted_data_are_not_permanent():
    def check(alert, is_permanent, context=None):
        transport = Transport()
        transport.context = context
        error = raises(OSError, tls_errors.raise_alert, transport, -0x7780, alert)
        assert isinstance(error, PermanentError) is is_permanent, alert
        return str(error)

    for alert in (40, 42, 43, 44, 45, 46, 48, 49, 70, 71, 112, 115, 116, 120):
        assert "(alert %d " % alert in check(alert, True)
    for alert in (0, 10, 20, 22, 47, 50, 51, 80, 90):
        check(alert, False)
    assert "client certificate" in check(None, True)
    with_psk = Context(2)
    with_psk.psk_identity = b"panel"
    for alert in (None, 20, 40, 51):
        assert "psk_file" in check(alert, True, with_psk)
    check(80, False, with_psk)


def test_only_an_alert_record_is_an_alert():
    assert tls_errors.find_alert(b"\x15\x03\x03\x00\x02\x02\x30") == 48
    for record in (b"", b"\x15\x03\x03\x00\x02\x02", b"\x16\x03\x03\x00\x02\x02\x30", b"HTTP/1."):
        assert tls_errors.find_alert(record) is None


class Below:
    closed = 0
    taken = 0  # number of bytes that a write accepts, 0 for none
    asked = ()
    received = None  # number of bytes that a read returns
    alert = b""  # bytes that have arrived below TLS

    def __init__(self):
        self.error = None

    def wrap_socket(self, sock, server_hostname, do_handshake_on_connect):
        self.name = server_hostname
        if self.error:
            raise self.error
        return self

    def readinto(self, buf, n):
        if self.error:
            raise self.error
        return self.received

    def write(self, buf, at, n):
        if self.error:
            raise self.error
        self.asked += (n,)
        return min(n, self.taken) or None

    def close(self):
        self.closed += 1


if sys.implementation.name != "cpython":

    def test_the_server_name_is_the_host_or_the_given_name():
        below = Below()
        tls.wrap(lambda host, port: below, below)("broker", 8883)
        assert below.name == "broker"
        tls.wrap(lambda host, port: below, below, "other")("10.0.0.1", 8883)
        assert below.name == "other"

    def test_the_socket_is_closed_if_wrapping_fails():
        below = Below()
        below.error = OSError(12)
        raises(OSError, tls.wrap(lambda host, port: below, below), "broker", 8883)
        assert below.closed == 1

    def test_a_write_without_progress_is_repeated_with_the_same_size():
        below = Below()
        stream = tls.wrap(lambda host, port: below, below)("broker", 8883)
        for _ in range(2):  # during the handshake and after it
            below.asked = ()
            below.taken = 0
            assert stream.write(b"abcdef", 0, 3) is None
            assert stream.write(b"abcdef", 0, 6) is None
            below.taken = 100
            assert stream.write(b"abcdef", 0, 6) == 3
            assert stream.write(b"abcdef", 3, 3) == 3
            assert below.asked == (3, 3, 3, 3)

    def check(error, lasting):
        below = Below()
        stream = tls.wrap(lambda host, port: below, below)("broker", 8883)
        below.error = error
        found = [
            raises(OSError, stream.readinto, bytearray(1), 1),
            raises(OSError, stream.write, b"a", 0, 1),
            raises(OSError, stream.write, b"a", 0, 1),
        ]
        assert [isinstance(one, PermanentError) for one in found] == [False, False, lasting], found
        for one in found:
            assert one.errno == (error.errno if isinstance(error, OSError) else -0x2700)
        # in TLS 1.3 the broker can refuse the client after the handshake, so only a received byte counts
        below.error, below.taken = None, 1
        refusals = stream._transport.refusals
        assert stream.write(b"a", 0, 1) == 1 and stream._transport.refusals == refusals
        below.received = 1
        assert stream.readinto(bytearray(1), 1) == 1 and not stream._transport.refusals
        assert stream.readinto == below.readinto

    def test_a_refusal_after_the_handshake_is_permanent_at_the_third_try():
        """As in TLS 1.3: CONNECT is written, then the alert arrives."""
        below = Below()
        transport = tls.wrap(lambda host, port: below, below)
        found = []
        for _ in range(3):
            below.error, below.taken = None, 1
            stream = transport("broker", 8883)
            assert stream.write(b"a", 0, 1) == 1
            below.error = OSError(-0x7780)
            found.append(raises(OSError, stream.readinto, bytearray(1), 1))
        assert [isinstance(error, PermanentError) for error in found] == [False, False, True]

    def test_repeated_handshake_errors_become_permanent():
        check(ValueError("The certificate is not correctly signed by the trusted CA\n"), True)
        check(OSError(-0x7780, "alert"), True)
        check(OSError(-0x7280, "eof"), False)
        check(OSError(104), False)
        check(OSError(32), False)

    class Socket(Below):
        """The socket below TLS, in which an alert has arrived."""

        def readinto(self, buf):
            buf[: len(self.alert)] = self.alert
            return len(self.alert) or None

    def test_an_alert_that_mbedtls_did_not_read_is_read_from_the_socket():
        below, sock = Below(), Socket()
        stream = tls.wrap(lambda host, port: sock, below)("broker", 8883)
        below.error = OSError(32)
        assert "Does this port speak TLS?" in str(raises(OSError, stream.write, b"a", 0, 1))
        sock.alert = b"\x15\x03\x03\x00\x02\x02\x2d"
        for is_permanent in (False, False, True):
            error = raises(OSError, stream.write, b"a", 0, 1)
            assert "certificate expired" in str(error) and error.errno == 32
            assert isinstance(error, PermanentError) is is_permanent

    class Module:
        """A stand-in for the modules `ssl` and `tls`."""

        PROTOCOL_TLS_CLIENT, CERT_NONE, CERT_REQUIRED = 0, 0, 2

    class FirmwareWithoutPem:
        """`ssl.SSLContext` of a firmware that reads DER only."""

        def __init__(self, protocol):
            pass

        def load_verify_locations(self, cadata):
            if b"BEGIN" in cadata or not cadata:
                raise ValueError("invalid cert")

        def load_cert_chain(self, cert, key):
            if b"BEGIN" in cert:
                raise ValueError("invalid cert")

    class FirmwareWithPem(FirmwareWithoutPem):
        loaded = None

        def load_verify_locations(self, cadata):
            pass

        def load_cert_chain(self, cert, key):
            FirmwareWithPem.loaded = cert, key

    def with_module(name, context, function, *arguments):
        """Call a function while the module `name` contains this SSLContext."""
        module = Module()
        module.SSLContext = context
        before = sys.modules.get(name)
        sys.modules[name] = module
        try:
            return function(*arguments)
        finally:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before

    def test_a_chain_is_sent_if_the_firmware_reads_pem_otherwise_the_error_says_so():
        with_module("ssl", FirmwareWithPem, tls.context, b"\x30", PEM, PEM)
        chain, key = FirmwareWithPem.loaded
        assert tls._ders(chain, b"CERTIFICATE") == tls._ders(PEM, b"CERTIFICATE") and key == b"\x06\x07\x08"
        error = raises(ValueError, with_module, "ssl", FirmwareWithoutPem, tls.context, b"\x30", PEM, PEM)
        assert "reads no PEM" in str(error) and "first of these 2" in str(error)

    def test_an_error_of_mbedtls_names_the_argument():
        error = raises(ValueError, with_module, "ssl", FirmwareWithoutPem, tls.context, b"")
        assert str(error) == "ca: invalid cert"

    def test_a_firmware_without_pre_shared_keys_says_so():
        class WithoutAttribute:
            def __new__(cls, protocol):
                return object()  # an object whose attributes cannot be set

        def make():
            return tls.context(psk=b"k" * 16, psk_identity="panel")

        error = raises(ValueError, with_module, "tls", WithoutAttribute, make)
        assert "no pre-shared keys" in str(error)
