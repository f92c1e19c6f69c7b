"""The secrets of a device: no command line, output or file that others can read shows them."""

from __future__ import annotations

import os
import re
import stat
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from host_tests.board.rig import Rig, run_tool
from host_tests.board.simulated_board import SimulatedBoard
from host_tests.command_lines import run_and_watch
from tools import provision
from tools.board import definition
from tools.console import Console
from tools.device_config import device as device_config
from tools.errors import UserError
from tools.provision import ConfigOptions, build_config

WIFI = "a$b'c\"d\\ e#f%g`h"  # make and the shell alter each of these characters
BROKER = "007e5 = [null]"
KEY = "0123456789abcdef" * 4
TOOLS = (sys.executable, "-m", "tools")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file with each secret."""
    folder = tmp_path / "secret files"
    folder.mkdir()
    paths = {name: folder / name for name in ("wifi", "broker", "key")}
    for path, text in zip(paths.values(), (WIFI, BROKER, KEY)):
        path.write_text(text + "\n")
    return paths


def check_nothing_leaked(output: str, seen: set[str], config: bytes) -> None:
    digest = sha256(config).hexdigest()  # whoever knows it can try passwords
    for text in (output, *seen):
        assert 'c"d' not in text and BROKER not in text and KEY not in text and digest not in text


@pytest.mark.parametrize("command", ["provision", "flash"])
def test_secrets_from_files_and_variables_reach_the_device_and_no_command_line(
    command: str, files: dict[str, Path], tmp_path: Path, address: object
) -> None:
    rig = Rig("esp32", tmp_path, address)  # type: ignore[arg-type]
    rig.preinstall()
    with rig.plug_in() as board:
        options = [f"FIRMWARE={rig.firmware_path}"] if command == "flash" else []
        arguments = (
            f"--no-start --set-file 'wifi.password={files['wifi']}' "
            f"--set-env broker.password=DEVICE_PASSWORD --set-file 'update.key={files['key']}' "
            "--set broker.user=me"
        )
        output, seen = run_and_watch(
            ["make", "-s", command, "BOARD=esp32", f"PORT={board.port}", *options, f"ARGS={arguments}"],
            DEVICE_PASSWORD=BROKER,
        )
        written = (rig.filesystem / "config.json").read_bytes()
    config = device_config.parse_config(written.decode(), "config.json")
    assert config["wifi"]["password"] == WIFI
    assert config["broker"]["password"] == BROKER and config["update"]["key"] == KEY
    assert any("mpremote" in line for line in seen)  # the programs that the command starts were seen
    check_nothing_leaked(output, seen, written)


@pytest.mark.parametrize("name", ["wifi.password", "broker.password", "update.key"])
def test_set_with_a_secret_works_but_warns(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = provision.parse_options([f"{name}={KEY}"], None, None, None, None, False, None)
    error = capsys.readouterr().err
    assert error.startswith(f"warning: --set {name}=...") and f"--set-file {name}=FILE" in error
    assert KEY not in error and KEY not in repr(options)
    provision.parse_options(["health=5", name], None, None, None, None, False, None)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "files, variables, words",
    [
        (["wifi.password=/nowhere/file"], [], "/nowhere/file: cannot read the file"),
        ([], ["wifi.password=NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE: no such environment variable"),
        (["hunter2"], [], "--set-file ...: expected key=name"),
        ([], ["wifi.password="], "--set-env wifi.password: expected key=name"),
        ([], ["health=HUNTER"], "--set health: ********, expected seconds"),
        ([], ["wifi.password=SHORT"], "config.json: wifi.password: ..., expected 8 to 63 characters"),
    ],
)
def test_a_source_that_is_wrong_is_named_without_its_content(
    files: list[str], variables: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUNTER", "hunter2 is long")
    monkeypatch.setenv("SHORT", "hunter2")
    board = definition.load_board("esp32")
    base = ["device=a", "broker.host=b", "wifi.ssid=c"]
    with pytest.raises(UserError) as caught:
        options = provision.parse_options(base, None, None, None, None, False, None, files, variables)
        build_config(None, options, board, Console(quiet=True))
    assert words in str(caught.value) and "hunter2" not in str(caught.value)


def test_without_a_terminal_a_secret_that_is_asked_for_names_the_other_ways(
    micropython_board: SimulatedBoard,
) -> None:
    output = run_tool(
        *("provision", "--board", "esp32", "--port", micropython_board.port, "--set", "wifi.password"), code=1
    )
    assert "--set-file wifi.password=FILE" in output and "--set-env wifi.password=VARIABLE" in output


@pytest.mark.parametrize("host, is_warned", [("broker.local", True), ("localhost", False)])
def test_a_device_that_would_send_its_password_without_tls_is_a_warning(
    host: str, is_warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assignments = [
        "device=a",
        f"broker.host={host}",
        "wifi.ssid=c",
        "broker.user=u",
        "broker.password=hunter2",
    ]
    options = ConfigOptions(assignments=assignments, ask=False)
    build_config(None, options, definition.load_board("esp32"), Console(quiet=True))
    error = capsys.readouterr().err
    assert ("without encryption" in error) is is_warned and "hunter2" not in error


def test_a_config_that_cannot_be_read_is_saved_for_this_user_only(
    deployed_board: SimulatedBoard, tmp_path: Path
) -> None:
    (deployed_board.folder / "config.json").write_bytes(b'{"wifi": {"password": "hunter2"')
    output = run_tool("provision", "--board", "esp32", "--port", deployed_board.port, "--no-ask", code=1)
    assert "hunter2" not in output
    found = re.search(r"A copy is in (\S+):", output)
    assert found
    path = Path(found[1])
    assert b"hunter2" in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
