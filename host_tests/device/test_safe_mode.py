"""Crash reports, safe mode after repeated crashes, and health statistics of the device."""

from __future__ import annotations

from pathlib import Path

from host_tests.device.command_sender import sending
from host_tests.device.observer import PREFIX, Observer
from tools import broker
from tools.vm.device import SimulatedDevice, host_config


def test_the_device_stays_in_safe_mode_after_three_crashes(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    settings = host_config("dut", any_broker, PREFIX, 0.3)
    settings["health"] = 0.5
    settings["actuators"] = [{"kind": "light", "name": "lamp", "pin": "lamp"}]
    (tmp_path / "lamp").mkdir()  # a folder in place of the output's file, so that writing its state fails
    for _ in range(3):
        with SimulatedDevice(tmp_path, settings) as running:
            assert running.wait(30) == 1
            assert "dut: restarting in 5 s" in running.console_lines
    crashes: list[bytes] = []
    observer.monitor._client.subscribe(f"{PREFIX}/dut/crash", lambda message: crashes.append(message.payload))
    observer.monitor.poll(500)
    observer.dut.switches.clear()  # retained states from other tests
    with SimulatedDevice(tmp_path, settings) as running:
        observer.wait_until(lambda: observer.dut.status == "safe mode")
        observer.wait_until(lambda: crashes)
        assert b"OSError" in crashes[0] and b'File "light"' in crashes[0]
        observer.wait_until(lambda: observer.dut.health.get("uptime", 0) >= 1)
        assert "3 crashes, the last one: OSError" in observer.dut.health["safe_mode"]
        assert not observer.dut.readings and not observer.dut.switches
        # deleted when the broker has acknowledged the report
        observer.wait_until(lambda: not (tmp_path / "crash.txt").exists())
        assert running.is_running
        with sending(any_broker) as sender:
            for topic in ("light/lamp", "switch/relay"):
                answer = sender.execute(topic, "ON")
                assert (answer["ok"], answer["name"]) == (False, topic.split("/")[1])
                assert answer["error"].startswith("safe mode: 3 crashes, the last one: OSError: ")
                assert answer["error"].endswith("to leave it, publish `restart` to test/dut/restart/set")
            assert sender.execute("restart", "restart") == {"ok": True, "name": "restart"}
            running.wait(10)
    (tmp_path / "lamp").rmdir()  # the fault is repaired
    with SimulatedDevice(tmp_path, settings):
        observer.wait_until(lambda: observer.dut.status == "online")


def test_power_cuts_do_not_lead_to_safe_mode(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    settings = host_config("dut", any_broker, PREFIX, 0.3)
    for _ in range(4):
        observer.dut.health.clear()
        with SimulatedDevice(tmp_path, settings):
            observer.wait_until(lambda: observer.dut.status == "online")
            observer.wait_until(lambda: observer.dut.health)
    assert not (tmp_path / "crash_count").exists()


def test_health_reports_statistics_of_the_connection_and_the_heap(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    settings = host_config("dut", any_broker, PREFIX, 0.3)
    settings["health"] = 0.3
    with SimulatedDevice(tmp_path, settings):
        observer.wait_until(lambda: observer.dut.health.get("uptime", 0) >= 2)
        health = observer.dut.health
        assert 0 < health["heap_free_min"] <= health["heap_free"]
        assert 0 <= health["stall"] < 5000 and health["connects"] == 1
        assert health["reset"] == "unknown"  # the host board does not know its reset cause
