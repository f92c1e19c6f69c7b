"""TLS and WebSocket over a faulty network: delays, stalls, resets and altered bytes (fault proxy)."""

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
    """Run a device whose connections have these faults, one after the other."""

    def choose(number: int) -> Fault:
        return faults[number] if number < len(faults) else Fault()

    tls_and_path = {"ca": ca if kind != "ws" else "", "path": "/mqtt" if kind != "tls" else ""}
    with fault_proxy(listeners[kind], choose) as proxy:
        device_run = DeviceRun(listeners["tcp"], proxy, "f" + secrets.token_hex(4), COUNT)
        device_run.run(stop_faults_after, heap="144k", tls_and_path=tls_and_path)
    return device_run


@kinds
@pytest.mark.parametrize("name", FAULTS)
def test_no_message_is_lost_over_a_faulty_connection(
    name: str, kind: str, listeners: dict[str, Address], certificates: Certificates
) -> None:
    check_delivery(run(kind, listeners, certificates.ca, FAULTS[name]))


@kinds
@pytest.mark.parametrize(
    "fault", [Fault(flip_bit_every=300), Fault(repeat_byte_every=300)], ids=["flipped", "doubled"]
)
def test_the_device_survives_altered_bytes_and_tls_detects_them(
    fault: Fault, kind: str, listeners: dict[str, Address], certificates: Certificates
) -> None:
    """Only two connections have the fault, because a third failed handshake in a row is a permanent error."""
    device_run = run(kind, listeners, certificates.ca, [fault] * 2, stop_faults_after=4)
    assert device_run.report["connects"] >= 1
    check_heap_and_poll_time(device_run)
    if kind != "ws":  # TLS detects every altered byte
        check_delivery(device_run)
