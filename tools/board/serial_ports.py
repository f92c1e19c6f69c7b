"""Finds serial ports on USB, and chooses the port of a board."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import serial
from rich.prompt import Prompt
from serial.tools import list_ports

from tools import deadlines
from tools.board.definition import Board
from tools.console import Console
from tools.errors import UserError

RASPBERRY_PI = 0x2E8A  # USB vendor id
# USB vendor ids of ESP32 boards: Espressif, and the makers of their USB-to-UART chips
_ESP32_VENDORS = (0x303A, 0x10C4, 0x1A86, 0x0403, 0x067B)


@dataclass(frozen=True)
class SerialPort:
    """Serial port on USB."""

    device: str  # such as /dev/ttyUSB0 or COM3
    description: str
    vid: int | None  # USB vendor id


def find_ports() -> list[SerialPort]:
    """Return the serial ports on USB. The built-in UARTs of the computer are left out."""
    return [
        SerialPort(port.device, port.description or "", port.vid)
        for port in sorted(list_ports.comports())
        if port.vid is not None
    ]


def filter_by_board(ports: list[SerialPort], board: Board) -> list[SerialPort]:
    """Return the ports whose USB vendor fits the board, or all ports if no vendor fits."""
    vendors = (RASPBERRY_PI,) if board.chip.startswith("rp2") else _ESP32_VENDORS
    return [port for port in ports if port.vid in vendors] or ports


def choose_port(
    port: str | None,
    board: Board | None,
    console: Console | None = None,
    other_ports: tuple[str, ...] = (),
) -> str:
    """Return the port to use: `port` if given, otherwise the only one, otherwise the answer of the user.

    `other_ports` are not considered. Raises UserError if there is no port, no permission, or no terminal to
    ask in.
    """
    if port:
        return _checked(port)
    found = [one for one in find_ports() if one.device not in other_ports]
    if board:
        found = filter_by_board(found, board)
    if not found:
        raise UserError(
            "No board found. Plug it in with a USB cable that carries data. To find the cause: make doctor"
        )
    if len(found) == 1:
        return _checked(found[0].device)
    listed = ", ".join(f"{one.device} ({one.description})" for one in found)
    if not sys.stdin.isatty():
        raise UserError(f"Several boards found: {listed}. Choose one, for example PORT={found[0].device}")
    (console or Console()).print(listed)
    with deadlines.current().paused():
        return Prompt.ask("Port", choices=[one.device for one in found])


def _checked(device: str) -> str:
    if "://" in device:
        try:
            serial.serial_for_url(device, do_not_open=True)
        except ValueError as error:
            raise UserError(f"{device}: not a serial port: {error}") from error
        return device
    if os.name == "nt":
        return device
    if not os.path.exists(device):
        others = ", ".join(port.device for port in find_ports()) or "none"
        raise UserError(f"{device}: no such port. Available ports: {others}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise UserError(f"{device}: no permission to open the port. To see how to get it: make doctor")
    return device
