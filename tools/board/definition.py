"""A board as its folder in `boards/` describes it.

Its modules import what only the board has, so what they say of it, names in capitals, is read from
the syntax tree.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tomlkit

from tools.errors import UserError
from tools.paths import BOARDS


@dataclass(frozen=True)
class FirmwareFile:
    """MicroPython for a board: one file of one version."""

    name: str  # as in its file name, such as ESP32_GENERIC
    version: str
    date: str
    format: str  # "bin" or "uf2"
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.date}-v{self.version}.{self.format}"


@dataclass(frozen=True)
class Board:
    """`chip` is as esptool names it, or rp2040 and its like, or host."""

    key: str  # the name of its folder
    name: str
    chip: str
    mpy_arch: str
    stubs_package: str
    firmware: FirmwareFile | None
    constants: dict[str, Any]  # the names in capitals of its modules; of functions only the keys
    heap: str = "128k"

    @property
    def has_wifi(self) -> bool:
        return bool(self.constants["WIFI"])

    @property
    def readings(self) -> tuple[str, ...]:
        return tuple(self.constants["READINGS"])

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.constants["OUTPUTS"])

    @property
    def folder(self) -> Path:
        return BOARDS / self.key

    @property
    def pins(self) -> Any:
        """What the device's own check of a config wants to know of `pins.py`."""
        return SimpleNamespace(**self.constants)


def list_boards() -> list[str]:
    """The boards that there are."""
    return sorted(path.parent.name for path in BOARDS.glob("*/board.toml"))


def load_board(key: str) -> Board:
    """Raises UserError where there is no such board, or where its folder is not whole."""
    path = BOARDS / key / "board.toml"
    if key not in list_boards():
        raise UserError(f"BOARD={key or '...'}: there are {', '.join(list_boards())}")
    found = tomlkit.parse(path.read_text()).unwrap()
    try:
        firmware = FirmwareFile(**found["firmware"]) if "firmware" in found else None
        return Board(
            key=key,
            name=found["name"],
            chip=found["chip"],
            mpy_arch=found["mpy_arch"],
            stubs_package=found["stubs"],
            firmware=firmware,
            constants=_said(list_modules(key)),
            heap=found.get("heap", "128k"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"boards/{key}: {error}; see docs/boards.md for what a board needs") from error


def list_modules(key: str) -> list[Path]:
    """The modules of a board: its own, and those that it shares with others."""
    found = tomlkit.parse((BOARDS / key / "board.toml").read_text())
    shared = [BOARDS / "shared" / f"{name}.py" for name in found.get("shared", ())]
    return [*shared, *sorted((BOARDS / key).glob("*.py"))]


def _said(paths: list[Path]) -> dict[str, Any]:
    """The names in capitals; where a value is a function only the keys are known. Raises ValueError."""
    found: dict[str, Any] = {}
    targets: list[ast.expr]
    for path in paths:
        for statement in ast.walk(ast.parse(path.read_text())):
            if isinstance(statement, ast.AnnAssign):
                targets, value = [statement.target], statement.value
            elif isinstance(statement, ast.Assign):
                targets, value = statement.targets, statement.value
            else:
                continue
            for target in targets:
                if isinstance(target, ast.Name) and target.id.isupper() and target.id[0] != "_":
                    found[target.id] = _value(value)
                elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                    if target.value.id in found:  # one more, such as a reading that not all have
                        found[target.value.id][ast.literal_eval(target.slice)] = None
    for name in REQUIRED_CONSTANTS:
        if name not in found:
            raise KeyError(f"{name} is missing in pins.py")
    return found


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


def _value(value: ast.expr | None) -> Any:
    if isinstance(value, ast.Dict):
        return {ast.literal_eval(k): _literal(v) for k, v in zip(value.keys, value.values) if k}
    return _literal(value)


def _literal(value: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(value) if value else None
    except ValueError:
        return None
