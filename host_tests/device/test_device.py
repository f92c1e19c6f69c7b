"""The device application in a heap of 176 KB with a real broker: readings, commands, errors, config."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from host_tests.device.observer import PREFIX, Observer, observe, running_device, wait_for_line
from tools import broker
from tools.vm.device import SimulatedDevice, host_config


def is_fully_online(observer: Observer) -> bool:
    """Return True if the status, four readings and two outputs of the device have arrived."""
    return (
        observer.dut.status == "online"
        and len(observer.dut.readings) >= 4
        and len(observer.dut.switches) == 2
    )


def test_the_device_publishes_readings_and_executes_commands(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: is_fully_online(observer))
        readings = observer.dut.readings
        assert 0 < readings["memory_available"][-1] < 10e6
        assert readings["uptime"][-1] == pytest.approx(
            float(Path("/proc/uptime").read_text().split()[0]), abs=30
        )
        for word, state in (("ON", "ON"), ("off", "OFF"), ("TOGGLE", "ON"), ("0", "OFF"), ("1", "ON")):
            assert observer.command("relay", word) == {"ok": True, "name": "relay", "state": state}
            observer.wait_until(lambda expected=state: observer.dut.switches["relay"] == expected)
            assert running.read_output("relay") == state
        assert running.read_output("lamp") == "OFF"
        observer.wait_until(lambda: observer.dut.health.get("alias_saved", 0) > 0)
        assert observer.dut.health["connects"] == 1


EXPECTED_WORDS = "expected ON, OFF or TOGGLE"


@pytest.mark.parametrize(
    "word, error",
    [(word, EXPECTED_WORDS) for word in ("", "ONE", "{}", "é", "-1")]
    + [
        ("ON" * 300, "600 bytes, expected at most 256"),
        ('{"state": "ON"', "not JSON; check commas, quotes and brackets"),
        ('{"state": "OFF", "speed": 9}', "speed: not a field of lamp"),
        ('{"state": "OFF", "for": -1}', "for: expected a number, 0.1 to 86400"),
    ],
)
def test_an_invalid_command_is_answered_with_an_error_and_not_executed(
    word: str, error: str, any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: is_fully_online(observer))
        observer.command("lamp", "ON")
        answer = observer.command("lamp", word)
        assert answer["ok"] is False
        assert answer["error"] == error
        assert answer["state"] == running.read_output("lamp") == "ON"


def test_a_command_larger_than_the_buffer_does_not_stop_the_device(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: is_fully_online(observer))
        huge = observer.monitor.command("dut", "lamp", "x" * 10_000)
        for _ in range(10):
            # if the broker ignores Maximum Packet Size, the device disconnects and reconnects
            command = observer.monitor.command("dut", "lamp", "ON")
            observer.monitor.poll(1000)
            if command.response:
                break
        assert huge.response is None
        assert command.response == {"ok": True, "name": "lamp", "state": "ON"}
        assert running.read_output("lamp") == "ON"


def test_a_retained_command_is_not_executed(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    client = observer.monitor._client
    topic = f"{PREFIX}/dut/switch/lamp/set"
    client.publish(topic, "ON", qos=1, retain=True)
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: is_fully_online(observer))
        observer.monitor.poll(500)
        assert running.read_output("lamp") == observer.dut.switches["lamp"] == "OFF"
        # the device subscribes with Retain Handling 2: mosquitto sends no retained message, iotcore does
        reported = any("retained commands are not executed" in line for line in running.console_lines)
        assert reported or not any("command to" in line for line in running.console_lines)
    client.publish(topic, "", qos=1, retain=True)
    observer.monitor.poll(200)


def test_the_will_reports_a_killed_device_as_offline(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: observer.dut.status == "online")
        running._process.kill()
        observer.wait_until(lambda: observer.dut.status == "offline")


def test_outputs_restore_their_state_after_a_restart(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker):
        observer.wait_until(lambda: is_fully_online(observer))
        observer.command("lamp", "ON")
    observer.wait_until(lambda: observer.dut.status == "offline")
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: observer.dut.status == "online")
        assert running.read_output("lamp") == "ON"
        assert observer.command("lamp", "TOGGLE")["state"] == "OFF"


def test_the_device_connects_to_a_broker_that_starts_late_and_restarts(
    mosquitto: object, tmp_path: Path
) -> None:
    with broker.Mosquitto() as server:
        server.stop()
        with running_device(tmp_path, server.address) as running:
            wait_for_line(running, "no connection to 127.0.0.1")
            server.start()
            with observe(server.address) as observer:
                observer.wait_until(lambda: is_fully_online(observer))
                observer.command("lamp", "ON")
            server.stop()
            running.console_lines.clear()
            wait_for_line(running, "no connection to 127.0.0.1")
            assert running.is_running
            server.start()
            with observe(server.address) as observer:
                observer.wait_until(lambda: is_fully_online(observer), timeout=40)
                assert observer.dut.switches["lamp"] == "ON"
                observer.wait_until(lambda: observer.dut.health.get("connects") == 2)
                assert observer.command("lamp", "OFF")["ok"]


def test_a_wrong_password_is_reported_as_not_authorized(mosquitto: object, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    with broker.Mosquitto(f"password_file {passwords}", anonymous=False) as strict:
        address = broker.Address(strict.address.host, strict.address.port, "me", "secret-word")
        with running_device(tmp_path / "device", address) as running:
            line = wait_for_line(running, "Not authorized (0x87)")
            assert running.is_running
            assert line.startswith("dut: no connection to 127.0.0.1:")
            assert not any("secret-word" in line for line in running.console_lines)


def test_a_refused_connection_is_reported_with_the_brokers_reason_string(tmp_path: Path) -> None:
    """Uses a scripted broker, because no real broker refuses a client identifier that the config allows."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(15)
        with running_device(tmp_path, broker.Address("127.0.0.1", server.getsockname()[1])) as running:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(1024)[0] == 0x10
                connection.sendall(b"\x20\x11\x00\x85\x0e\x1f\x00\x0bask Mallory")
                line = wait_for_line(running, "Client Identifier not valid (0x85): ask Mallory")
            assert line.startswith("dut: no connection to 127.0.0.1:")
            assert running.is_running


