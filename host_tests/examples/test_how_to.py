"""The how-to guides: their programs and commands, as a reader types them, with real brokers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from host_tests.conftest import require_mosquitto
from host_tests.examples.running import observe
from host_tests.examples.snippets import expected_lines, read_snippets, start_snippet
from host_tests.simulated_hardware import SimulatedChip, sensor_data
from tools import broker
from tools.bundle import image
from tools.paths import ROOT

GUIDES = "docs/how-to/"
on_each_interpreter = pytest.mark.parametrize("interpreter", ["vm", "cpython"])


def read_blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a guide that have this language, also those in a list."""
    text = (ROOT / GUIDES / page).read_text(encoding="utf-8")
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks]


def run_lines(lines: str, folder: Path) -> None:
    done = subprocess.run(["sh", "-ec", lines], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("chip", ["esp32", "rp2040"])
def test_sensor_on_a_board(chip: str, mosquitto: broker.Address, tmp_path: Path) -> None:
    (program,) = read_snippets(GUIDES + "sensor-on-esp32.md")
    program = program.replace('"192.168.1.10"', f"{mosquitto.host!r}, {mosquitto.port}")
    assert str(mosquitto.port) in program
    program = program.replace('"PASSWORD"', '"a password"')
    folder = tmp_path / "board"
    (folder / "sim").mkdir(parents=True)
    (folder / "boot.py").write_text("")
    (folder / "main.py").write_text(program)
    (folder / "sim" / "wlan").write_text('{"ssid": "SSID", "password": "a password"}')
    with (
        observe(mosquitto) as observer,
        SimulatedChip(folder, path=[image.build_library()], chip=chip, sleep_factor=0.02) as running,
    ):
        running.wait_for_line("Wi-Fi: connected, address", 60)
        running.wait_for_line("the sensor does not answer", 60)  # it is not plugged in
        running.io["dht-4"] = sensor_data.dht(21.5, 48)
        observer.wait_for("greenhouse/temperature", b"21.5")
        observer.wait_for("greenhouse/humidity", b"48")
        assert "greenhouse/status" in dict(observer.received)


@on_each_interpreter
def test_a_broker_with_tls(interpreter: str, tmp_path: Path) -> None:
    require_mosquitto()
    certificates, password = read_blocks("broker-with-tls.md", "sh")
    run_lines(certificates, tmp_path)
    run_lines(password.replace("-c ", "-b -c ").strip() + " PASSWORD", tmp_path)
    config = read_blocks("broker-with-tls.md", "conf")[0]
    lines = [
        re.sub(r"/etc/mosquitto/(certs/)?", f"{tmp_path}/", line)
        for line in config.splitlines()
        if not line.startswith(("listener", "allow_anonymous"))
    ]
    assert "listener 8883" in config and "allow_anonymous false" in config and len(lines) == 4
    (program,) = read_snippets(GUIDES + "broker-with-tls.md")
    with broker.Mosquitto(*lines, anonymous=False) as running_broker:
        with start_snippet(tmp_path, interpreter, program, running_broker.address) as running:
            running.wait()
        assert list(running.lines) == expected_lines(program) and running.lines
        wrong = program.replace('"PASSWORD"', '"a wrong one"')
        with start_snippet(tmp_path, interpreter, wrong, running_broker.address) as running:
            running.wait()
        assert "Not authorized" in "\n".join(running.lines)
        wrong = program.replace('"broker.local"', '"another.local"')
        with start_snippet(tmp_path, interpreter, wrong, running_broker.address) as running:
            running.wait()
        assert "Connect to a name in the certificate" in "\n".join(running.lines)


@on_each_interpreter
@pytest.mark.parametrize("number", range(3))
def test_keep_messages_while_offline(
    number: int, interpreter: str, any_broker: broker.Address, tmp_path: Path
) -> None:
    snippets = read_snippets(GUIDES + "queue-while-offline.md")
    assert len(snippets) == 3
    with start_snippet(tmp_path, interpreter, snippets[number], any_broker) as running:
        running.wait()
    assert list(running.lines) == expected_lines(snippets[number]) and running.lines


def test_the_client_certificate_for_azure(tmp_path: Path) -> None:
    (lines,) = [block for block in read_blocks("cloud-brokers.md", "sh") if "openssl" in block]
    run_lines(lines, tmp_path)
    assert (tmp_path / "device.key").exists() and (tmp_path / "device.crt").exists()
