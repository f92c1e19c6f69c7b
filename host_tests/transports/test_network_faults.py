"""TLS and WebSocket behind the fault proxy: what holds over TCP holds over these."""

from __future__ import annotations

import secrets

import pytest

from host_tests.faults.device_run import DeviceRun
from host_tests.faults.proxy import Fault, fault_proxy
from host_tests.faults.test_network_faults import COUNT, FAULTS, check_delivery, check_heap_and_poll_time
from host_tests.transports.conftest import Certificates
from tools.broker import Address

kinds = pytest.mark.parametrize("kind", ["tls", "ws", "wss"])


def run(
    kind: str, listeners: dict[str, Address], ca: str, faults: list[Fault], stop_faults_after: float = 6
) -> DeviceRun:
    def choose(number: int) -> Fault:
        return faults[number] if number < len(faults) else Fault()

    tls_and_path = {"ca": ca if kind != "ws" else "", "path": "/mqtt" if kind != "tls" else ""}
    with fault_proxy(listeners[kind], choose) as proxy:
        played = DeviceRun(listeners["tcp"], proxy, "f" + secrets.token_hex(4), COUNT)
        played.run(stop_faults_after, heap="128k", tls_and_path=tls_and_path)
    return played


@kinds
@pytest.mark.parametrize("name", FAULTS)
def test_behind_faults(
    name: str, kind: str, listeners: dict[str, Address], certificates: Certificates
) -> None:
    check_delivery(run(kind, listeners, certificates.ca, FAULTS[name]))


@kinds
@pytest.mark.parametrize(
    "fault", [Fault(flip_bit_every=300), Fault(repeat_byte_every=300)], ids=["flipped", "doubled"]
)
def test_altered_bytes(
    fault: Fault, kind: str, listeners: dict[str, Address], certificates: Certificates
) -> None:
    """Two connections only: a third handshake that is refused in a row is taken for no chance."""
    played = run(kind, listeners, certificates.ca, [fault] * 2, stop_faults_after=4)
    assert played.report["connects"] >= 1
    check_heap_and_poll_time(played)
    if kind != "ws":  # TLS sees each of them
        check_delivery(played)
