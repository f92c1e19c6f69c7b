"""TLS and WebSocket transports with a real mosquitto, on CPython and in the VM."""

from __future__ import annotations

import re

import pytest

from host_tests.transports.conftest import Certificates, tls_lines
from host_tests.transports.run_scenario import on_each_interpreter, run_scenario
from tools import broker

Listeners = dict[str, broker.Address]
kinds = pytest.mark.parametrize("kind", ["tls", "mutual", "ws", "wss"])


def options(kind: str, certificates: Certificates) -> dict[str, object]:
    """Return the scenario options for a transport."""
    settings: dict[str, object] = {"kind": kind}
    if kind in ("tls", "mutual", "wss"):
        settings["ca"] = certificates.ca
    if kind == "mutual":
        settings["cert"] = certificates.client
    return settings


@on_each_interpreter
@kinds
def test_messages_of_every_size_arrive_unchanged(
    kind: str, interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    run_scenario(
        interpreter, "messages_of_every_size_both_ways", listeners[kind], **options(kind, certificates)
    )


@on_each_interpreter
@kinds
def test_the_client_reconnects_after_a_lost_connection(
    kind: str, interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    run_scenario(interpreter, "lost_link_reconnects", listeners[kind], **options(kind, certificates))


@on_each_interpreter
@kinds
def test_the_asyncio_client_sends_large_messages_and_reconnects(
    kind: str, interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    run_scenario(interpreter, "asyncio_client_reconnects", listeners[kind], **options(kind, certificates))


@on_each_interpreter
def test_a_certificate_is_accepted_for_a_host_name(
    interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    settings = options("tls", certificates)
    run_scenario(interpreter, "lost_link_reconnects", listeners["tls"], host="localhost", **settings)


def connection_error(interpreter: str, address: broker.Address, **settings: object) -> tuple[str, bool]:
    """Return the error of the third try to connect, and whether it is permanent. Earlier ones must not be."""
    output = run_scenario(interpreter, "connection_errors", address, **settings)
    errors = re.findall(r"^error (.+)$", output, re.MULTILINE)
    permanent = re.findall(r"^permanent (\w+)$", output, re.MULTILINE)
    assert len(errors) == 3 and permanent[:2] == ["False", "False"], output
    return errors[2], permanent[2] == "True"


@on_each_interpreter
def test_a_certificate_of_an_unknown_authority_is_a_permanent_error(
    interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    for kind in ("tls", "wss"):
        error, is_permanent = connection_error(
            interpreter, listeners[kind], kind=kind, ca=certificates.other_ca
        )
        assert ("issuer" in error or "not correctly signed" in error) and is_permanent, error


@on_each_interpreter
@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("wrong_host", ("127.0.0.1", "does not match")),
        ("expired", ("expired",)),
        ("future", ("not yet valid", "future")),
    ],
)
def test_an_invalid_certificate_is_a_permanent_error_unless_verification_is_off(
    interpreter: str,
    server: str,
    words: tuple[str, ...],
    certificates: Certificates,
    listeners: Listeners,
) -> None:
    with broker.Mosquitto(*tls_lines(certificates, server)) as server_broker:
        error, is_permanent = connection_error(
            interpreter, server_broker.address, kind="tls", ca=certificates.ca
        )
        assert any(word in error for word in words) and is_permanent, error
        settings = {"kind": "tls", "verify": False}
        assert "connected" in run_scenario(
            interpreter, "connection_errors", server_broker.address, **settings
        )


@on_each_interpreter
def test_a_missing_client_certificate_is_a_permanent_error(
    interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    error, is_permanent = connection_error(interpreter, listeners["mutual"], kind="tls", ca=certificates.ca)
    if interpreter == "vm" and not is_permanent:
        # mosquitto closed the connection before the handshake was written, so the client read no alert
        assert re.match(r"(32|104|.*closed)", error), error
    else:
        assert "the broker refuses" in error and is_permanent, error


@on_each_interpreter
@pytest.mark.parametrize(
    ("kind", "listener"), [("tcp", "tls"), ("tls", "tcp"), ("ws", "tcp"), ("ws", "wss"), ("wss", "ws")]
)
def test_another_protocol_on_the_port_is_an_error_but_not_a_permanent_one(
    kind: str, listener: str, interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    settings = options(kind, certificates)
    _, is_permanent = connection_error(interpreter, listeners[listener], timeout=3000, **settings)
    assert not is_permanent


@on_each_interpreter
def test_a_closed_port_is_an_error_but_not_a_permanent_one(
    interpreter: str, certificates: Certificates
) -> None:
    closed_port = broker.Address("127.0.0.1", broker.free_port())
    for kind in ("tls", "ws", "wss"):
        error, is_permanent = connection_error(interpreter, closed_port, **options(kind, certificates))
        assert "ECONNREFUSED" in error or "refused" in error, error
        assert not is_permanent


def allocated_bytes(kind: str, listeners: Listeners, certificates: Certificates) -> int:
    """Return the number of bytes that a message allocates in the VM."""
    output = run_scenario("vm", "measure_allocations", listeners[kind], **options(kind, certificates))
    found = re.search(r"^bytes (\d+)$", output, re.MULTILINE)
    assert found, output
    return int(found[1])


@pytest.mark.parametrize("kind", ["tls", "ws", "wss"])
def test_a_message_allocates_no_more_than_over_tcp(
    kind: str, listeners: Listeners, certificates: Certificates
) -> None:
    """Over TCP, only the scenario itself allocates."""
    assert allocated_bytes(kind, listeners, certificates) == allocated_bytes("tcp", listeners, certificates)
