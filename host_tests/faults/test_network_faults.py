"""A device in the real VM behind a bad network, before a real broker, at each QoS both ways."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from host_tests.faults.device_run import DeviceRun
from host_tests.faults.proxy import Fault, fault_proxy
from tools.broker import Address

COUNT = 40  # messages at each QoS, each way

# what happens to the connections, the first, the second and so on; then nothing does any more
FAULTS = {
    "delay": [Fault(delay=0.02)] * 9,
    "jitter": [Fault(jitter=0.05)] * 9,
    "rate": [Fault(bytes_per_second=4000)] * 9,
    "single_bytes": [Fault(chunk_size=1)] * 9,
    "stall": [Fault(after_bytes=n, then="stall") for n in (700, 30, 1500)],
    "blackhole": [
        Fault(accept_only=True),
        Fault(after_bytes=900, then="swallow"),
        Fault(after_bytes=3, then="swallow"),
    ],
    "reset": [Fault(after_bytes=n, then="reset") for n in (900, 80, 1700, 3, 1200, 400)],
    "close": [Fault(after_bytes=n, then="close") for n in (800, 60, 1600, 2, 1100, 300)],
    "cut_in_single_bytes": [Fault(after_bytes=n, then="reset", chunk_size=1) for n in (650, 777, 912, 1301)],
}
CORRUPTING_FAULTS = {
    "flipped_bits": [Fault(flip_bit_every=300)] * 9,
    "doubled_bytes": [Fault(repeat_byte_every=300)] * 9,
}


def run(broker: Address, faults: list[Fault], stop_faults_after: float = 6) -> DeviceRun:
    def choose(number: int) -> Fault:
        return faults[number] if number < len(faults) else Fault()

    with fault_proxy(broker, choose) as proxy:
        played = DeviceRun(broker, proxy, "f" + secrets.token_hex(4), COUNT)
        played.play(stop_faults_after)
    return played


def check_delivery(played: DeviceRun) -> None:
    """Nothing at QoS 1 and 2 is lost, nothing at QoS 2 comes twice, all in order, nothing grows."""
    report = played.report
    assert report["stopped"], report
    assert set(played.received[1]) == set(range(COUNT)), report
    assert played.received[2] == dict.fromkeys(range(COUNT), 1), (played.received[2], report)
    assert max(played.received[0].values(), default=1) == 1, report
    assert report["received"][1][0] == COUNT, report
    assert report["received"][2][:2] == [COUNT, 0], report
    assert report["received"][0][1] == 0, report
    assert report["acknowledged"] == 2 * COUNT + 1 and report["refused_messages"] == 0, report
    check_heap_and_poll_time(played)


def check_heap_and_poll_time(played: DeviceRun) -> None:
    """The heap is what it was, and no poll waits for what a fault keeps back.

    That would be two seconds at least, the shortest of the bounds here; how long one takes on a quiet
    machine is told by `make soak`.
    """
    first, last = played.report["heap"]
    assert last <= first + 512, played.report
    assert played.report["longest_poll"] < 2_000_000, played.report


@pytest.mark.parametrize("name", FAULTS)
def test_over_tcp(name: str, mosquitto: Address) -> None:
    played = run(mosquitto, FAULTS[name])
    check_delivery(played)


@pytest.mark.parametrize("name", CORRUPTING_FAULTS)
def test_altered_bytes_end_in_a_link_that_works(name: str, mosquitto: Address) -> None:
    """Without TLS nobody can tell that a payload was altered; the link comes back, and goes on."""
    played = run(mosquitto, CORRUPTING_FAULTS[name], stop_faults_after=4)
    assert played.report["connects"] >= 1
    check_heap_and_poll_time(played)


def test_refused_connections(mosquitto: Address) -> None:
    class Refusing(DeviceRun):
        def _talk(self, client: Any, *arguments: Any) -> None:
            self._proxy.refuse()
            for _ in range(100):
                client.poll(20)
            self._proxy.accept()
            super()._talk(client, *arguments)

    with fault_proxy(mosquitto, lambda number: Fault()) as proxy:
        played = Refusing(mosquitto, proxy, "f" + secrets.token_hex(4), COUNT)
        played.play(stop_faults_after=1)
    check_delivery(played)
    assert played.report["drops_network"] >= 1
