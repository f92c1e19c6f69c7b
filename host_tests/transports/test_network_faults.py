"""TLS and WebSocket behind the fault proxy: what holds over TCP holds over these."""

from __future__ import annotations

import secrets

import pytest

from host_tests.faults.device_run import Run
from host_tests.faults.proxy import Fault, before
from host_tests.faults.test_network_faults import COUNT, FAULTS, check, level
from host_tests.transports.conftest import Certificates
from tools.broker import Address

kinds = pytest.mark.parametrize("kind", ["tls", "ws", "wss"])


def run(kind: str, listeners: dict[str, Address], ca: str, faults: list[Fault], heal_after: float = 6) -> Run:
    def choose(number: int) -> Fault:
        return faults[number] if number < len(faults) else Fault()

    over = {"ca": ca if kind != "ws" else "", "path": "/mqtt" if kind != "tls" else ""}
    with before(listeners[kind], choose) as proxy:
        played = Run(listeners["tcp"], proxy, "f" + secrets.token_hex(4), COUNT)
        played.play(heal_after, heap="128k", over=over)
    return played


@kinds
@pytest.mark.parametrize("name", FAULTS)
def test_behind_faults(
    name: str, kind: str, listeners: dict[str, Address], certificates: Certificates
) -> None:
    check(run(kind, listeners, certificates.ca, FAULTS[name]))


@kinds
@pytest.mark.parametrize("fault", [Fault(flip=300), Fault(double=300)], ids=["flipped", "doubled"])
def test_altered_bytes(
    fault: Fault, kind: str, listeners: dict[str, Address], certificates: Certificates
) -> None:
    """Two connections only: a third handshake that is refused in a row is taken for no chance."""
    played = run(kind, listeners, certificates.ca, [fault] * 2, heal_after=4)
    assert played.report["connects"] >= 1
    level(played)
    if kind != "ws":  # TLS sees each of them
        check(played)
