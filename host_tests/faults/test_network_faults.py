"""A device in the real VM behind a bad network, before a real broker, at each QoS both ways."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from host_tests.faults.device_run import Run
from host_tests.faults.proxy import Fault, before
from tools.broker import Address

COUNT = 40  # messages at each QoS, each way

# what happens to the connections, the first, the second and so on; then nothing does any more
FAULTS = {
    "delay": [Fault(delay=0.02)] * 9,
    "jitter": [Fault(jitter=0.05)] * 9,
    "rate": [Fault(rate=4000)] * 9,
    "single_bytes": [Fault(piece=1)] * 9,
    "stall": [Fault(after=n, then="stall") for n in (700, 30, 1500)],
    "blackhole": [Fault(silent=True), Fault(after=900, then="swallow"), Fault(after=3, then="swallow")],
    "reset": [Fault(after=n, then="reset") for n in (900, 80, 1700, 3, 1200, 400)],
    "close": [Fault(after=n, then="close") for n in (800, 60, 1600, 2, 1100, 300)],
    "cut_in_single_bytes": [Fault(after=n, then="reset", piece=1) for n in (650, 777, 912, 1301)],
}
ALTERED = {
    "flipped_bits": [Fault(flip=300)] * 9,
    "doubled_bytes": [Fault(double=300)] * 9,
}


def run(broker: Address, faults: list[Fault], heal_after: float = 6) -> Run:
    def choose(number: int) -> Fault:
        return faults[number] if number < len(faults) else Fault()

    with before(broker, choose) as proxy:
        played = Run(broker, proxy, "f" + secrets.token_hex(4), COUNT)
        played.play(heal_after)
    return played


def check(played: Run) -> None:
    """Nothing at QoS 1 and 2 is lost, nothing at QoS 2 comes twice, all in order, nothing grows."""
    report = played.report
    assert report["stopped"], report
    assert set(played.up[1]) == set(range(COUNT)), report
    assert played.up[2] == dict.fromkeys(range(COUNT), 1), (played.up[2], report)
    assert max(played.up[0].values(), default=1) == 1, report
    assert report["received"][1][0] == COUNT, report
    assert report["received"][2][:2] == [COUNT, 0], report
    assert report["received"][0][1] == 0, report
    assert report["acknowledged"] == 2 * COUNT + 1 and report["refused_messages"] == 0, report
    level(played)


def level(played: Run) -> None:
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
    check(played)


@pytest.mark.parametrize("name", ALTERED)
def test_altered_bytes_end_in_a_link_that_works(name: str, mosquitto: Address) -> None:
    """Without TLS nobody can tell that a payload was altered; the link comes back, and goes on."""
    played = run(mosquitto, ALTERED[name], heal_after=4)
    assert played.report["connects"] >= 1
    level(played)


def test_refused_connections(mosquitto: Address) -> None:
    class Refusing(Run):
        def _talk(self, client: Any, *arguments: Any) -> None:
            self._proxy.refuse()
            for _ in range(100):
                client.poll(20)
            self._proxy.accept()
            super()._talk(client, *arguments)

    with before(mosquitto, lambda number: Fault()) as proxy:
        played = Refusing(mosquitto, proxy, "f" + secrets.token_hex(4), COUNT)
        played.play(heal_after=1)
    check(played)
    assert played.report["drops_network"] >= 1
