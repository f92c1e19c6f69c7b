"""A broker that ends in the midst, gently or not, with and without a memory of its own."""

from __future__ import annotations

import time
from pathlib import Path

from host_tests.journal.restarted_device import Lives
from host_tests.journal.test_sigkill import mosquitto

SEED = 20261124
_TIMES = 8
_JUST = 3.0  # s: what a broker acknowledged so shortly before it was killed it may not have passed on
_SAVING = ("autosave_on_changes true", "autosave_interval 1")


def play(tmp_path: Path, lines: tuple[str, ...], gently: bool) -> tuple[Lives, list[float]]:
    """Restart the broker several times, and kill the device as often; returns when the broker ended."""
    flash = tmp_path / "flash"
    flash.mkdir()
    ends = []
    with mosquitto(tmp_path / "broker", *lines) as server:
        lives = Lives(server, flash, "device", SEED)
        try:
            # mosquitto 2.0.11 saves no session that has begun with Clean Start in the live connection
            lives.desk.disconnect()
            lives.desk.connect()
            lives.start()
            lives.run(0.3)
            lives.kill()
            for _ in range(_TIMES):
                lives.start()
                lives.run(lives.random.uniform(0.3, 0.6))
                ends.append(time.monotonic())
                server.stop(gently)
                lives.run(0.05)
                server.start()
                lives.run(lives.random.uniform(0.2, 0.4))
                lives.kill()
            lives.rest(seconds=4)
        finally:
            lives.close()
    said = f"seed {SEED}: {lives.noise[-5:]}"
    assert not lives.noise and len(lives.opened) == _TIMES + 2 and lives.ups > _TIMES, said
    assert not any(damaged for _, _, damaged in lives.opened), said
    assert min(len(lives.got[1]), len(lives.got[2]), lives.sent) > 50, said
    carried = lives.carried()
    assert len(set(carried)) == len(carried), said
    return lives, ends


def just_acknowledged(lives: Lives, ends: list[float]) -> set[int]:
    """What the broker has acknowledged shortly before it was killed."""
    return {
        number for number, when in lives.ended.items() if any(end - _JUST < when < end + 0.1 for end in ends)
    }


def test_one_that_saves_as_it_ends(tmp_path: Path) -> None:
    """Nothing is lost, and nothing at QoS 2 comes twice."""
    lives, _ = play(tmp_path, _SAVING, gently=True)
    assert not lives.missing(), lives.missing()
    assert not lives.doubled(2) and not lives.broken


def test_one_that_is_killed_and_has_saved_before(tmp_path: Path) -> None:
    """What it had in hand is lost, and nothing that was acknowledged earlier."""
    lives, ends = play(tmp_path, _SAVING, gently=False)
    for qos in (1, 2):
        assert lives.lost(qos) <= just_acknowledged(lives, ends), lives.lost(qos)


def test_one_that_forgets_all(tmp_path: Path) -> None:
    """No session is there: what it has not acknowledged goes out again as new."""
    lives, ends = play(tmp_path, ("persistence false",), gently=False)
    for qos in (1, 2):
        assert lives.lost(qos) <= just_acknowledged(lives, ends), lives.lost(qos)
