"""A broker that refuses the client's certificate, or has none that is valid: words, and permanent errors."""

from __future__ import annotations

import re
import socket
import ssl
import struct

import pytest

from host_tests.transports.conftest import Certificates, tls_lines
from host_tests.transports.run_scenario import on_each_interpreter, run_scenario
from host_tests.transports.scripted_servers import serve_connections
from tools import broker
from umqtt5.cpython.tls import Stream
from umqtt5.optional.permanent_error import PermanentError
from umqtt5.tls import TLSTransport

Listeners = dict[str, broker.Address]
# the VM has TLS 1.2 only. In TLS 1.3 the alert arrives after the handshake
on_each_version = pytest.mark.parametrize(
    ("interpreter", "tls_1_2"), [("cpython", False), ("cpython", True), ("vm", True)]
)


def connection_errors(
    interpreter: str, address: broker.Address, **settings: object
) -> tuple[list[str], list[bool]]:
    """Try to connect three times. Return the errors, and whether they are permanent."""
    output = run_scenario(interpreter, "connection_errors", address, kind="tls", **settings)
    errors = re.findall(r"^error (.+)$", output, re.MULTILINE)
    permanent = re.findall(r"^permanent (\w+)$", output, re.MULTILINE)
    assert len(errors) == 3, output
    return errors, [word == "True" for word in permanent]


@on_each_version
@pytest.mark.parametrize(
    ("client", "words"),
    [
        (None, "certificate required|handshake failure"),
        ("expired_client", "certificate expired"),
        ("revoked_client", "certificate revoked"),
        ("foreign_client", "unknown CA"),
    ],
)
def test_a_client_certificate_that_is_missing_or_refused_is_a_permanent_error(
    client: str | None, words: str, interpreter: str, tls_1_2: bool, certificates: Certificates
) -> None:
    lines = [
        *tls_lines(certificates),
        f"cafile {certificates.ca}",
        f"crlfile {certificates.crl}",
        "require_certificate true",
    ]
    cert = getattr(certificates, client) if client else None
    with broker.Mosquitto(*lines) as running:
        errors, permanent = connection_errors(
            interpreter, running.address, ca=certificates.ca, cert=cert, tls_1_2=tls_1_2
        )
    for error in errors:
        assert "the broker refuses the connection" in error and "cert" in error, error
        # mbedTLS does not tell which alert it received. The library reads it if mbedTLS did not
        if interpreter == "cpython" or "(alert" in error:
            assert re.search(words, error), error
    assert permanent == [False, False, True]


@on_each_interpreter
@pytest.mark.parametrize(
    ("server", "ca", "words"),
    [
        ("server", "other_ca", "Pass the certificate of the authority that signed it as ca"),
        ("wrong_host", "ca", "Connect to a name in the certificate.*The name was 127.0.0.1"),
        ("expired", "ca", r"Renew it, if the clock is right: it shows 20\d\d-"),
        ("future", "ca", r"Set the clock: it shows 20\d\d-"),
    ],
)
def test_a_broker_certificate_that_is_not_valid_is_a_permanent_error_that_says_what_to_change(
    server: str, ca: str, words: str, interpreter: str, certificates: Certificates
) -> None:
    with broker.Mosquitto(*tls_lines(certificates, server)) as running:
        errors, permanent = connection_errors(
            interpreter, running.address, ca=getattr(certificates, ca), server_hostname=None
        )
    assert all("the broker's certificate" in error and re.search(words, error) for error in errors), errors
    assert permanent == [False, False, True]


@on_each_interpreter
def test_the_name_to_check_can_differ_from_the_host(interpreter: str, certificates: Certificates) -> None:
    with broker.Mosquitto(*tls_lines(certificates, "wrong_host")) as running:
        output = run_scenario(
            interpreter,
            "connection_errors",
            running.address,
            kind="tls",
            ca=certificates.ca,
            server_hostname="elsewhere.example",
        )
    assert "connected" in output


@on_each_interpreter
def test_an_mqtt_port_without_tls_gets_words_and_is_not_permanent(
    interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    errors, permanent = connection_errors(interpreter, listeners["tcp"], ca=certificates.ca)
    assert all("Does this port speak TLS?" in error for error in errors), errors
    assert permanent == [False] * 3


@on_each_interpreter
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x20\x02\x00\x01", b""]
)
def test_an_answer_that_is_not_tls_gets_words(
    answer: bytes, interpreter: str, certificates: Certificates
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(2000)
        connection.sendall(answer)

    with serve_connections(serve) as address:
        errors, permanent = connection_errors(interpreter, address, ca=certificates.ca)
    assert all("Does this port speak TLS?" in error for error in errors), errors
    assert permanent == [False] * 3


@on_each_interpreter
@pytest.mark.parametrize(("alert", "is_refusal"), [(48, True), (112, True), (20, False), (80, False)])
def test_an_alert_is_found_although_the_connection_was_reset(
    alert: int, is_refusal: bool, interpreter: str, certificates: Certificates
) -> None:
    """An alert of corrupted data is not permanent."""

    def serve(connection: socket.socket) -> None:
        connection.recv(1)  # the bytes that are not read cause a reset
        connection.sendall(b"\x15\x03\x03\x00\x02\x02" + bytes([alert]))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))

    with serve_connections(serve) as address:
        errors, permanent = connection_errors(interpreter, address, ca=certificates.ca)
    if is_refusal:
        assert all("the broker refuses" in error for error in errors), errors
    if interpreter == "cpython":
        assert permanent == [False, False, is_refusal], errors


class Below:
    """The stream below TLS, on CPython."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock


def test_an_alert_that_openssl_did_not_read_is_read_from_the_socket() -> None:
    transport = TLSTransport(None, None, None)
    for is_permanent in (False, False, True):
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.sendall(b"\x15\x03\x03\x00\x02\x02\x2d")
            with pytest.raises(OSError, match="certificate expired") as caught:
                Stream(transport, Below(near), "broker")._raise_closed(BrokenPipeError(32, "Broken pipe"))
            assert isinstance(caught.value, PermanentError) is is_permanent
            with pytest.raises(OSError, match="Does this port speak TLS"):
                Stream(transport, Below(near), "broker")._raise_closed(BrokenPipeError(32, "Broken pipe"))


def test_a_context_for_servers_and_a_name_that_is_none_are_permanent_errors() -> None:
    for context, host in (
        (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "broker"),
        (ssl.create_default_context(), ""),
        (ssl.create_default_context(), "a" * 70),
    ):
        near, far = socket.socketpair()
        with near, far:
            stream = Stream(TLSTransport(None, context, None), Below(near), host)
            with pytest.raises(PermanentError, match="TLS to "):
                stream.do_handshake()
