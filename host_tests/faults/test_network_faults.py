"""A device in the VM behind the fault proxy: delay, stall, reset, corruption, each QoS, both directions."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from host_tests.faults.device_run import DeviceRun
from host_tests.faults.proxy import Fault, fault_proxy
from tools.broker import Address

COUNT = 40  # messages at each QoS in each direction

# the faults of the first connection, the second and so on; later connections have none
FAULTS = {
    "delay": [Fault(delay=0.02)] * 9,
    "jitter": [Fault(jitter=0.05)] * 9,
    "low_rate": [Fault(bytes_per_second=4000)] * 9,
    "single_bytes": [Fault(chunk_size=1)] * 9,
    "stall": [Fault(after_bytes=n, then="stall") for n in (700, 30, 1500)],
    "blackhole": [
        Fault(accept_only=True),
        Fault(after_bytes=900, then="swallow"),
        Fault(after_bytes=3, then="swallow"),
    ],
    "reset": [Fault(after_bytes=n, then="reset") for n in (900, 80, 1700, 3, 1200, 400)],
    "close": [Fault(after_bytes=n, then="close") for n in (800, 60, 1600, 2, 1100, 300)],
    "reset_in_single_bytes": [
        Fault(after_bytes=n, then="reset", chunk_size=1) for n in (650, 777, 912, 1301)
    ],
}
CORRUPTING_FAULTS = {
    "flipped_bits": [Fault(flip_bit_every=300)] * 9,
    "repeated_bytes": [Fault(repeat_byte_every=300)] * 9,
}


def run(broker: Address, faults: list[Fault], stop_faults_after: float = 6) -> DeviceRun:
    """Run a device: its first connection has the first fault, its second connection the second, and so on."""

    def choose(number: int) -> Fault:
        return faults[number] if number < len(faults) else Fault()

    with fault_proxy(broker, choose) as proxy:
        device_run = DeviceRun(broker, proxy, "f" + secrets.token_hex(4), COUNT)
        device_run.run(stop_faults_after)
    return device_run


def check_delivery(device_run: DeviceRun) -> None:
    """Check that no QoS 1 or 2 message was lost, none of QoS 0 or 2 repeated, and heap use has not grown."""
    report = device_run.report
    assert report["stopped"], report
    assert set(device_run.received[1]) == set(range(COUNT)), report
    assert device_run.received[2] == dict.fromkeys(range(COUNT), 1), (device_run.received[2], report)
    assert max(device_run.received[0].values(), default=1) == 1, report
    assert report["received"][1][0] == COUNT, report
    assert report["received"][2][:2] == [COUNT, 0], report
    assert report["received"][0][1] == 0, report
    assert report["acknowledged"] == 2 * COUNT + 1 and report["refused_messages"] == 0, report
    check_heap_and_poll_time(device_run)


def check_heap_and_poll_time(device_run: DeviceRun) -> None:
    """Check that heap use has not grown, and that no `poll(50)` has taken 2 s, the timeout of the client.

    The limit is high because the machine may be busy. `make soak` prints the longest poll.
    """
    first, last = device_run.report["heap"]
    assert last <= first + 512, device_run.report
    assert device_run.report["longest_poll"] < 2_000_000, device_run.report


@pytest.mark.parametrize("name", FAULTS)
def test_no_message_is_lost_over_a_faulty_tcp_connection(name: str, mosquitto: Address) -> None:
    device_run = run(mosquitto, FAULTS[name])
    check_delivery(device_run)


@pytest.mark.parametrize("name", CORRUPTING_FAULTS)
def test_the_link_works_again_after_corrupted_bytes(name: str, mosquitto: Address) -> None:
    """Without TLS a corrupted payload cannot be detected, so only the link and the heap are checked."""
    device_run = run(mosquitto, CORRUPTING_FAULTS[name], stop_faults_after=4)
    assert device_run.report["connects"] >= 1
    check_heap_and_poll_time(device_run)


def test_no_message_is_lost_if_connections_are_refused_for_a_while(mosquitto: Address) -> None:
    class Refusing(DeviceRun):
        def _exchange(self, client: Any, *arguments: Any) -> None:
            self._proxy.refuse()
            for _ in range(100):
                client.poll(20)
            self._proxy.accept()
            super()._exchange(client, *arguments)

    with fault_proxy(mosquitto, lambda number: Fault()) as proxy:
        device_run = Refusing(mosquitto, proxy, "f" + secrets.token_hex(4), COUNT)
        device_run.run(stop_faults_after=1)
    check_delivery(device_run)
    assert device_run.report["drops_network"] >= 1
