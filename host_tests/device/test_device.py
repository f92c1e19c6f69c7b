"""The firmware on the host board, in a 128 KB heap, with a real broker."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from host_tests.device.observer import PREFIX, Desk, desk, device, said
from tools import broker
from tools.vm.device import Device, config


def everything_is_there(here: Desk) -> bool:
    return here.dut.status == "online" and len(here.dut.readings) >= 4 and len(here.dut.switches) == 2


def test_it_publishes_and_obeys(any_broker: broker.Address, at_desk: Desk, tmp_path: Path) -> None:
    with device(tmp_path, any_broker) as running:
        at_desk.until(lambda: everything_is_there(at_desk))
        readings = at_desk.dut.readings
        assert 0 < readings["memory_available"][-1] < 10e6
        assert readings["uptime"][-1] == pytest.approx(
            float(Path("/proc/uptime").read_text().split()[0]), abs=30
        )
        for word, state in (("ON", "ON"), ("off", "OFF"), ("TOGGLE", "ON"), ("0", "OFF"), ("1", "ON")):
            assert at_desk.command("relay", word) == {"ok": True, "name": "relay", "state": state}
            at_desk.until(lambda wanted=state: at_desk.dut.switches["relay"] == wanted)
            assert running.output("relay") == state
        assert running.output("lamp") == "OFF"
        at_desk.until(lambda: at_desk.dut.health.get("alias_saved", 0) > 0)
        assert at_desk.dut.health["connects"] == 1


WORDS = "not understood, expected ON, OFF or TOGGLE"


@pytest.mark.parametrize(
    "word, error",
    [(word, WORDS) for word in ("", "ONE", "{}", "é", "-1")]
    + [
        ("ON" * 300, "600 bytes, expected 256 at most"),
        ('{"state": "ON"', "not JSON; check commas, quotes and brackets"),
        ('{"state": "OFF", "speed": 9}', "speed: unknown to lamp"),
        ('{"state": "OFF", "for": -1}', "for: expected a number, 0.1 to 86400"),
    ],
)
def test_a_command_that_is_not_understood(
    word: str, error: str, any_broker: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    with device(tmp_path, any_broker) as running:
        at_desk.until(lambda: everything_is_there(at_desk))
        at_desk.command("lamp", "ON")
        answer = at_desk.command("lamp", word)
        assert answer["ok"] is False
        assert answer["error"] == error
        assert answer["state"] == running.output("lamp") == "ON"


def test_a_command_larger_than_its_buffer_harms_nothing(
    any_broker: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    with device(tmp_path, any_broker) as running:
        at_desk.until(lambda: everything_is_there(at_desk))
        huge = at_desk.watch.command("dut", "lamp", "x" * 10_000)
        for _ in range(10):
            # a broker that ignores the device's limit costs it a reconnect
            command = at_desk.watch.command("dut", "lamp", "ON")
            at_desk.watch.poll(1000)
            if command.answer:
                break
        assert huge.answer is None
        assert command.answer == {"ok": True, "name": "lamp", "state": "ON"}
        assert running.output("lamp") == "ON"


def test_a_retained_command_is_not_obeyed(any_broker: broker.Address, at_desk: Desk, tmp_path: Path) -> None:
    client = at_desk.watch._client
    topic = f"{PREFIX}/dut/switch/lamp/set"
    client.publish(topic, "ON", qos=1, retain=True)
    with device(tmp_path, any_broker) as running:
        at_desk.until(lambda: everything_is_there(at_desk))
        at_desk.watch.poll(500)
        assert running.output("lamp") == at_desk.dut.switches["lamp"] == "OFF"
        # mosquitto keeps to what the device asks and sends none; iotcore does not
        told = any("a retained command is not obeyed" in line for line in running.lines)
        assert told or not any("command to" in line for line in running.lines)
    client.publish(topic, "", qos=1, retain=True)
    at_desk.watch.poll(200)


def test_its_will_says_when_it_is_gone(any_broker: broker.Address, at_desk: Desk, tmp_path: Path) -> None:
    with device(tmp_path, any_broker) as running:
        at_desk.until(lambda: at_desk.dut.status == "online")
        running._process.kill()
        at_desk.until(lambda: at_desk.dut.status == "offline")


def test_outputs_keep_their_state_over_a_restart(
    any_broker: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    with device(tmp_path, any_broker):
        at_desk.until(lambda: everything_is_there(at_desk))
        at_desk.command("lamp", "ON")
    at_desk.until(lambda: at_desk.dut.status == "offline")
    with device(tmp_path, any_broker) as running:
        at_desk.until(lambda: at_desk.dut.status == "online")
        assert running.output("lamp") == "ON"
        assert at_desk.command("lamp", "TOGGLE")["state"] == "OFF"


def test_a_broker_that_comes_late_goes_and_comes_back(mosquitto: object, tmp_path: Path) -> None:
    with broker.Mosquitto() as server:
        server.stop()
        with device(tmp_path, server.address) as running:
            said(running, "no link to 127.0.0.1")
            server.start()
            with desk(server.address) as here:
                here.until(lambda: everything_is_there(here))
                here.command("lamp", "ON")
            server.stop()
            running.lines.clear()
            said(running, "no link to 127.0.0.1")
            assert running.running
            server.start()
            with desk(server.address) as here:
                here.until(lambda: everything_is_there(here), timeout=40)
                assert here.dut.switches["lamp"] == "ON"
                here.until(lambda: here.dut.health.get("connects") == 2)
                assert here.command("lamp", "OFF")["ok"]


def test_a_wrong_password_is_told_by_its_name(mosquitto: object, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    with broker.Mosquitto(f"password_file {passwords}", anonymous=False) as strict:
        address = broker.Address(strict.address.host, strict.address.port, "me", "secret-word")
        with device(tmp_path / "device", address) as running:
            line = said(running, "Not authorized (0x87)")
            assert running.running
            assert line.startswith("dut: no link to 127.0.0.1:")
            assert not any("secret-word" in line for line in running.lines)


def test_a_refusal_is_told_with_the_brokers_own_words(tmp_path: Path) -> None:
    """A scripted broker: real ones refuse no client id that the config lets through."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(15)
        with device(tmp_path, broker.Address("127.0.0.1", server.getsockname()[1])) as running:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(1024)[0] == 0x10
                connection.sendall(b"\x20\x11\x00\x85\x0e\x1f\x00\x0bask Mallory")
                line = said(running, "Client Identifier not valid (0x85): ask Mallory")
            assert line.startswith("dut: no link to 127.0.0.1:")
            assert running.running


