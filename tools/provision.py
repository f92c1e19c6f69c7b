"""`make provision`: a device's `config.json` and certificates, asked for, checked, written.

What the device has is where the questions begin. A secret is never printed.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.prompt import Prompt

from app.config import schema
from tools.board import definition, mpremote, serial_ports
from tools.board.definition import Board
from tools.board.serial_console import SerialConsole, show_startup
from tools.device_config.config import (
    CERTIFICATE_FIELDS,
    CONFIG_FILE,
    default_config,
    merge,
    parse_assignment,
    parse_config,
    redact_secrets,
    set_field,
    validate,
)
from tools.errors import UserError

_MISSING = "missing"
_ANSWER = 3  # s in which MicroPython shows its prompt where there is one
# what a person is asked
_NETWORK = (("wifi.ssid", "name of the Wi-Fi network"), ("wifi.password", "its password"))
_DEVICE = (
    ("device", "name of the device"),
    ("broker.host", "the broker's host"),
    ("broker.port", "its port"),
    ("broker.user", "user at the broker, empty for none"),
    ("broker.password", "the user's password"),
)


@dataclass
class ConfigOptions:
    """What the caller said about a config."""

    config_file: Path | None = None
    assignments: list[str] = field(default_factory=list)
    certificates: dict[str, Path] = field(default_factory=dict)  # by field of broker.tls
    ask: bool = True


@dataclass
class DeviceConfig:
    """What goes onto a device: its config, and the files that it names."""

    config: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


def read_config(port: str) -> DeviceConfig | None:
    """What the device has now, None where it has no config, or none that can be read."""
    try:
        with SerialConsole(port) as serial:
            if not serial.wait_for_prompt(_ANSWER):
                return None
        text = mpremote.run(port, "resume", "fs", "cat", f":{CONFIG_FILE}", timeout=20)
        found = DeviceConfig(parse_config(text, CONFIG_FILE))
    except UserError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name in _names(found.config):
            path = Path(folder) / "file"
            with contextlib.suppress(UserError):
                mpremote.run(port, "resume", "fs", "cp", f":{name}", str(path), timeout=30)
                found.files[name] = path.read_bytes()
    return found


def _names(config: dict[str, Any]) -> list[str]:
    """The files that a config names."""
    tls = config.get("broker", {}).get("tls") if isinstance(config.get("broker"), dict) else None
    return (
        [tls[f] for f in CERTIFICATE_FIELDS if isinstance(tls.get(f), str)] if isinstance(tls, dict) else []
    )


def build_config(
    previous: DeviceConfig | None, options: ConfigOptions, target: Board, console: Console
) -> DeviceConfig:
    """What the device is to have: of before, of the file, of `--set`, of the answers. Raises UserError."""
    made = DeviceConfig(default_config(target))
    if previous:
        made.files.update(previous.files)
        made.config = merge(made.config, previous.config)
    if options.config_file:
        try:
            text = options.config_file.read_text()
        except OSError as error:
            raise UserError(
                f"{options.config_file}: {error.strerror}: say --config with a file that is there"
            ) from error
        made.config = merge(made.config, parse_config(text, str(options.config_file)))
    for name, path in options.certificates.items():
        set_field(made.config, f"broker.tls.{name}", f"{name}.pem")
        made.files[f"{name}.pem"] = _read(path)
    asks = options.ask and sys.stdin.isatty()
    for assignment in options.assignments:
        if "=" not in assignment and asks:
            set_field(made.config, assignment, _unseen(assignment))
        else:
            set_field(made.config, *parse_assignment(assignment))
    if asks:
        _ask(made.config, target, console)
    made.files = {name: made.files[name] for name in _names(made.config) if name in made.files}
    _complete(made, target)
    made.config = {field: made.config[field] for field in schema.FIELDS[""] if field in made.config}
    return made


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def _complete(made: DeviceConfig, target: Board) -> None:
    try:
        validate(made.config, made.files, target)
    except UserError as problem:
        text = str(problem)
        if _MISSING in text and "--set" not in text:
            text += f"; say it with --set {text.split(': ')[1]}=..., in a file, or where you can be asked"
        raise UserError(text) from problem


def _ask(config: dict[str, Any], target: Board, console: Console) -> None:
    """Each of the questions, with what there is as its default."""
    usual = {
        "device": f"{target.key}-1",
        "broker.port": "8883" if _get(config, "broker.tls") else "1883",
        "broker.user": "",
    }
    for key, question in (*(_NETWORK if target.has_wifi else ()), *_DEVICE):
        if key == "broker.password" and not _get(config, "broker.user"):
            continue
        now = _get(config, key)
        if key.endswith("password"):
            hint = ", Return keeps the one there is" if now else ", empty for none"
            answer = _unseen(question + hint)
        else:
            default: Any = usual.get(key, ...) if now is None else str(now)
            answer = Prompt.ask(question, console=console, default=default)
        if answer:
            set_field(config, key, int(answer) if answer.isdigit() and key.endswith("port") else answer)


def _unseen(question: str) -> str:
    """An answer that is not shown: `Prompt` asks a moment before the terminal ceases to show."""
    return getpass.getpass(f"{question}: ")


def _get(config: dict[str, Any], key: str) -> Any:
    found: Any = config
    for step in key.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def write_config(port: str, made: DeviceConfig, console: Console) -> None:
    """Onto the device, whole or not at all: beside what is there, then renamed. Raises UserError."""
    with _private_folder() as folder:
        names = []
        for name, data in {
            CONFIG_FILE: json.dumps(made.config, indent=1).encode(),
            **made.files,
        }.items():
            (folder / name).write_bytes(data)
            names.append(name)
        names.reverse()  # the config last: it names the others
        copies = [word for name in names for word in ("cp", str(folder / name), f":{name}.new", "+")]
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
        mpremote.run(port, *copies, "exec", _RENAME % (digests, names))
    console.print(
        f"{port}: {', '.join(sorted(names))} written for {made.config['device']}",
        highlight=False,
        markup=False,
    )


# FAT renames onto nothing that is there
_RENAME = """
import os
from binascii import hexlify
from hashlib import sha256
for name, digest in %r.items():
    with open(name + ".new", "rb") as file:
        if hexlify(sha256(file.read()).digest()).decode() != digest:
            raise OSError("not as it was sent; do it again")
