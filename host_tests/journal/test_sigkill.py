"""A device with a journal, killed at random instants before a real broker.

SIGKILL loses nothing that the system has taken: what a power cut does to a file is the matter of
`test_cuts` and `test_file_systems`. What is proved here is the rest: a program that ends between any two
of its instructions, real files, a real broker that has the other half of each session.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.conftest import NO_MOSQUITTO
from host_tests.journal.restarted_device import Lives
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
        lives = Lives(server, flash, "killed", SEED)
        try:
            for number in range(KILLS):
                lives.start(every=(1, 1, 4)[number % 3])
                lives.run(lives.random.uniform(0, 0.2))
                lives.kill()
            lives.rest()
        finally:
            lives.close()
    said = f"seed {SEED}: {lives.noise[-5:]}"
    assert len(lives.opened) > KILLS / 2 and lives.ups > KILLS / 4, said
    assert not any(damaged for _, _, damaged in lives.opened), said
    assert any(restored for restored, _, _ in lives.opened), said
    # ours: nothing lost, nothing at QoS 2 twice, all in order
    assert min(len(lives.got[1]), len(lives.got[2]), lives.sent) > KILLS, said
    assert not lives.missing(), (said, lives.missing())
    assert not lives.doubled(2), (said, lives.doubled(2))
    assert not lives.out_of_order(1) + lives.out_of_order(2), said
    # theirs: what the journal has is not handled again, and else one a life, the one in hand
    assert not lives.broken, (said, lives.broken)
    assert max(lives.again(), default=0) <= 1, (said, lives.again())
    # nor is it carried out again: the application drops it by its own number
    carried = lives.carried()
    assert len(set(carried)) == len(carried), said
    assert set(carried) | lives.doubt == set(range(lives.sent)), said
    assert not lives.noise, said