def test_what_the_broker_does_not_allow_is_told_by_its_name(mosquitto: object, tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic read {PREFIX}/dut/#\ntopic write {PREFIX}/dut/sensor/#\n")
    with (
        broker.Mosquitto(f"acl_file {rules}") as strict,
        device(tmp_path / "device", strict.address) as running,
    ):
        line = said(running, "refused: ")
        assert line.startswith("dut: message ") and line.endswith("refused: Not authorized (0x87)")
        assert running.running


def test_its_heap_stays_level(any_broker: broker.Address, at_desk: Desk, tmp_path: Path) -> None:
    with device(tmp_path, any_broker, period=0.1):
        at_desk.until(lambda: at_desk.dut.health.get("messages", 0) > 100)
        for word in ("ON", "OFF", "nonsense") * 5:
            at_desk.command("lamp", word)
        before = at_desk.dut.health["heap_used"]
        for word in ("ON", "OFF", "nonsense") * 10:
            at_desk.command("lamp", word)
        messages = at_desk.dut.health["messages"]
        at_desk.until(lambda: at_desk.dut.health["messages"] > messages + 200)
        assert at_desk.dut.health["heap_used"] - before < 1024


GOOD = config("dut", broker.Address("127.0.0.1", 1), PREFIX)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (None, "config.json: not there; copy docs/config.example.json"),
        ("{", "config.json: not JSON; check commas, quotes and brackets"),
        ({**GOOD, "broker": {}}, "config.json: broker.host: missing, expected a host name or an address"),
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
    with Device(tmp_path, settings) as running:
        assert running.wait(10) == 2
        assert list(running.lines) == [line]


def test_an_unknown_sensor_is_named_with_those_there_are(tmp_path: Path) -> None:
    with Device(tmp_path, {**GOOD, "sensors": [{"kind": "load"}, {"kind": "dht99"}]}) as running:
        assert running.wait(10) == 2
        (line,) = running.lines
        assert line.startswith('config.json: sensors[1].kind: "dht99", expected one of ')
        for kind in ("bme280", "disk_free", "load", "memory_available", "uptime"):
            assert kind in line


def test_a_sensor_that_fails_does_not_stop_the_others(
    any_broker: broker.Address, at_desk: Desk, tmp_path: Path
) -> None:
    """A board whose load can't be read: its pins.py is the host's with one reading broken."""
    (tmp_path / "pins.py").write_text(
        Path("boards/host/pins.py").read_text()
        + "\ndef _broken():\n    raise OSError(5)\n\n\nREADINGS['load'] = (_broken, '', '')\n"
    )
    with device(tmp_path, any_broker) as running:
        said(running, "sensor load: OSError: ")
        at_desk.until(lambda: len(at_desk.dut.readings.get("uptime", ())) > 3)
        assert "load" not in at_desk.dut.readings
        time.sleep(0.5)
        assert sum("sensor load" in line for line in running.lines) == 1
