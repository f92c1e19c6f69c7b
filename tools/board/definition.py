"""Board definitions: reads a folder of `boards/`, its board.toml and the constants in its modules.

The modules cannot be imported on a computer, because they import `machine`. So their constants, the names in
capitals, are read from the syntax tree.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tools.errors import UserError
from tools.paths import BOARDS
from tools.text_files import read_text, read_toml

# constants that pins.py must define; docs/boards.md explains them
REQUIRED_CONSTANTS = (
    "WIFI",
    "BUFFERS",
    "READINGS",
    "OUTPUTS",
    "BUSES",
    "ATTENUATIONS",
    "INPUT_PINS",
    "OUTPUT_PINS",
    "ANALOG_PINS",
    "PIN_RESTRICTIONS",
)


@dataclass(frozen=True)
class FirmwareFile:
    """MicroPython firmware of a board: the file of the pinned version."""

    name: str  # name of the build, such as ESP32_GENERIC
    version: str
    date: str  # date of the build, in the file name
    format: str  # "bin" or "uf2"
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the file at micropython.org."""
        return f"{self.name}-{self.date}-v{self.version}.{self.format}"


@dataclass(frozen=True)
class Memory:
    """Memory that the stock MicroPython of a board has for Python."""

    heap: int  # bytes
    tls: int  # bytes of this heap that a TLS connection takes, 0 if the port allocates them elsewhere


@dataclass(frozen=True)
class Board:
    """Board, as its folder in `boards/` defines it."""

    key: str  # name of its folder
    name: str  # name for users
    chip: str  # rp2040, rp2350, host, or the name of an ESP32 chip in esptool
    mpy_arch: str  # architecture of native code in .mpy files
    stubs_package: str  # requirement of the MicroPython stubs for mypy
    firmware: FirmwareFile | None  # None for the host board
    constants: dict[str, Any]  # constants of its modules; a dictionary of functions has None as its values
    memory: Memory | None = None  # None if a config is not checked for it

    @property
    def has_wifi(self) -> bool:
        """Whether the board has Wi-Fi."""
        return bool(self.constants["WIFI"])

    @property
    def readings(self) -> tuple[str, ...]:
        """The kinds of sensors that the board has built in."""
        return tuple(self.constants["READINGS"])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs of the board."""
        return tuple(self.constants["OUTPUTS"])

    @property
    def folder(self) -> Path:
        """The folder of the board in `boards/`."""
        return BOARDS / self.key

    @property
    def pins(self) -> Any:
        """A replacement for the module `pins`, for the config check of the device application."""
        return SimpleNamespace(**self.constants)


def list_boards() -> list[str]:
    """Return the keys of all boards."""
    return sorted(path.parent.name for path in BOARDS.glob("*/board.toml"))


def list_flashable_boards() -> list[str]:
    """Return the keys of the boards that MicroPython can be installed on."""
    return [key for key in list_boards() if load_board(key).firmware]


def load_board(key: str) -> Board:
    """Read the definition of a board. Raises UserError if it does not exist or is incomplete."""
    path = BOARDS / key / "board.toml"
    if key not in list_boards():
        raise UserError(f"BOARD={key}: no such board. Choose one of {', '.join(list_flashable_boards())}")
    found = read_toml(path)
    try:
        firmware = FirmwareFile(**found["firmware"]) if "firmware" in found else None
        return Board(
            key=key,
            name=found["name"],
            chip=found["chip"],
            mpy_arch=found["mpy_arch"],
            stubs_package=found["stubs"],
            firmware=firmware,
            constants=_read_constants(list_modules(key)),
            memory=Memory(**found["memory"]) if "memory" in found else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"boards/{key}: incomplete: {error}. docs/boards.md lists what a board needs"
        ) from error


def list_modules(key: str) -> list[Path]:
    """Return the modules of a board: those that it shares with other boards, then its own."""
    found = read_toml(BOARDS / key / "board.toml")
    shared = [BOARDS / "shared" / f"{name}.py" for name in found.get("shared", ())]
    return [*shared, *sorted((BOARDS / key).glob("*.py"))]


def _read_constants(paths: list[Path]) -> dict[str, Any]:
    """Return the constants and functions of the modules. A value that is not a literal becomes None.

    Raises KeyError if a required constant is missing, or ValueError if the key of a dictionary is not a
    literal.
    """
    found: dict[str, Any] = {}
    targets: list[ast.expr]
    for path in paths:
        for statement in ast.walk(ast.parse(read_text(path))):
            if isinstance(statement, ast.AnnAssign):
                targets, value = [statement.target], statement.value
            elif isinstance(statement, ast.Assign):
                targets, value = statement.targets, statement.value
            elif isinstance(statement, ast.FunctionDef) and statement.name[0] != "_":
                found[statement.name] = None  # the config check asks whether a board has a function
                continue
            else:
                continue
            for target in targets:
                if isinstance(target, ast.Name) and target.id.isupper() and target.id[0] != "_":
                    found[target.id] = _value(value)
                elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                    if target.value.id in found:  # READINGS["name"] = ... under a condition
                        found[target.value.id][ast.literal_eval(target.slice)] = None
    for name in REQUIRED_CONSTANTS:
        if name not in found:
            raise KeyError(f"{name} is missing in pins.py")
    return found


def _value(value: ast.expr | None) -> Any:
    if isinstance(value, ast.Dict):
        return {ast.literal_eval(k): _literal(v) for k, v in zip(value.keys, value.values) if k}
    return _literal(value)


def _literal(value: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(value) if value else None
    except ValueError:
        return None
