"""A board as its folder in `boards/` describes it.

Its `pins.py` imports what only the board has, so the names of its readings and outputs are read
from the syntax tree.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tomlkit

from tools.paths import BOARDS
from tools.problem import Problem


@dataclass(frozen=True)
class Firmware:
    """MicroPython for a board: one file of one version."""

    name: str  # as in its file name, such as ESP32_GENERIC
    version: str
    date: str
    format: str  # "bin" or "uf2"
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.date}-v{self.version}.{self.format}"


@dataclass(frozen=True)
class Board:
    """`chip` is as esptool names it, or rp2040 and its like, or host."""

    key: str  # the name of its folder
    name: str
    chip: str
    mpy_arch: str
    stubs: str
    firmware: Firmware | None
    wifi: bool
    readings: tuple[str, ...]
    outputs: tuple[str, ...]
    heap: str = "128k"

    @property
    def folder(self) -> Path:
        return BOARDS / self.key

    @property
    def pins(self) -> Any:
        """What the device's own check of a config wants to know of `pins.py`."""
        return SimpleNamespace(
            WIFI=self.wifi,
            READINGS=dict.fromkeys(self.readings),
            OUTPUTS=dict.fromkeys(self.outputs),
        )


def names() -> list[str]:
    """The boards that there are."""
    return sorted(path.parent.name for path in BOARDS.glob("*/board.toml"))


def load(key: str) -> Board:
    """Raises Problem where there is no such board, or where its folder is not whole."""
    path = BOARDS / key / "board.toml"
    if key not in names():
        raise Problem(f"BOARD={key or '...'}: there are {', '.join(names())}")
    found = tomlkit.parse(path.read_text()).unwrap()
    pins = _assigned(ast.parse((BOARDS / key / "pins.py").read_text()))
    try:
        firmware = Firmware(**found["firmware"]) if "firmware" in found else None
        return Board(
            key=key,
            name=found["name"],
            chip=found["chip"],
            mpy_arch=found["mpy_arch"],
            stubs=found["stubs"],
            firmware=firmware,
            wifi=bool(pins["WIFI"]),
            readings=tuple(pins["READINGS"]),
            outputs=tuple(pins["OUTPUTS"]),
            heap=found.get("heap", "128k"),
        )
    except (KeyError, TypeError) as error:
        raise Problem(f"boards/{key}: {error}; see docs/device.md for what a board needs") from error


def _assigned(module: ast.Module) -> dict[str, Any]:
    """WIFI, and the keys of READINGS and OUTPUTS, those that are added later too."""
    found: dict[str, Any] = {"READINGS": [], "OUTPUTS": []}
    for statement in ast.walk(module):
        if not isinstance(statement, ast.Assign):
            continue
        target = statement.targets[0]
        if isinstance(target, ast.Name) and target.id == "WIFI":
            found["WIFI"] = ast.literal_eval(statement.value)
        elif isinstance(target, ast.Name) and target.id in found and isinstance(statement.value, ast.Dict):
            found[target.id] += [ast.literal_eval(key) for key in statement.value.keys if key]
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            if target.value.id in ("READINGS", "OUTPUTS"):
                found[target.value.id].append(ast.literal_eval(target.slice))
    return found
