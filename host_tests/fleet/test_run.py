"""`fleet run`: a load test of simulated devices, one VM each, and its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from host_tests.board.rig import run_command, run_tool
from host_tests.conftest import require_mosquitto
from host_tests.fleet.conftest import WriteDescription
from tools import broker
from tools.fleet import simulation
from tools.fleet.device_files import DeviceFiles, build_device_files
from tools.fleet.load_client import LoadClient
from tools.fleet.load_test import LoadProfile, LoadTest, RunStatus
from tools.fleet.report import Report, latency_percentiles
from tools.fleet.simulation import SimulatedBroker
from tools.fleet.store import FleetStore


def test_eight_simulated_devices_run_with_their_certificates(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    require_mosquitto()
    light = '"relay"\n\n[[actuators]]\nname = "shelf"\nkind = "light"\npin = "lamp"\n'
    path, report = (
        write_description(("count = 3", "count = 8"), ('"relay"\n', light)),
        tmp_path / "report.json",
    )
    options = ("--broker", "mosquitto", "--seconds", 4, "--command-rate", 10, "--report", report)
    output = run_tool("fleet", "run", "--file", path, *options)
    result = json.loads(report.read_text())
    assert result["certificates"] and result["passed"] and not result["failed"]
    assert result["devices"] == result["online"] == 8 and result["reconnects"] == 0
    assert result["commands"] == result["answered"] >= 20
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]
    assert result["messages_per_second"] > 8  # each device publishes one reading a second
    assert 1e6 < result["memory"]["median"] < 64e6
    assert "8 of 8 online" in output and "mosquitto, certificates" in output
    for secret in json.loads((tmp_path / "fleet.private" / "passwords.json").read_text()).values():
        assert secret not in output + report.read_text()


def test_make_fleet_runs_without_a_description_and_without_mosquitto() -> None:
    output = run_command(["make", "-s", "fleet", "N=3", "SECONDS=2"])
    assert "3 of 3 online" in output and "iotcore, plain TCP" in output


def test_no_retained_message_is_left_at_a_shared_broker(iotcore: broker.Address, tmp_path: Path) -> None:
    options = ("--seconds", 1, "--report", tmp_path / "report.json")
    run_tool("fleet", "run", "--count", 2, "--broker", str(iotcore), *options)
    retained: list[str] = []
    from umqtt5 import Client

    client = Client(iotcore.host, iotcore.port, client_id="observer")
    client.subscribe("#", lambda message: retained.append(message.topic), qos=1)
    client.connect()
    client.poll(300)
    client.disconnect()
    assert not [topic for topic in retained if topic.startswith("umqtt5-fleet-")]


def test_an_unreachable_broker_is_reported_without_the_password(tmp_path: Path) -> None:
    url = f"mqtt://me@127.0.0.1:{broker.free_port()}"
    output = run_tool("fleet", "run", "--count", 1, "--broker", url, code=1, MQTT_PASSWORD="secret")
    assert "no broker answers" in output and "secret" not in output


# ---- failures during the run

Modify = Callable[[list[DeviceFiles]], None]


def run(
    tmp_path: Path,
    simulated_broker: SimulatedBroker,
    count: int,
    on_progress: Callable[[LoadTest, RunStatus], None],
    modify: Modify = lambda device_files: None,
    timeout: float = 60,
    seconds: float = 3,
) -> Report:
    """Run a load test that measures for `seconds`, and return its report.

    `modify` may change the files of the devices before they start. `on_progress` is called during the run.
    """
    fleet = simulation.default_fleet(count, secured=False)
    fleet.prefix = tmp_path.name
    device_files = [
        simulation.for_host_board(files, simulated_broker)
        for files in build_device_files(fleet, FleetStore(tmp_path / "p"), tmp_path / "f")
    ]
    modify(device_files)
    with ExitStack() as stack:
        load = LoadClient(simulated_broker.address, fleet.prefix, [files.name for files in device_files])
        load.connect()
        stack.callback(load.close, clear_retained=False)
        load_test = LoadTest(device_files, simulated_broker, load, tmp_path / "devices")
        stack.callback(load_test.stop)
        report = Report("test")
        profile = LoadProfile(seconds, 10, 10, timeout)
        load_test.run(profile, lambda status: on_progress(load_test, status), report)
    return report


def test_a_device_whose_process_ends_is_reported_by_name(iotcore: broker.Address, tmp_path: Path) -> None:
    def stop_device(load_test: LoadTest, status: RunStatus) -> None:
        if status.phase == "measuring" and load_test.devices["vm-002"].is_running:
            load_test.devices["vm-002"].stop()

    report = run(tmp_path, SimulatedBroker(iotcore), 2, stop_device)
    assert list(report.failed) == ["vm-002"] and not report.passed
    assert report.failed["vm-002"].startswith("its process ended")


def test_a_device_that_does_not_come_online_is_reported_by_name(
    iotcore: broker.Address, tmp_path: Path
) -> None:
    def set_wrong_port(device_files: list[DeviceFiles]) -> None:
        device_files[0].config["broker"]["port"] = broker.free_port()

    report = run(
        tmp_path, SimulatedBroker(iotcore), 2, lambda load_test, status: None, set_wrong_port, timeout=4
    )
    assert list(report.failed) == ["vm-001"] and report.online == 1
    assert report.failed["vm-001"].startswith("did not come online; its last line: ")
    assert report.answered == report.commands > 0  # the other device answered


def test_a_lost_connection_is_reported_for_each_device(tmp_path: Path) -> None:
    require_mosquitto()
    restarted: list[bool] = []
    with broker.Mosquitto() as mosquitto:

        def restart_broker(load_test: LoadTest, status: RunStatus) -> None:
            if status.phase == "measuring" and not restarted:
                restarted.append(True)
                mosquitto.stop()
                mosquitto.start()

        # the devices reconnect within seconds, and report it with their next health messages
        report = run(tmp_path, SimulatedBroker(mosquitto.address), 2, restart_broker, seconds=10)
    assert set(report.failed) == {"vm-001", "vm-002"} and not report.passed
    assert all("lost its connection" in reason for reason in report.failed.values())


def test_percentiles_are_measured_values() -> None:
    assert latency_percentiles([]) == {}
    assert latency_percentiles([n / 1000 for n in range(1, 101)]) == {"p50": 50, "p99": 99, "max": 100}
    assert latency_percentiles([0.002]) == {"p50": 2, "p99": 2, "max": 2}
