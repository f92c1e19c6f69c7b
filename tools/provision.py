"""The command `provision`: writes `config.json` and the certificates of a device.

It starts with the config on the device, asks for missing fields, and validates the result. Passwords are
never printed.
"""

from __future__ import annotations

import contextlib
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
from rich.prompt import Prompt

from app.config import schema
from tools import deadlines
from tools.board import definition, mpremote, serial_ports
from tools.board.definition import Board
from tools.board.identity import check_board
from tools.board.serial_console import show_startup
from tools.console import Console
from tools.credentials import ask_secret, is_this_computer, read_secret, read_secret_variable, warn
from tools.device_config.config import (
    CONFIG_FILE,
    certificate_fields,
    default_config,
    format_config,
    is_secret,
    merge,
    parse_assignment,
    parse_config,
    redact_secrets,
    set_field,
    validate,
)
from tools.device_config.device import DeviceConfig, read_config
from tools.errors import UserError
from tools.heap.estimate import choose_heap
from tools.options import (
    Ask,
    BoardKey,
    CaFile,
    CertFile,
    ConfigFile,
    Heap,
    KeyFile,
    NewConfig,
    Port,
    SetEnv,
    SetFile,
    Start,
)
from tools.text_files import read_bytes, read_text

_MISSING = ": missing"  # in the errors of the device application
# questions by field
_WIFI_QUESTIONS = (("wifi.ssid", "Wi-Fi network (SSID)"), ("wifi.password", "Wi-Fi password"))
_QUESTIONS = (
    ("device", "Device name"),
    ("broker.host", "Broker host"),
    ("broker.port", "Broker port"),
    ("broker.user", "Broker user, empty for none"),
    ("broker.password", "Password of the broker user"),
)


@dataclass
class ConfigOptions:
    """Options of the command line that change a config."""

    config_file: Path | None = None
    # key=value, or key to ask for the value
    assignments: list[str] = field(default_factory=list, repr=False)
    # key=value from files and from the environment: the values are not shown in errors
    hidden_assignments: list[str] = field(default_factory=list, repr=False)
    certificates: dict[str, Path] = field(default_factory=dict)  # files by field of broker.tls
    ask: bool = True
    heap: int | None = None  # heap of the board in bytes, None for that of the stock MicroPython


def build_config(
    previous: DeviceConfig | None, options: ConfigOptions, board: Board, console: Console
) -> DeviceConfig:
    """Return the new config of a device, validated.

    The sources, in order of increasing precedence, are: the defaults of the board, the previous config, the
    config file, the certificates, the assignments, and the answers of the user. Raises UserError.
    """
    device = DeviceConfig(default_config(board))
    if previous:
        device.files.update(previous.files)
        device.config = merge(device.config, previous.config)
    if options.config_file:
        device.config = merge(
            device.config, parse_config(read_text(options.config_file), str(options.config_file))
        )
    for name, path in options.certificates.items():
        set_field(device.config, f"broker.tls.{name}", f"{name}.pem")
        device.files[f"{name}.pem"] = read_bytes(path)
    can_ask = options.ask and sys.stdin.isatty()
    for assignment in options.assignments:
        if "=" not in assignment and can_ask:
            set_field(device.config, assignment, ask_secret(assignment))
        else:
            set_field(device.config, *parse_assignment(assignment, device.config))
    for assignment in options.hidden_assignments:
        set_field(device.config, *parse_assignment(assignment, device.config, is_hidden=True))
    if can_ask:
        _ask_questions(device.config, board, console)
    names = certificate_fields(device.config).values()
    device.files = {name: data for name, data in device.files.items() if name in names}
    if warning := _validate(device, board, options.heap):
        console.print(f"{CONFIG_FILE}: {warning}", highlight=False, markup=False, style="yellow")
    _warn_of_plain_password(device.config)
    device.config = {name: device.config[name] for name in schema.FIELDS[""] if name in device.config}
    return device


def _warn_of_plain_password(config: dict[str, Any]) -> None:
    """Print a warning if the device would send the password of the broker over the network without TLS."""
    broker = config["broker"]
    if broker.get("password") and not broker.get("tls") and not is_this_computer(broker["host"]):
        warn(
            f"{config['device']}: the password for {broker['host']} is sent without encryption, so everyone "
            "in this network can read it. Use TLS: --ca FILE"
        )


def _validate(device: DeviceConfig, board: Board, heap: int | None) -> str | None:
    try:
        return validate(device.config, device.files, board, heap)
    except UserError as error:
        text = str(error)
        if _MISSING in text and "--set" not in text:
            name = text.split(": ")[1]
            option = f"--set-file {name}=FILE" if is_secret(name) else f"--set {name}=..."
            text += f". Add {option}, or run this in a terminal to be asked for it"
        raise UserError(text) from error


def _ask_questions(config: dict[str, Any], board: Board, console: Console) -> None:
    """Ask for the device name, Wi-Fi network and broker. The default of each is its current value."""
    defaults = {
        "device": f"{board.key}-1",
        "broker.port": "8883" if _get(config, "broker.tls") else "1883",
        "broker.user": "",
    }
    for key, question in (*(_WIFI_QUESTIONS if board.has_wifi else ()), *_QUESTIONS):
        if key == "broker.password" and not _get(config, "broker.user"):
            continue
        while not _ask_question(config, key, question, defaults, board, console):
            pass


