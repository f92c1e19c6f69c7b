"""`make broker`: its access, its password, the lines that it prints; `make monitor` finds it by itself."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from host_tests.board.rig import run_failing_tool, run_tool
from host_tests.command_lines import run_and_watch
from host_tests.device.test_demo import children, have_ended
from tools import broker
from tools.paths import LIB, ROOT
from tools.running_broker import find_running
from tools.vm import process
from umqtt5 import Client, MQTTError


class Tool:
    """A command of the tools that runs until it is stopped."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools", *arguments],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.output = ""

    def wait_for(self, pattern: str, timeout: float = 60) -> re.Match[str]:
        """Read the output until a line matches."""
        assert self.process.stdout
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.output, re.MULTILINE)):
            assert time.monotonic() < deadline and self.process.poll() is None, self.output
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                self.output += os.read(self.process.stdout.fileno(), 65536).decode()
        return found

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=20)
        self.output += rest.decode()
        return self.process.returncode


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[Tool]:
    tool = Tool(*arguments, **environment)
    try:
        yield tool
    finally:
        tool.stop(signal.SIGKILL if tool.process.poll() is None else 0)


def publish(host: str, port: int, user: str | None = None, password: str | None = None) -> None:
    """Publish a retained message. Raises MQTTError or OSError."""
    client = Client(host, port, user=user, password=password)
    client.connect()
    client.publish("hello", "world", qos=1, retain=True, wait=5000)
    client.disconnect()


def network_address() -> str:
    from tools.monitor.web_access import find_network_address

    return find_network_address("0.0.0.0")


def test_without_options_only_this_computer_reaches_the_broker_and_no_password_is_needed() -> None:
    with running("broker") as tool:
        url = tool.wait_for(r"^broker at mqtt://(.*):(\d+) for MQTT 5.0, port (\d+) for MQTT 3.1.1")
        tool.wait_for(r"client.publish")
        assert url[1] == "127.0.0.1" and "password" not in tool.output and "warning" not in tool.output
        publish("127.0.0.1", int(url[2]))
        if network_address() != "127.0.0.1":
            with pytest.raises(OSError):
                socket.create_connection((network_address(), int(url[2])), 2)
        (found,) = find_running()
        assert (found.command, found.access.address.port) == ("make broker", int(url[2]))
        descendants = children(tool.process.pid)
        assert descendants and tool.stop() == 0
        assert have_ended(descendants) and find_running() == []


def test_on_the_network_it_has_a_new_password_which_no_command_line_shows() -> None:
    output, lines = run_and_watch(
        [sys.executable, "-m", "tools", "broker", "--host", "0.0.0.0", "--seconds", "4"],
        XDG_STATE_HOME=os.environ["XDG_STATE_HOME"],
    )
    password = re.search(r"^user umqtt5, password ([a-z2-9]{14})$", output, re.MULTILINE)
    assert password and not any(password[1] in line for line in lines)
    assert "warning: passwords and messages are sent without encryption" in output
    shell_lines = [line for line in output.splitlines() if "mosquitto_sub" in line or "make " in line]
    assert shell_lines and not any(password[1] in line for line in shell_lines)
    other = run_tool("broker", "--host", "0.0.0.0", "--seconds", "1")
    assert password[1] not in other  # another one each time


def test_a_wrong_password_is_refused_on_both_ports_and_the_right_one_accepted(tmp_path: Path) -> None:
    (tmp_path / "mqtt.password").write_text('quote " \\ and ümlaut\n')
    with running("broker", "--host", "0.0.0.0", "--password-file", str(tmp_path / "mqtt.password")) as tool:
        found = tool.wait_for(r"^broker at mqtt://.*:(\d+) for MQTT 5.0, port (\d+)")
        tool.wait_for(r"client.publish")
        port = int(found[1])
        assert "ümlaut" not in tool.output and "\nuser umqtt5\n" in tool.output
        for user, password in ((None, None), ("umqtt5", "wrong"), ("other", 'quote " \\ and ümlaut')):
            with pytest.raises((MQTTError, OSError)):
                publish("127.0.0.1", port, user, password)
        publish(network_address(), port, "umqtt5", 'quote " \\ and ümlaut')


def test_the_password_may_come_from_the_environment_and_is_not_printed() -> None:
    environment = {"MQTT_PASSWORD": "from the environment"}
    with running("broker", "--host", "0.0.0.0", **environment) as tool:
        port = int(tool.wait_for(r"^broker at mqtt://.*:(\d+) for MQTT 5.0")[1])
        tool.wait_for(r"client.publish")
        assert "from the environment" not in tool.output and "password=PASSWORD" in tool.output
        publish("127.0.0.1", port, "umqtt5", "from the environment")