def test_a_message_that_the_broker_refuses_is_reported(mosquitto: object, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic read {PREFIX}/dut/#\ntopic write {PREFIX}/dut/sensor/#\n")
    with (
        broker.Mosquitto(f"acl_file {acl}") as strict,
        running_device(tmp_path / "device", strict.address) as running,
    ):
        line = wait_for_line(running, "broker refused ")
        assert line.startswith("dut: broker refused message ") and line.endswith(": Not authorized (0x87)")
        assert running.is_running


def test_the_heap_does_not_grow_with_messages(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker, period=0.1):
        observer.wait_until(lambda: observer.dut.health.get("messages", 0) > 100)
        for word in ("ON", "OFF", "nonsense") * 5:
            observer.command("lamp", word)
        before = observer.dut.health["heap_used"]
        for word in ("ON", "OFF", "nonsense") * 10:
            observer.command("lamp", word)
        messages = observer.dut.health["messages"]
        observer.wait_until(lambda: observer.dut.health["messages"] > messages + 200)
        assert observer.dut.health["heap_used"] - before < 1024


VALID_CONFIG = host_config("dut", broker.Address("127.0.0.1", 1), PREFIX)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (None, "config.json: file not found; copy docs/config.example.json"),
        ("{", "config.json: not JSON; check commas, quotes and brackets"),
        (
            {**VALID_CONFIG, "broker": {}},
            "config.json: broker.host: missing, expected a host name or an IP address",
        ),
        (
            {**VALID_CONFIG, "broker": {"host": "b", "port": "x"}},
            'config.json: broker.port: "x", expected a port number',
        ),
        (
            {**VALID_CONFIG, "actuators": [{"name": "fan", "pin": "pwm9"}]},
            'config.json: actuators[0].pin: "pwm9", expected one of lamp, relay',
        ),
    ],
)
def test_an_invalid_config_prints_one_line_and_does_not_cause_a_crash_loop(
    settings: dict[str, object] | str | None, line: str, tmp_path: Path
) -> None:
    with SimulatedDevice(tmp_path, settings) as running:
        assert running.wait(10) == 2
        assert list(running.console_lines) == [line]


def test_an_unknown_sensor_kind_is_reported_with_the_known_kinds(tmp_path: Path) -> None:
    with SimulatedDevice(
        tmp_path, {**VALID_CONFIG, "sensors": [{"kind": "load"}, {"kind": "dht99"}]}
    ) as running:
        assert running.wait(10) == 2
        (line,) = running.console_lines
        assert line.startswith('config.json: sensors[1].kind: "dht99", expected one of ')
        for kind in ("bme280", "disk_free", "load", "memory_available", "uptime"):
            assert kind in line


def test_a_failing_sensor_does_not_stop_the_others(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    """In the pins.py of this test, the reading `load` raises OSError."""
    (tmp_path / "pins.py").write_text(
        Path("boards/host/pins.py").read_text()
        + "\ndef _broken():\n    raise OSError(5)\n\n\nREADINGS['load'] = (_broken, '', '')\n"
    )
    with running_device(tmp_path, any_broker) as running:
        wait_for_line(running, "sensor load: OSError: ")
        observer.wait_until(lambda: len(observer.dut.readings.get("uptime", ())) > 3)
        assert "load" not in observer.dut.readings
        time.sleep(0.5)
        assert sum("sensor load" in line for line in running.console_lines) == 1
