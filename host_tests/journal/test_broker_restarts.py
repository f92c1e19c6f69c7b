"""A broker that ends in the midst, gently or not, with and without a memory of its own."""

from __future__ import annotations

import time
from pathlib import Path

from host_tests.journal.restarted_device import RestartedDevice
from host_tests.journal.test_sigkill import mosquitto

SEED = 20261124
_TIMES = 8
_JUST = 3.0  # s: what a broker acknowledged so shortly before it was killed it may not have passed on
_SAVING = ("autosave_on_changes true", "autosave_interval 1")


def play(tmp_path: Path, lines: tuple[str, ...], gently: bool) -> tuple[RestartedDevice, list[float]]:
    """Restart the broker several times, and kill the device as often; returns when the broker ended."""
    flash = tmp_path / "flash"
    flash.mkdir()
    ends = []
    with mosquitto(tmp_path / "broker", *lines) as server:
        device = RestartedDevice(server, flash, "device", SEED)
        try:
            # mosquitto 2.0.11 saves no session that has begun with Clean Start in the live connection
            device.client.disconnect()
            device.client.connect()
            device.start()
            device.run(0.3)
            device.kill()
            for _ in range(_TIMES):
                device.start()
                device.run(device.random.uniform(0.3, 0.6))
                ends.append(time.monotonic())
                server.stop(gently)
                device.run(0.05)
                server.start()
                device.run(device.random.uniform(0.2, 0.4))
                device.kill()
            device.run_to_completion(seconds=4)
        finally:
            device.close()
    said = f"seed {SEED}: {device.unexpected_lines[-5:]}"
    assert not device.unexpected_lines and len(device.opened) == _TIMES + 2 and device.connects > _TIMES, said
    assert not any(damaged for _, _, damaged in device.opened), said
    assert min(len(device.delivered[1]), len(device.delivered[2]), device.sent) > 50, said
    executed = device.executed()
    assert len(set(executed)) == len(executed), said
    return device, ends


def just_acknowledged(device: RestartedDevice, ends: list[float]) -> set[int]:
    """What the broker has acknowledged shortly before it was killed."""
    return {
        number for number, when in device.ended.items() if any(end - _JUST < when < end + 0.1 for end in ends)
    }


def test_broker_that_saves_on_shutdown(tmp_path: Path) -> None:
    """Nothing is lost, and nothing at QoS 2 comes twice."""
    device, _ = play(tmp_path, _SAVING, gently=True)
    assert not device.missing(), device.missing()
    assert not device.doubled(2) and not device.handled_after_journaled


def test_broker_killed_after_autosave(tmp_path: Path) -> None:
    """What it had in hand is lost, and nothing that was acknowledged earlier."""
    device, ends = play(tmp_path, _SAVING, gently=False)
    for qos in (1, 2):
        assert device.lost(qos) <= just_acknowledged(device, ends), device.lost(qos)


def test_broker_without_persistence(tmp_path: Path) -> None:
    """No session is there: what it has not acknowledged goes out again as new."""
    device, ends = play(tmp_path, ("persistence false",), gently=False)
    for qos in (1, 2):
        assert device.lost(qos) <= just_acknowledged(device, ends), device.lost(qos)