@pytest.mark.skipif(not shutil.which("mosquitto_sub"), reason="mosquitto-clients is not installed")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_printed_line_of_mosquitto_sub_shows_the_message_of_the_printed_program(
    host: str, tmp_path: Path
) -> None:
    with running("broker", "--host", host) as tool:
        tool.wait_for(r"wait=5000\)\n")
        line = re.search(r"^  (.*mosquitto_sub .*)$", tool.output, re.MULTILINE)
        assert line
        command = f"exec env {line[1]} -C 1 -W 20"
        subscriber = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        program = "\n".join(re.findall(r"^  ((?:from|client).*)$", tool.output, re.MULTILINE))
        assert program.count("\n") == 3
        child = process.start_vm(["-c", program.replace("qos=1", "qos=1, retain=True")], module_path=[LIB])
        assert child.communicate(timeout=30)[0] == ""
        assert subscriber.communicate(timeout=30)[0] == "hello world\n"


def test_a_port_may_be_chosen_and_one_in_use_is_reported() -> None:
    port = broker.free_port()
    with running("broker", "--port", str(port)) as tool:
        tool.wait_for(rf"^broker at mqtt://127.0.0.1:{port} for MQTT 5.0, port {port + 1} for MQTT 3.1.1")
        error = run_failing_tool("broker", "--port", port)
        assert f"port {port} at 127.0.0.1: Address already in use. Omit PORT=" in error


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("broker.local", "expected an IPv4 address of this computer"),
        ("::1", "expected an IPv4 address of this computer"),
        ("192.0.2.77", "not an address of this computer"),
        ("", "expected an IPv4 address of this computer"),
        ('0.0.0.0"\n[v5.2]', "expected an IPv4 address of this computer"),
    ],
)
def test_a_host_that_is_not_of_this_computer_is_refused(host: str, words: str) -> None:
    assert words in run_tool("broker", "--host", host, "--seconds", "1", code=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_broker_and_all_its_processes(number: int) -> None:
    with running("broker") as tool:
        tool.wait_for(r"client.publish")
        descendants = children(tool.process.pid)
        assert tool.stop(number) == 128 + number
        assert have_ended(descendants) and find_running() == []


def test_the_monitor_finds_the_demo_by_itself_and_the_demo_finds_the_login_of_the_broker() -> None:
    with running("broker", "--host", "0.0.0.0") as server:
        url = server.wait_for(r"make demo BROKER=(\S+)$")[1]
        with running("demo", "--plain", "--broker", url) as demo:
            demo.wait_for(r"^roof: online")
            with running("monitor", "--plain") as monitor:
                monitor.wait_for(rf"^showing the broker {re.escape(url)} of make demo")
                monitor.wait_for(r"^kitchen: online: .*load")
                assert f"also running: {url} of make broker" in monitor.output
            (entry,) = [one for one in find_running() if one.command == "make demo"]
            assert entry.access.address.password is None  # it is that of the other command


def test_the_monitor_finds_a_simulated_fleet_with_passwords_and_certificates(
    mosquitto: broker.Address, tmp_path: Path
) -> None:
    options = ("--count", "2", "--broker", "mosquitto", "--seconds", "120")
    with running("fleet", "run", *options, "--report", str(tmp_path / "report.json")) as fleet:
        deadline = time.monotonic() + 60
        while not find_running():
            assert time.monotonic() < deadline and fleet.process.poll() is None, fleet.output
            time.sleep(0.2)
        with running("monitor", "--plain") as monitor:
            monitor.wait_for(r"^showing the broker mqtts://localhost:\d+ of make fleet")
            monitor.wait_for(r"^vm-00[12]: online: ")
        fleet.stop()


def test_make_broker_and_the_words_of_its_help() -> None:
    done = subprocess.run(
        ["make", "-n", "broker", "HOST=0.0.0.0", "PORT=1883", "SECONDS=3"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "MAKE" not in name},
        capture_output=True,
        text=True,
    )
    words = shlex.split(done.stdout.replace("\\\n", " "))
    assert words[-6:] == ["--host", "0.0.0.0", "--port", "1883", "--seconds", "3"]


def test_the_demo_announces_its_devices_to_home_assistant_and_removes_them_at_its_end(
    mosquitto: broker.Address,
) -> None:
    topics: dict[str, bytes] = {}
    client = Client(mosquitto.host, mosquitto.port, rx=16384)
    client.subscribe(
        "homeassistant/device/+/config",
        lambda message: topics.update({message.topic: bytes(message.payload)}),
        qos=1,
    )
    client.connect()
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    with running("demo", "--plain", "--homeassistant", "--broker", url) as demo:
        deadline = time.monotonic() + 60
        while len(topics) < 3:
            assert time.monotonic() < deadline and demo.process.poll() is None, demo.output
            client.poll(100)
        assert set(topics) == {
            f"homeassistant/device/demo-{name}/config" for name in ("kitchen", "cellar", "roof")
        }
        assert all(b"lamp" in text for text in topics.values())
        assert demo.stop() == 0
        client.poll(500)
        assert set(topics.values()) == {b""}
        assert "\nNext:\n  make broker" in demo.output
    client.disconnect()