for name in %r:
    try:
        os.rename(name + ".new", name)
    except OSError:
        os.remove(name)
        os.rename(name + ".new", name)
"""


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """For secrets on their way: nobody else can read it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        yield Path(folder)


def print_config(made: DeviceConfig, console: Console) -> None:
    """Print it without its secrets."""
    console.print_json(json.dumps(redact_secrets(made.config)))


def main(
    board_key: Annotated[str, typer.Option("--board", help="a folder of boards/")],
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    assignments: Annotated[
        Optional[list[str]],
        typer.Option(
            "--set", help="key=value, such as broker.host=10.0.0.5; without = you are asked, unseen"
        ),
    ] = None,
    config_file: Annotated[
        Optional[Path], typer.Option("--config", help="a config.json, whole or in part")
    ] = None,
    ca: Annotated[Optional[Path], typer.Option(help="TLS: who signed the broker's certificate")] = None,
    cert: Annotated[Optional[Path], typer.Option(help="TLS: the device's own certificate")] = None,
    key: Annotated[Optional[Path], typer.Option(help="TLS: the private key of it")] = None,
    ask: Annotated[bool, typer.Option(help="ask for what is missing, in a terminal")] = True,
    start: Annotated[bool, typer.Option(help="start the application, and show its first lines")] = True,
) -> None:
    """A device's config and certificates: questions, --set or a file; checked as the device checks them.

    It begins with what the device has. Secrets are never printed.
    """
    console = Console(soft_wrap=True)
    target = definition.load_board(board_key)
    chosen = serial_ports.choose_port(port, target)
    made = build_config(
        read_config(chosen), parse_options(assignments, config_file, ca, cert, key, ask), target, console
    )
    print_config(made, console)
    write_config(chosen, made, console)
    if start:
        show_startup(chosen, console)


def parse_options(
    assignments: list[str] | None,
    config_file: Path | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    ask: bool,
) -> ConfigOptions:
    """The options of a command line."""
    given = {"ca": ca, "cert": cert, "key": key}
    return ConfigOptions(
        config_file, assignments or [], {name: path for name, path in given.items() if path}, ask
    )
