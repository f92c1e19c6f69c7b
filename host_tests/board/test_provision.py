"""`make provision`: writes config.json and certificates to a board, and never prints a secret."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from host_tests.board.rig import SECRET, run_failing_tool, run_tool
from host_tests.board.simulated_board import SimulatedBoard
from tools import provision as provisioning
from tools.board import definition
from tools.console import Console
from tools.device_config import backup, config
from tools.errors import UserError
from tools.paths import ROOT
from tools.provision import DeviceConfig


def provision(board: SimulatedBoard, *more: object) -> str:
    return run_tool("provision", "--board", "esp32", "--port", board.port, "--no-start", *more)


def read_config(board: SimulatedBoard) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((board.folder / "config.json").read_text())
    return content


def test_set_changes_a_field_and_preserves_the_others(deployed_board: SimulatedBoard) -> None:
    output = provision(deployed_board, "--set", "sensors[0].period=3", "--set", "broker.password=12345678")
    written = read_config(deployed_board)
    assert written["sensors"][0]["period"] == 3
    assert written["broker"]["password"] == "12345678"  # a string, although it consists of digits
    assert written["wifi"] == {"ssid": "home", "password": SECRET}
    assert SECRET not in output and "12345678" not in output and "config.json written for dut" in output


def test_a_new_config_lists_every_sensor_and_output_of_the_board(micropython_board: SimulatedBoard) -> None:
    provision(
        micropython_board,
        *("--set", "device=new", "--set", "broker.host=b"),
        *("--set", "wifi.ssid=home", "--set", "wifi.password=hush1234"),
    )
    target = definition.load_board("esp32")
    assert [sensor["kind"] for sensor in read_config(micropython_board)["sensors"]] == list(target.readings)
    assert [actuator["pin"] for actuator in read_config(micropython_board)["actuators"]] == list(
        target.outputs
    )


def test_a_missing_field_is_named_and_no_config_is_written(micropython_board: SimulatedBoard) -> None:
    output = run_failing_tool("provision", "--board", "esp32", "--port", micropython_board.port)
    assert output.startswith("config.json: device: missing") and "--set device=..." in output
    assert not (micropython_board.folder / "config.json").exists()


@pytest.mark.parametrize(
    "assignment, words",
    [
        ("broker.port=0", "config.json: broker.port: 0, expected a port number"),
        ("colour=red", "config.json: colour: unknown"),
        ("sensors[0].kind=nose", 'config.json: sensors[0].kind: "nose", expected one of'),
        ("sensors[9].kind=x", "--set sensors[9].kind: there is no entry 9"),
        ("sensors.kind=x", "--set sensors.kind: a field in this path is not an object"),
        ("device", "--set device: expected key=value"),
        ("a..b=1", "--set a..b: expected a path"),
    ],
)
def test_an_invalid_assignment_is_named_and_not_written(
    deployed_board: SimulatedBoard, assignment: str, words: str
) -> None:
    before = (deployed_board.folder / "config.json").read_bytes()
    output = run_failing_tool(
        "provision", "--board", "esp32", "--port", deployed_board.port, "--set", assignment
    )
    assert output.startswith(words)
    assert (deployed_board.folder / "config.json").read_bytes() == before


def test_a_partial_config_file_is_merged(deployed_board: SimulatedBoard, tmp_path: Path) -> None:
    part = tmp_path / "part.json"
    part.write_text('{"broker": {"keep_alive": 99}}')
    provision(deployed_board, "--config", part)
    assert read_config(deployed_board)["broker"]["keep_alive"] == 99
    assert read_config(deployed_board)["device"] == "dut"
    part.write_text("{broker")
    assert f"{part}: not JSON" in run_failing_tool(
        "provision", "--board", "esp32", "--port", deployed_board.port, "--config", part
    )


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    authority = trustme.CA()
    own = authority.issue_cert("dut")
    paths = {name: tmp_path / f"my-{name}.pem" for name in ("ca", "cert", "key", "other")}
    authority.cert_pem.write_to_path(paths["ca"])
    own.cert_chain_pems[0].write_to_path(paths["cert"])
    own.private_key_pem.write_to_path(paths["key"])
    authority.issue_cert("other").private_key_pem.write_to_path(paths["other"])
    return paths


def _options(paths: dict[str, Path], key: str = "key") -> list[str]:
    return ["--ca", str(paths["ca"]), "--cert", str(paths["cert"]), "--key", str(paths[key])]


def test_certificates_are_copied_and_stay_configured(
    deployed_board: SimulatedBoard, certificates: dict[str, Path]
) -> None:
    output = provision(deployed_board, *_options(certificates))
    assert read_config(deployed_board)["broker"]["tls"] == {
        "ca": "ca.pem",
        "cert": "cert.pem",
        "key": "key.pem",
    }
    assert (deployed_board.folder / "key.pem").read_bytes() == certificates["key"].read_bytes()
    assert "PRIVATE KEY" not in output
    provision(deployed_board, "--set", "health=5")  # the certificates on the board are checked
    assert read_config(deployed_board)["broker"]["tls"]["key"] == "key.pem"


def test_a_key_of_another_certificate_is_refused(
    deployed_board: SimulatedBoard, certificates: dict[str, Path]
) -> None:
    wrong = _options(certificates, "other")
    output = run_failing_tool("provision", "--board", "esp32", "--port", deployed_board.port, *wrong)
    assert output.startswith(
        "broker.tls.cert: the private key in broker.tls.key belongs to another certificate"
    )
    assert not (deployed_board.folder / "key.pem").exists()


def test_an_interrupted_run_leaves_the_old_config_unchanged(deployed_board: SimulatedBoard) -> None:
    path = deployed_board.folder / "config.json"
    before = path.read_bytes()
    deployed_board.unplug()
    with SimulatedBoard(deployed_board.folder) as board:
        provision(board, "--set", "health=5")
        total_bytes = board.received
    path.write_bytes(before)
    for share in (0.4, 0.55, 0.7):
        with SimulatedBoard(deployed_board.folder, unplug_after_bytes=int(total_bytes * share)) as board:
            run_failing_tool("provision", "--board", "esp32", "--port", board.port, "--set", "health=5")
        assert path.read_bytes() == before


def test_set_field_accepts_paths_with_dots_and_indexes() -> None:
    content: dict[str, Any] = {}
    config.set_field(content, "broker.tls.ca", "ca.pem")
    config.set_field(content, "sensors[0].kind", "load")
    config.set_field(content, "sensors.1.kind", "uptime")
    assert content == {"broker": {"tls": {"ca": "ca.pem"}}, "sensors": [{"kind": "load"}, {"kind": "uptime"}]}
    config.set_field(content, "broker.tls", None)
    config.set_field(content, "sensors[0]", None)
    assert content == {"broker": {}, "sensors": [{"kind": "uptime"}]}
    with pytest.raises(UserError):
        config.set_field(content, "sensors.kind", 1)


def test_only_the_user_can_read_the_files_of_a_config_on_this_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = DeviceConfig({"device": "dut", "wifi": {"password": SECRET}}, {"key.pem": b"secret key"})
    modes: dict[str, int] = {}

    def read_modes(folder: Path) -> None:
        paths = [folder, *folder.iterdir()]
        modes.update({path.name: path.stat().st_mode & 0o777 for path in paths})

    def copy(port: str, *words: str, timeout: float, doing: str) -> None:
        read_modes(Path(words[1]).parent)

    monkeypatch.setattr(provisioning.mpremote, "run", copy)
    before = os.umask(0)
    try:
        provisioning.write_config("port", device, Console(file=io.StringIO()))
        backup.save_backup("the-id", device)
    finally:
        os.umask(before)
    saved = next((tmp_path / "state").rglob("the-id"))
    read_modes(saved)
    private = {modes.pop(name) for name in ("config.json", "key.pem", ".verify_and_rename.py")}
    assert private == {0o600}
    assert set(modes.values()) == {0o700} and len(modes) == 2
    assert backup.load_backup("the-id") == device


def test_secrets_are_redacted_at_any_depth() -> None:
    printed = json.dumps(
        config.redact_secrets(
            {
                "wifi": {"password": "a"},
                "list": [{"token": "b", "host": "c"}],
                "update": {"key": "d"},
                "broker": {"tls": {"key": "e.pem"}},
            }
        )
    )
    assert '"a"' not in printed and '"b"' not in printed and '"d"' not in printed
    assert '"c"' in printed and '"e.pem"' in printed


def test_the_interactive_questions_do_not_echo_passwords(micropython_board: SimulatedBoard) -> None:
    command = [
        sys.executable,
        "-m",
        "tools",
        "provision",
        "--board",
        "esp32",
        "--port",
        micropython_board.port,
    ]
    answers = [
        ("Wi-Fi network", "home"),
        ("Wi-Fi password", "unseen"),  # a wrong answer is reported at once, and the question is repeated
        ("Wi-Fi password", "typed unseen"),
        ("Device name", ""),  # an empty answer accepts the default
        ("Broker host", "mqtt://broker.lan:1884"),
        ("Broker host", "broker.lan"),
        ("Broker port", "1884"),
        ("Broker user", "me"),
        ("Password of the broker user", "unseen, too"),
    ]
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(command[0], [*command, "--no-start"])
    output = b""
    for question, answer in answers:
        recent = b""
        while question.encode() not in recent.rpartition(b"\n")[2]:
            recent += os.read(fd, 4096)
        output += recent
        os.write(fd, answer.encode() + b"\n")
    with contextlib.suppress(OSError):  # EIO: the program has ended
        while True:
            output += os.read(fd, 4096)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, output.decode()
    assert b"unseen" not in output
    assert b"wifi.password: ..., expected 8 to 63 characters" in output
    assert b'write "broker.lan", and broker.port: 1884' in output
    written = read_config(micropython_board)
    assert written["wifi"] == {"ssid": "home", "password": "typed unseen"}
    assert written["device"] == "esp32-1"
    assert written["broker"] == {"host": "broker.lan", "port": 1884, "user": "me", "password": "unseen, too"}
