"""A device with a journal, killed at random instants before a real broker.

SIGKILL loses nothing that the system has taken: what a power cut does to a file is the matter of
`test_power_cuts` and `test_filesystems`. What is proved here is the rest: a program that ends between any two
of its instructions, real files, a real broker that has the other half of each session.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.conftest import NO_MOSQUITTO
from host_tests.journal.restarted_device import RestartedDevice
from tools import broker

SEED = 20261123
KILLS = 200
_SETTINGS = ("persistence true", "max_queued_messages 5000", "set_tcp_nodelay true")


def mosquitto(folder: Path, *lines: str) -> broker.Mosquitto:
    if not broker.find_mosquitto():
        pytest.skip(NO_MOSQUITTO)
    folder.mkdir()
    return broker.Mosquitto(*_SETTINGS, f"persistence_location {folder}/", *lines)


def test_200_kills(tmp_path: Path) -> None:
    flash = tmp_path / "flash"
    flash.mkdir()
    with mosquitto(tmp_path / "broker") as server:
        device = RestartedDevice(server, flash, "killed", SEED)
        try:
            for number in range(KILLS):
                device.start(every=(1, 1, 4)[number % 3])
                device.run(device.random.uniform(0, 0.2))
                device.kill()
            device.run_to_completion()
        finally:
            device.close()
    said = f"seed {SEED}: {device.unexpected_lines[-5:]}"
    assert len(device.opened) > KILLS / 2 and device.connects > KILLS / 4, said
    assert not any(damaged for _, _, damaged in device.opened), said
    assert any(restored for restored, _, _ in device.opened), said
    # ours: nothing lost, nothing at QoS 2 twice, all in order
    assert min(len(device.delivered[1]), len(device.delivered[2]), device.sent) > KILLS, said
    assert not device.missing(), (said, device.missing())
    assert not device.doubled(2), (said, device.doubled(2))
    assert not device.out_of_order(1) + device.out_of_order(2), said
    # theirs: what the journal has is not handled again, and else one a life, the one in hand
    assert not device.handled_after_journaled, (said, device.handled_after_journaled)
    assert max(device.repeated_per_life(), default=0) <= 1, (said, device.repeated_per_life())
    # nor is it carried out again: the application drops it by its own number
    executed = device.executed()
    assert len(set(executed)) == len(executed), said
    assert set(executed) | device.uncertain == set(range(device.sent)), said
    assert not device.unexpected_lines, said
