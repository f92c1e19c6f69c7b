"""A device with a journal, and a broker that is stopped or killed, with and without persistence."""

from __future__ import annotations

import time
from pathlib import Path

from host_tests.journal.restarted_device import RestartedDevice
from host_tests.journal.test_sigkill import mosquitto

SEED = 20261124
_RESTARTS = 8
# seconds before a kill: the broker may lose messages that it acknowledged in this time
_UNSAVED_TIME = 3.0
_AUTOSAVE = ("autosave_on_changes true", "autosave_interval 1")


def restart_broker(
    tmp_path: Path, lines: tuple[str, ...], gently: bool
) -> tuple[RestartedDevice, list[float]]:
    """Restart the broker several times, and kill the device after each; return the times of the restarts."""
    flash = tmp_path / "flash"
    flash.mkdir()
    stop_times = []
    with mosquitto(tmp_path / "broker", *lines) as server:
        device = RestartedDevice(server, flash, "device", SEED)
        try:
            # mosquitto 2.0.11 saves no session whose current connection began with Clean Start
            device.client.disconnect()
            device.client.connect()
            device.start()
            device.run(0.3)
            device.kill()
            for _ in range(_RESTARTS):
                device.start()
                device.run(device.random.uniform(0.3, 0.6))
                stop_times.append(time.monotonic())
                server.stop(gently)
                device.run(0.05)
                server.start()
                device.run(device.random.uniform(0.2, 0.4))
                device.kill()
            device.run_to_completion(seconds=4)
        finally:
            device.close()
    context = f"seed {SEED}: {device.unexpected_lines[-5:]}"
    assert (
        not device.unexpected_lines and len(device.opened) == _RESTARTS + 2 and device.connects > _RESTARTS
    ), context
    assert not any(damaged for _, _, damaged in device.opened), context
    assert min(len(device.delivered[1]), len(device.delivered[2]), device.sent) > 50, context
    executed = device.executed()
    assert len(set(executed)) == len(executed), context
    return device, stop_times


def acknowledged_before_stop(device: RestartedDevice, stop_times: list[float]) -> set[int]:
    """Return the messages that the broker acknowledged shortly before it was killed."""
    return {
        number
        for number, when in device.acknowledged.items()
        if any(stop - _UNSAVED_TIME < when < stop + 0.1 for stop in stop_times)
    }


def test_no_message_is_lost_or_repeated_if_the_broker_saves_on_shutdown(tmp_path: Path) -> None:
    device, _ = restart_broker(tmp_path, _AUTOSAVE, gently=True)
    assert not device.missing(), device.missing()
    assert not device.duplicates(2) and not device.handled_after_journaled


def test_a_killed_broker_with_autosave_loses_only_messages_that_it_acknowledged_last(tmp_path: Path) -> None:
    device, stop_times = restart_broker(tmp_path, _AUTOSAVE, gently=False)
    for qos in (1, 2):
        assert device.lost(qos) <= acknowledged_before_stop(device, stop_times), device.lost(qos)


def test_a_broker_without_persistence_loses_only_messages_that_it_acknowledged_last(tmp_path: Path) -> None:
    """The device publishes all unacknowledged messages again in a new session."""
    device, stop_times = restart_broker(tmp_path, ("persistence false",), gently=False)
    for qos in (1, 2):
        assert device.lost(qos) <= acknowledged_before_stop(device, stop_times), device.lost(qos)
