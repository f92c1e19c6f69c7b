"""A device with a journal is killed by SIGKILL at random times while it is connected to mosquitto.

The operating system keeps all data that a killed process has written; `test_power_cuts` and
`test_filesystems` test what a power failure does to files. These tests use real files and a real broker, and
the program may end between any two instructions.
"""

from __future__ import annotations

from pathlib import Path

from host_tests.conftest import require_mosquitto
from host_tests.journal.restarted_device import RestartedDevice
from tools import broker

SEED = 20261123
KILLS = 200
_SETTINGS = ("persistence true", "max_queued_messages 5000", "set_tcp_nodelay true")


def mosquitto(folder: Path, *lines: str) -> broker.Mosquitto:
    require_mosquitto()
    folder.mkdir()
    return broker.Mosquitto(*_SETTINGS, f"persistence_location {folder}/", *lines)


def test_no_message_is_lost_or_executed_twice_if_the_device_is_killed_200_times(tmp_path: Path) -> None:
    flash = tmp_path / "flash"
    flash.mkdir()
    with mosquitto(tmp_path / "broker") as server:
        device = RestartedDevice(server, flash, "killed", SEED)
        try:
            for number in range(KILLS):
                device.start(every=(1, 1, 4)[number % 3])
                if number % 4:
                    device.run_lines(device.random.randrange(1, 120))
                else:
                    device.run(device.random.uniform(0, 0.1))  # it may still be starting
                device.kill()
            device.run_to_completion(lambda: not device.missing())
        finally:
            device.close()
    context = f"seed {SEED}: {device.unexpected_lines[-5:]}"
    assert len(device.opened) > KILLS / 2 and device.connects > KILLS / 4, context
    assert not any(damaged for _, _, damaged in device.opened), context
    assert any(restored for restored, _, _ in device.opened), context
    # messages of the device: none is lost, QoS 2 arrives once, the order is kept
    assert min(len(device.delivered[1]), len(device.delivered[2]), device.sent) > KILLS, context
    assert not device.missing(), (context, device.missing())
    assert not device.duplicates(2), (context, device.duplicates(2))
    assert not device.out_of_order(1) + device.out_of_order(2), context
    # messages to the device: one that is in the journal is not handled again; otherwise at most one per
    # boot is handled again, the one that was being handled
    assert not device.handled_after_journaled, (context, device.handled_after_journaled)
    assert max(device.repeated_per_boot(), default=0) <= 1, (context, device.repeated_per_boot())
    # none is executed twice, because the application recognizes a repeated command by its number
    executed = device.executed()
    assert len(set(executed)) == len(executed), context
    assert set(executed) | device.uncertain == set(range(device.sent)), context
    assert not device.unexpected_lines, context
