"""A device with a journal, and a broker that is stopped or killed, with and without persistence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from host_tests.journal.restarted_device import RestartedDevice
from host_tests.journal.test_sigkill import mosquitto

SEED = 20261124
_RESTARTS = 8
_AUTOSAVE = ("autosave_on_changes true", "autosave_interval 1")


def restart_broker(
    tmp_path: Path,
    lines: tuple[str, ...],
    gently: bool,
    is_complete: Callable[[RestartedDevice], bool],
) -> RestartedDevice:
    """Restart the broker several times, and kill the device after each; run until `is_complete(device)`."""
    flash = tmp_path / "flash"
    flash.mkdir()
    with mosquitto(tmp_path / "broker", *lines) as server:
        device = RestartedDevice(server, flash, "device", SEED)
        try:
            # mosquitto 2.0.11 saves no session whose current connection began with Clean Start
            device.client.disconnect()
            device.client.connect()
            device.start()
            device.run_lines(100)
            device.kill()
            for _ in range(_RESTARTS):
                connects = device.connects
                device.start()
                device.run_until(lambda n=connects: device.connects > n)
                device.run_lines(device.random.randrange(50, 200))
                lost_links = device.lost_links
                server.stop(gently)
                # what the broker has acknowledged before it stopped is printed before the lost link
                device.run_until(lambda n=lost_links: device.lost_links > n)
                connects = device.connects
                server.start()
                device.run_until(lambda n=connects: device.connects > n)
                device.run_until_subscribed()
                device.broker_starts += 1
                device.run_lines(device.random.randrange(10, 100))
                device.kill()
            device.run_to_completion(lambda: is_complete(device))
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
    return device


def loses_only_unsaved_messages(device: RestartedDevice) -> bool:
    """Return True if each lost message was acknowledged by a broker that was killed afterwards.

    A broker that was restarted without the session may also lose messages until `client` subscribes again.
    """
    unsaved = {number for number, starts in device.acknowledged.items() if starts < device.broker_starts}
    return device.lost(1) <= unsaved and device.lost(2) <= unsaved


def test_no_message_is_lost_or_repeated_if_the_broker_saves_on_shutdown(tmp_path: Path) -> None:
    device = restart_broker(tmp_path, _AUTOSAVE, True, lambda device: not device.missing())
    assert not device.duplicates(2) and not device.handled_after_journaled


def test_a_killed_broker_with_autosave_loses_only_messages_that_it_acknowledged_last(tmp_path: Path) -> None:
    restart_broker(tmp_path, _AUTOSAVE, False, loses_only_unsaved_messages)


def test_a_broker_without_persistence_loses_only_messages_that_it_acknowledged_last(tmp_path: Path) -> None:
    """The device publishes all unacknowledged messages again in a new session."""
    restart_broker(tmp_path, ("persistence false",), False, loses_only_unsaved_messages)