def _ask_question(
    config: dict[str, Any], key: str, question: str, defaults: dict[str, str], board: Board, console: Console
) -> bool:
    """Ask for one field and set it. Prints what is wrong with the answer, and returns False then."""
    current = _get(config, key)
    if key.endswith("password"):
        hint = " (Return keeps the current one)" if current else " (empty for none)"
        answer = ask_secret(question + hint)
    else:
        default: Any = defaults.get(key, ...) if current is None else str(current)
        answer = Prompt.ask(question, console=console, default=default)
    if not answer:
        return True
    value = int(answer) if answer.isdigit() and key.endswith("port") else answer
    # the smallest valid config with this answer
    trial: dict[str, Any] = {"device": "a", "broker": {"host": "a"}}
    if board.has_wifi:
        trial["wifi"] = {"ssid": "a"}
    set_field(trial, key, value)
    try:
        validate(trial, {}, board)
    except UserError as error:
        console.print(str(error).partition(": ")[2], highlight=False, markup=False)
        return False
    set_field(config, key, value)
    return True


def _get(config: dict[str, Any], key: str) -> Any:
    value: Any = config
    for step in key.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _write_private(path: Path, data: bytes) -> None:
    with open(path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(data)


def write_config(port: str, device: DeviceConfig, console: Console) -> None:
    """Write the config and its files to a device. Raises UserError.

    The files are written beside the old ones, verified, and then renamed, config.json last. So after an
    interruption the device has its old config or the new one. FAT is an exception: it cannot replace a file
    in one step.
    """
    with _private_folder() as folder:
        files = {CONFIG_FILE: format_config(device.config, indent=1), **device.files}
        for name, data in files.items():
            _write_private(folder / name, data)
        names = list(files)[::-1]  # config.json last, because it names the others
        copies = [word for name in names for word in ("cp", str(folder / name), f":{name}.new", "+")]
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        # a file, because a command line with the hash of a short password lets others guess the password
        script = folder / ".verify_and_rename.py"
        _write_private(script, (_VERIFY_AND_RENAME % (digests, names)).encode())
        with console.status(f"{port}: writing {', '.join(sorted(names))}"):
            words = (*copies, "run", str(script))
            mpremote.run(port, *words, timeout=deadlines.WRITE_CONFIG, doing="writing the config")
    console.print(
        f"{port}: {', '.join(sorted(names))} written for {device.config['device']}",
        highlight=False,
        markup=False,
    )


# FAT cannot rename to an existing name
_VERIFY_AND_RENAME = """
import os
from binascii import hexlify
from hashlib import sha256
for name, digest in %r.items():
    with open(name + ".new", "rb") as file:
        if hexlify(sha256(file.read()).digest()).decode() != digest:
            raise OSError(name + " was damaged on its way. Try again")
for name in %r:
    try:
        os.rename(name + ".new", name)
    except OSError:
        os.remove(name)
        os.rename(name + ".new", name)
"""


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A temporary folder that other users cannot read: `tempfile` creates it with mode 0700."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def print_config(device: DeviceConfig, console: Console) -> None:
    """Print a config without its passwords."""
    console.print_json(json.dumps(redact_secrets(device.config)))


def parse_options(
    assignments: list[str] | None,
    config_file: Path | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    ask: bool,
    heap: int | None,
    from_files: list[str] | None = None,
    from_variables: list[str] | None = None,
) -> ConfigOptions:
    """Return the options of a command line as ConfigOptions. Reads the files and variables of secrets."""
    for assignment in assignments or []:
        name, _, value = assignment.partition("=")
        if value and is_secret(name):
            warn(
                f"--set {name}=...: the list of processes and the history of the shell show this secret. "
                f"Use --set {name} (asks for it), --set-file {name}=FILE or --set-env {name}=VARIABLE"
            )
    hidden = [
        f"{name}={read(source)}"
        for option, read, pairs in (
            ("--set-file", lambda source: read_secret(Path(source)), from_files),
            ("--set-env", read_secret_variable, from_variables),
        )
        for name, source in _split_pairs(option, pairs or [])
    ]
    certificates = {name: path for name, path in (("ca", ca), ("cert", cert), ("key", key)) if path}
    return ConfigOptions(config_file, assignments or [], hidden, certificates, ask, heap)


def _split_pairs(option: str, pairs: list[str]) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        name, equals, source = pair.partition("=")
        if not name or not source:
            # without the rest, which may be a secret
            raise UserError(
                f"{option} {name if equals else '...'}: expected key=name, such as wifi.password=NAME"
            )
        yield name, source


def main(
    board_key: BoardKey,
    port: Port = None,
    assignments: Annotated[
        Optional[list[str]],
        typer.Option(
            "--set",
            help="key=value, such as broker.host=10.0.0.5; without =, asks for the value and hides it",
        ),
    ] = None,
    from_files: SetFile = None,
    from_variables: SetEnv = None,
    config_file: ConfigFile = None,
    ca: CaFile = None,
    cert: CertFile = None,
    key: KeyFile = None,
    ask: Ask = True,
    heap: Heap = None,
    start: Start = True,
    new_config: NewConfig = False,
) -> None:
    """Write the config and the certificates of a device.

    Starts with the config on the device, applies --config, --set and your answers, and validates the result.
    """
    console = Console(soft_wrap=True)
    board = definition.load_board(board_key)
    chosen = serial_ports.choose_port(port, board)
    options = parse_options(assignments, config_file, ca, cert, key, ask, heap, from_files, from_variables)
    previous = None if new_config else read_config(chosen)
    reported = check_board(chosen, board)
    options.heap = heap or choose_heap(board, reported)
    with deadlines.current().paused():  # it asks the user
        device = build_config(previous, options, board, console)
    print_config(device, console)
    write_config(chosen, device, console)
    if start:
        show_startup(chosen, console)
