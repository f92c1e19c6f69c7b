"""TLS: contexts, PEM files, and the TLS stream of MicroPython (host_tests/transports uses real brokers)."""

import sys

from helper import raises
from umqtt5 import tls
from umqtt5.optional.permanent_error import PermanentError

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


def test_wrap_requires_a_context():
    assert "umqtt5.tls.context" in str(raises(TypeError, tls.wrap, print, True))


class Below:
    closed = 0
    taken = 0  # number of bytes that a write accepts, 0 for none
    asked = ()

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
        return None

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
        below.error, below.taken = None, 1
        assert stream.write(b"a", 0, 1) == 1 and not stream._transport.refusals

    def test_repeated_handshake_errors_become_permanent():
        check(ValueError("The certificate is not correctly signed by the trusted CA\n"), True)
        check(OSError(-0x7780, "alert"), True)
        check(OSError(-0x7280, "eof"), False)
        check(OSError(104), False)
