"""Serial ports: which there are, and which one has the board."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.prompt import Prompt
from serial.tools import list_ports

from tools.board.definition import Board
from tools.errors import UserError

RASPBERRY_PI = 0x2E8A
# the chips between USB and a UART that ESP32 boards have, and Espressif's own
_ESPRESSIF = (0x303A, 0x10C4, 0x1A86, 0x0403, 0x067B)


@dataclass(frozen=True)
class SerialPort:
    """A serial port on USB."""

    device: str
    description: str
    vid: int | None


def find_ports() -> list[SerialPort]:
    """Those on USB: a computer's own UARTs have no board."""
    return [
        SerialPort(one.device, one.description or "", one.vid)
        for one in sorted(list_ports.comports())
        if one.vid is not None
    ]


def filter_by_board(ports: list[SerialPort], target: Board) -> list[SerialPort]:
    """Those that may have this board; all, where none is known."""
    makers = (RASPBERRY_PI,) if target.chip.startswith("rp2") else _ESPRESSIF
    return [port for port in ports if port.vid in makers] or ports


def choose_port(port: str | None, target: Board | None, console: Console | None = None) -> str:
    """The port to use: the given one, the only one, or the one that a person says. Raises UserError."""
    if port:
        return _checked(port)
    there = find_ports()
    if target:
        there = filter_by_board(there, target)
    if not there:
        raise UserError("no board found: plug it in with a cable that carries data; `make doctor` tells more")
    if len(there) == 1:
        return _checked(there[0].device)
    listed = ", ".join(f"{port.device} ({port.description})" for port in there)
    if not sys.stdin.isatty():
        raise UserError(f"several boards: {listed}; say which with PORT={there[0].device}")
    (console or Console()).print(listed)
    return Prompt.ask("which one", choices=[port.device for port in there])


def _checked(device: str) -> str:
    if "://" in device or os.name == "nt":
        return device
    if not os.path.exists(device):
        others = ", ".join(port.device for port in find_ports()) or "none"
        raise UserError(f"{device}: there is no such port; there are: {others}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise UserError(f"{device}: no permission: `make doctor` tells which group to join")
    return device
