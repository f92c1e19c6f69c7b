"""The firmware on the host board, in a 128 KB heap, with a real broker."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from host_tests.device.observer import PREFIX, Observer, observe, running_device, wait_for_line
from tools import broker
from tools.vm.device import SimulatedDevice, host_config


def everything_is_there(observer: Observer) -> bool:
    return (
        observer.dut.status == "online"
        and len(observer.dut.readings) >= 4
        and len(observer.dut.switches) == 2
    )


def test_it_publishes_and_obeys(any_broker: broker.Address, observer: Observer, tmp_path: Path) -> None:
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: everything_is_there(observer))
        readings = observer.dut.readings
        assert 0 < readings["memory_available"][-1] < 10e6
        assert readings["uptime"][-1] == pytest.approx(
            float(Path("/proc/uptime").read_text().split()[0]), abs=30
        )
        for word, state in (("ON", "ON"), ("off", "OFF"), ("TOGGLE", "ON"), ("0", "OFF"), ("1", "ON")):
            assert observer.command("relay", word) == {"ok": True, "name": "relay", "state": state}
            observer.wait_until(lambda wanted=state: observer.dut.switches["relay"] == wanted)
            assert running.read_output("relay") == state
        assert running.read_output("lamp") == "OFF"
        observer.wait_until(lambda: observer.dut.health.get("alias_saved", 0) > 0)
        assert observer.dut.health["connects"] == 1


WORDS = "expected ON, OFF or TOGGLE"


@pytest.mark.parametrize(
    "word, error",
    [(word, WORDS) for word in ("", "ONE", "{}", "é", "-1")]
    + [
        ("ON" * 300, "600 bytes, expected 256 at most"),
        ('{"state": "ON"', "not JSON; check commas, quotes and brackets"),
        ('{"state": "OFF", "speed": 9}', "speed: not a field of lamp"),
        ('{"state": "OFF", "for": -1}', "for: expected a number, 0.1 to 86400"),
    ],
)
def test_a_command_that_is_not_understood(
    word: str, error: str, any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: everything_is_there(observer))
        observer.command("lamp", "ON")
        answer = observer.command("lamp", word)
        assert answer["ok"] is False
        assert answer["error"] == error
        assert answer["state"] == running.read_output("lamp") == "ON"


def test_a_command_larger_than_its_buffer_harms_nothing(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: everything_is_there(observer))
        huge = observer.monitor.command("dut", "lamp", "x" * 10_000)
        for _ in range(10):
            # a broker that ignores the device's limit costs it a reconnect
            command = observer.monitor.command("dut", "lamp", "ON")
            observer.monitor.poll(1000)
            if command.response:
                break
        assert huge.response is None
        assert command.response == {"ok": True, "name": "lamp", "state": "ON"}
        assert running.read_output("lamp") == "ON"


def test_a_retained_command_is_not_obeyed(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    client = observer.monitor._client
    topic = f"{PREFIX}/dut/switch/lamp/set"
    client.publish(topic, "ON", qos=1, retain=True)
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: everything_is_there(observer))
        observer.monitor.poll(500)
        assert running.read_output("lamp") == observer.dut.switches["lamp"] == "OFF"
        # mosquitto keeps to what the device asks and sends none; iotcore does not
        told = any("retained commands are not executed" in line for line in running.console_lines)
        assert told or not any("command to" in line for line in running.console_lines)
    client.publish(topic, "", qos=1, retain=True)
    observer.monitor.poll(200)


def test_its_will_says_when_it_is_gone(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: observer.dut.status == "online")
        running._process.kill()
        observer.wait_until(lambda: observer.dut.status == "offline")


def test_outputs_keep_their_state_over_a_restart(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with running_device(tmp_path, any_broker):
        observer.wait_until(lambda: everything_is_there(observer))
        observer.command("lamp", "ON")
    observer.wait_until(lambda: observer.dut.status == "offline")
    with running_device(tmp_path, any_broker) as running:
        observer.wait_until(lambda: observer.dut.status == "online")
        assert running.read_output("lamp") == "ON"
        assert observer.command("lamp", "TOGGLE")["state"] == "OFF"


def test_a_broker_that_comes_late_goes_and_comes_back(mosquitto: object, tmp_path: Path) -> None:
    with broker.Mosquitto() as server:
        server.stop()
        with running_device(tmp_path, server.address) as running:
            wait_for_line(running, "no connection to 127.0.0.1")
            server.start()
            with observe(server.address) as observer:
                observer.wait_until(lambda: everything_is_there(observer))
                observer.command("lamp", "ON")
            server.stop()
            running.console_lines.clear()
            wait_for_line(running, "no connection to 127.0.0.1")
            assert running.is_running
            server.start()
            with observe(server.address) as observer:
                observer.wait_until(lambda: everything_is_there(observer), timeout=40)
                assert observer.dut.switches["lamp"] == "ON"
                observer.wait_until(lambda: observer.dut.health.get("connects") == 2)
                assert observer.command("lamp", "OFF")["ok"]


def test_a_wrong_password_is_told_by_its_name(mosquitto: object, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    with broker.Mosquitto(f"password_file {passwords}", anonymous=False) as strict:
        address = broker.Address(strict.address.host, strict.address.port, "me", "secret-word")
        with running_device(tmp_path / "device", address) as running:
            line = wait_for_line(running, "Not authorized (0x87)")
            assert running.is_running
            assert line.startswith("dut: no connection to 127.0.0.1:")
            assert not any("secret-word" in line for line in running.console_lines)


def test_a_refusal_is_told_with_the_brokers_own_words(tmp_path: Path) -> None:
    """A scripted broker: real ones refuse no client id that the config lets through."""
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


def test_what_the_broker_does_not_allow_is_told_by_its_name(mosquitto: object, tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic read {PREFIX}/dut/#\ntopic write {PREFIX}/dut/sensor/#\n")
    with (
        broker.Mosquitto(f"acl_file {rules}") as strict,
        running_device(tmp_path / "device", strict.address) as running,
    ):
        line = wait_for_line(running, "broker refused ")
        assert line.startswith("dut: broker refused message ") and line.endswith(": Not authorized (0x87)")
        assert running.is_running


def test_its_heap_stays_level(any_broker: broker.Address, observer: Observer, tmp_path: Path) -> None:
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


GOOD = host_config("dut", broker.Address("127.0.0.1", 1), PREFIX)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (None, "config.json: file not found; copy docs/config.example.json"),
        ("{", "config.json: not JSON; check commas, quotes and brackets"),
        ({**GOOD, "broker": {}}, "config.json: broker.host: missing, expected a host name or an IP address"),
        (
            {**GOOD, "broker": {"host": "b", "port": "x"}},
            'config.json: broker.port: "x", expected a port number',
        ),
        (
            {**GOOD, "actuators": [{"name": "fan", "pin": "pwm9"}]},
            'config.json: actuators[0].pin: "pwm9", expected one of lamp, relay',
        ),
    ],
)
def test_a_wrong_config_gets_one_line_and_no_crash_loop(
    settings: dict[str, object] | str | None, line: str, tmp_path: Path
) -> None:
    with SimulatedDevice(tmp_path, settings) as running:
        assert running.wait(10) == 2
        assert list(running.console_lines) == [line]


def test_an_unknown_sensor_is_named_with_those_there_are(tmp_path: Path) -> None:
    with SimulatedDevice(tmp_path, {**GOOD, "sensors": [{"kind": "load"}, {"kind": "dht99"}]}) as running:
        assert running.wait(10) == 2
        (line,) = running.console_lines
        assert line.startswith('config.json: sensors[1].kind: "dht99", expected one of ')
        for kind in ("bme280", "disk_free", "load", "memory_available", "uptime"):
            assert kind in line


def test_a_sensor_that_fails_does_not_stop_the_others(
    any_broker: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    """A board whose load can't be read: its pins.py is the host's with one reading broken."""
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
