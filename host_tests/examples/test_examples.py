"""Each example does what its first line says, in the VM and on CPython, with a real broker."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from host_tests.board.simulated_board import SimulatedBoard
from host_tests.examples.running import EXAMPLES, MODULES, Example, observe, write_project
from host_tests.simulated_hardware import ASLEEP, SimulatedChip
from tools import broker
from tools.board import mpremote
from tools.bundle import image

on_each_interpreter = pytest.mark.parametrize("interpreter", ["vm", "cpython"])

PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name not in MODULES)
README = (EXAMPLES / "README.md").read_text()


def start(folder: Path, name: str, interpreter: str, address: broker.Address, **settings: object) -> Example:
    write_project(folder, name, BROKER=address.host, PORT=address.port, **settings)
    return Example(folder, name, interpreter)


# ---- all examples


def test_the_index_lists_each_example() -> None:
    assert sorted(re.findall(r"^\| \[(\w+\.py)\]", README, re.MULTILINE)) == PROGRAMS
    assert len(PROGRAMS) >= 13


def test_each_example_is_tested() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in PROGRAMS if f'"{name[:-3]}"' not in sources] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_one_screen_that_begins_with_wifi(name: str) -> None:
    source = (EXAMPLES / name).read_text()
    assert len(source.splitlines()) < 60
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    objects = [ast.unparse(node.value) for node in assigned if isinstance(node.value, ast.Call)]
    assert objects[0].startswith("Wifi(")


def test_the_lines_of_the_readme_run_an_example(tmp_path: Path) -> None:
    """Both lines start; without a broker at this port, the example reports that it cannot connect."""
    lines = re.findall(r"^    (.*examples/sensor_loop\.py)$", README, re.MULTILINE)
    assert len(lines) == 2
    for folder in ("lib", ".venv"):
        (tmp_path / folder).symlink_to(EXAMPLES.parent / folder)
    (tmp_path / "examples").mkdir()
    port = broker.free_port()
    write_project(tmp_path / "examples", "sensor_loop", PORT=port)
    for line in lines:
        with subprocess.Popen(
            ["timeout", "60", "sh", "-c", f"exec env {line}"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            assert running.stdout
            first = running.stdout.readline()
            running.terminate()
            assert str(port) in first, first + running.stdout.read()


def test_the_lines_of_the_readme_run_an_example_on_a_board(
    mosquitto: broker.Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, "sensor_loop", BROKER=mosquitto.host, PORT=mosquitto.port)
    (tmp_path / "ca.pem").write_text("a certificate")
    monkeypatch.chdir(tmp_path)
    section = README.partition("## On a board")[2].partition("## ")[0]
    lines = [line.split()[1:] for line in re.findall(r"mpremote [^`\n]+", section)]
    copies = [line for line in lines if line[0] == "cp"]
    assert len(copies) == 3 and lines.count(["run", "sensor_loop.py"]) == 1
    shutil.copytree(image.build_library(), tmp_path / "files" / "lib")
    with observe(mosquitto) as observer:
        with SimulatedBoard(tmp_path / "files") as board:
            for line in copies:
                mpremote.run(board.port, *line)
            assert {"settings.py", "clock.py", "ca.pem", "main.py"} <= {
                path.name for path in board.folder.iterdir()
            }
            command = [sys.executable, "-m", "mpremote", "connect", board.port, "run", "sensor_loop.py"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as running:
                observer.wait_until(lambda: observer.payloads("greenhouse/temperature"))
                running.kill()


# ---- one broker


@on_each_interpreter
def test_sensor_loop(interpreter: str, any_broker: broker.Address, tmp_path: Path) -> None:
    with observe(any_broker) as observer, start(tmp_path, "sensor_loop", interpreter, any_broker) as running:
        observer.wait_for("greenhouse/status", b"online", running)
        observer.wait_until(lambda: observer.payloads("greenhouse/temperature"), running)
        assert 20 <= float(observer.payloads("greenhouse/temperature")[0]) <= 23.1
    with observe(any_broker) as observer:  # the example was killed: the broker has published the will
        observer.wait_for("greenhouse/status", b"offline")


@on_each_interpreter
def test_commands(interpreter: str, any_broker: broker.Address, tmp_path: Path) -> None:
    with observe(any_broker) as observer, start(tmp_path, "commands", interpreter, any_broker) as running:
        running.wait_for_line("waiting for commands")
        observer.publish_until("lamp/set", b"ON", lambda: b"ON" in observer.payloads("lamp"), running)
        for topic, payload, state in (
            ("lamp", b"OFF", b"OFF"),
            ("fan", b"40", b"40"),
            ("fan", b"140", b"100"),
        ):
            observer.publish(topic + "/set", payload)
            observer.wait_for(topic, state, running)
        observer.publish("lamp/set", b"on")
        running.wait_for_line("lamp: ON or OFF")
        observer.publish("fan/set", b"full")
        running.wait_for_line("fan: a number from 0 to 100")


@on_each_interpreter
def test_request_response(interpreter: str, any_broker: broker.Address, tmp_path: Path) -> None:
    with start(tmp_path, "request_response", interpreter, any_broker) as running:
        assert re.fullmatch(r"it is \d\d:\d\d:\d\d", running.wait_for_line("it is"))


@on_each_interpreter
def test_request_response_of_another_client(
    interpreter: str, any_broker: broker.Address, tmp_path: Path
) -> None:
    with (
        observe(any_broker) as asking,
        start(tmp_path, "request_response", interpreter, any_broker) as running,
    ):
        running.wait_for_line("it is")
        assert re.fullmatch(rb"\d\d:\d\d:\d\d", asking.client.request("clock/time", b"", timeout=20000))


@on_each_interpreter
def test_asyncio_two_tasks(interpreter: str, any_broker: broker.Address, tmp_path: Path) -> None:
    with (
        observe(any_broker) as observer,
        start(tmp_path, "asyncio_two_tasks", interpreter, any_broker) as running,
    ):
        observer.wait_for("counter", b"2", running)
        observer.publish("counter/pause", b"0.1")
        running.wait_for_line("pause 0.1")
        observer.wait_for("counter", b"12", running)
        observer.publish("counter/pause", b"long")
        running.wait_for_line("a number of seconds, not b'long'")
        observer.wait_for("counter", b"20", running)


@on_each_interpreter
def test_offline_queue(interpreter: str, tmp_path: Path) -> None:
    """The broker is off, the program is killed as by a power cut, and the readings arrive later."""
    if not broker.find_mosquitto():
        pytest.skip("mosquitto is not installed")
    with broker.Mosquitto() as running_broker:
        address = running_broker.address
        running_broker.stop()
        before = int(time.time()) if interpreter == "cpython" else 0
        with start(tmp_path, "offline_queue", interpreter, address) as running:
            running.wait_for_line("restored: 0")
            deadline = time.monotonic() + 60
            while b"meter/reading" not in read_outbox(tmp_path):
                assert time.monotonic() < deadline, list(running.lines)
                time.sleep(0.05)
        running_broker.start()
        with observe(address) as observer, Example(tmp_path, "offline_queue", interpreter) as running:
            assert int(running.wait_for_line("restored:").split()[1]) >= 1
            running.wait_for_line("connected")
            observer.wait_until(lambda: len(observer.payloads("meter/reading")) >= 2, running)
            times = [int(payload) for payload in observer.payloads("meter/reading")]
            assert times == sorted(times) and times[0] >= before


def read_outbox(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("outbox.?"))


@on_each_interpreter
def test_home_assistant(interpreter: str, any_broker: broker.Address, tmp_path: Path) -> None:
    config = "homeassistant/device/shed/config"
    with (
        observe(any_broker) as observer,
        start(tmp_path, "home_assistant", interpreter, any_broker) as running,
    ):
        observer.wait_until(lambda: observer.payloads(config), running)
        discovery = json.loads(observer.payloads(config)[0])
        assert discovery["cmps"].keys() == {"temperature", "lamp"}
        assert all("uniq_id" in part and "p" in part for part in discovery["cmps"].values())
        topic = discovery["cmps"]["temperature"]["stat_t"]
        observer.wait_for(topic, b"21.5", running)
        observer.wait_for(discovery["avty_t"], b"online", running)
        lamp = discovery["cmps"]["lamp"]
        observer.publish(lamp["cmd_t"], b"ON")
        observer.wait_for(lamp["stat_t"], b"ON", running)
        count = len(observer.payloads(config))
        observer.publish("homeassistant/status", b"online")  # Home Assistant has started again
        observer.wait_until(lambda: len(observer.payloads(config)) > count, running)


@on_each_interpreter
def test_large_payload_to_flash(interpreter: str, any_broker: broker.Address, tmp_path: Path) -> None:
    picture = bytes(range(256)) * 200
    with (
        observe(any_broker) as observer,
        start(tmp_path, "large_payload_to_flash", interpreter, any_broker) as running,
    ):
        running.wait_for_line("waiting")
        observer.publish_until("camera/picture", picture, lambda: running.has_line("received"), running)
        assert running.wait_for_line("received") == "received 51200 bytes"
        assert (tmp_path / "picture.jpg").read_bytes() == picture
        observer.publish("camera/picture", picture[:1000])  # replaces the file
        running.wait_for_line("received 1000 bytes")
        assert (tmp_path / "picture.jpg").read_bytes() == picture[:1000]


@on_each_interpreter
def test_wifi_networks_on_a_computer(interpreter: str, tmp_path: Path) -> None:
    write_project(tmp_path, "wifi_networks", WIFI_PASSWORD="a password")
    with Example(tmp_path, "wifi_networks", interpreter) as running:
        running.wait_for_line("connected by the computer")


# ---- a board with Wi-Fi


def start_board(folder: Path, name: str, chip: str, **settings: object) -> SimulatedChip:
    """Start an example as main.py of a simulated board, with the compiled library."""
    folder.mkdir(exist_ok=True)
    write_project(folder, name, **settings)
    (folder / f"{name}.py").rename(folder / "main.py")
    (folder / "boot.py").write_text("")
    (folder / "ntptime.py").write_text("def settime():\n    print('the clock is set')\n")
    return SimulatedChip(folder, path=[image.build_library()], chip=chip, sleep_factor=0.02)


@pytest.mark.parametrize("chip", ["esp32", "rp2040"])
def test_wifi_networks_on_a_board(chip: str, tmp_path: Path) -> None:
    folder = tmp_path / "board"
    (folder / "sim").mkdir(parents=True)
    access_point = {"ssid": "another network", "password": "its password"}
    (folder / "sim" / "wlan").write_text(json.dumps(access_point))
    with start_board(folder, "wifi_networks", chip, WIFI_PASSWORD="a password") as running:
        running.wait_for_line("Wi-Fi: SSID was not found. Check ssid", 60)
        running.wait_for_line("Wi-Fi: connected, address 127.0.0.1", 60)
        running.io["wlan"] = {**access_point, "up": False}
        running.wait_for_line("Wi-Fi: connection lost", 60)
        running.io["wlan"] = access_point
        running.wait_for_line("back after a loss", 60)


@pytest.mark.parametrize("chip", ["esp32", "rp2040"])
def test_deep_sleep(chip: str, mosquitto: broker.Address, tmp_path: Path) -> None:
    settings = {"WIFI_PASSWORD": "a password", "BROKER": mosquitto.host, "PORT": mosquitto.port}
    with (
        observe(mosquitto) as observer,
        start_board(tmp_path / "board", "deep_sleep", chip, **settings) as running,
    ):
        observer.wait_until(lambda: observer.payloads("well/level").count(b"1.73") >= 2)
        running.wait_for_line("acknowledged")
        running.wait_until(lambda: running.exit_codes, 60)
        assert set(running.exit_codes) == {ASLEEP}
        assert set(running.requested_sleeps_ms) == {60000}
        (tmp_path / "board" / "settings.py").open("a").write("PORT = 9\n")
        running.wait_for_line("not published:", 60)  # and sleeps
        count = len(running.requested_sleeps_ms)
        running.wait_until(lambda: len(running.requested_sleeps_ms) > count, 60)


def test_sensor_loop_on_a_board_goes_on_after_a_loss_of_wifi(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    settings = {"WIFI_PASSWORD": "a password", "BROKER": mosquitto.host, "PORT": mosquitto.port}
    with (
        observe(mosquitto) as observer,
        start_board(tmp_path / "board", "sensor_loop", "esp32", **settings) as running,
    ):
        running.wait_for_line("Wi-Fi: connected, address")
        observer.wait_until(lambda: observer.payloads("greenhouse/temperature"))
        running.io["wlan"] = {"up": False}
        running.wait_for_line("Wi-Fi: connection lost", 60)
        running.io["wlan"] = {"up": True}
        count = len(observer.payloads("greenhouse/temperature"))
        observer.wait_until(lambda: len(observer.payloads("greenhouse/temperature")) > count)
