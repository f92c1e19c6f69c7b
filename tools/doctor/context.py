"""What is examined: a board, a port, a broker, as far as they are named or found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tools import provision
from tools.board import mpremote, serial_ports
from tools.board.definition import Board, list_boards, load_board
from tools.board.serial_console import SerialConsole
from tools.broker import parse_url
from tools.device_config.config import CERTIFICATE_FIELDS, CONFIG_FILE, parse_config
from tools.errors import UserError
from tools.provision import DeviceConfig

NO_CONFIG = "none on the board"
_FACTS = """
import json, sys, time
i = sys.implementation
print(json.dumps({
    "version": list(i.version)[:3], "mpy": getattr(i, "_mpy", 0) & 255,
    "machine": getattr(i, "_machine", ""), "build": getattr(i, "_build", ""),
    "year": time.localtime()[0], "time": list(time.gmtime()[:6]),
}))
"""


@dataclass(frozen=True)
class Endpoint:
    """A broker, as the command line or a device's config names it. Certificates are PEM or DER."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: bytes | None = None
    cert: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    from_device: bool = False  # out of a device's config

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass
class CheckContext:
    """What the caller has named, and what is found out once and asked for by several checks."""

    selected_board: Board | None = None
    port: str | None = None
    broker_url: str | None = None
    certificates: dict[str, Path] = field(default_factory=dict)  # ca, cert, key
    drive: Path | None = None
    # why the way to the broker ends where it does: what is behind it is not asked
    broker_failure: str | None = None

    @cached_property
    def candidate_ports(self) -> list[serial_ports.SerialPort]:
        """The ports that may have the board."""
        if self.port:
            known = [one for one in serial_ports.find_ports() if one.device == self.port]
            return known or [serial_ports.SerialPort(self.port, "", None)]
        found = serial_ports.find_ports()
        return serial_ports.filter_by_board(found, self.selected_board) if self.selected_board else found

    @cached_property
    def usable_port(self) -> str | None:
        """The one port that can be opened, None where there is none, or several."""
        try:
            return (
                serial_ports.choose_port(self.candidate_ports[0].device, None)
                if len(self.candidate_ports) == 1
                else None
            )
        except UserError:
            return None

    @cached_property
    def micropython_info(self) -> dict[str, Any] | UserError | None:
        """What MicroPython tells of itself; None where there is no port."""
        if not self.usable_port:
            return None
        try:
            with SerialConsole(self.usable_port) as serial:
                if not serial.wait_for_prompt(5):
                    return UserError("answers no MicroPython")
            said = mpremote.run(self.usable_port, "resume", "exec", _FACTS, timeout=20)
            return parse_config(said.strip().splitlines()[-1], self.usable_port)
        except (UserError, IndexError) as problem:
            return UserError(str(problem).removeprefix(f"{self.usable_port}: "))

    @cached_property
    def board(self) -> Board | None:
        """The board that was named, or that MicroPython's build is for."""
        if self.selected_board or not isinstance(self.micropython_info, dict):
            return self.selected_board
        for one in map(load_board, list_boards()):
            if one.firmware and one.firmware.name == self.micropython_info.get("build"):
                return one
        return None

    @cached_property
    def config(self) -> DeviceConfig | UserError | None:
        """The config of the device with the files that it names; None where there is no device."""
        if not self.usable_port or not isinstance(self.micropython_info, dict):
            return None
        try:
            text = mpremote.run(self.usable_port, "resume", "fs", "cat", f":{CONFIG_FILE}", timeout=20)
        except UserError:
            return UserError(NO_CONFIG)
        try:
            parse_config(text, CONFIG_FILE)
        except UserError as problem:
            return problem
        return provision.read_config(self.usable_port)

    @cached_property
    def endpoint(self) -> Endpoint | None:
        """The broker that was named, else the device's. Raises UserError."""
        if self.broker_url:
            return _named(self.broker_url, self.certificates)
        if isinstance(self.config, DeviceConfig):
            return _of_device(self.config)
        return None

    def restart_device(self) -> None:
        """The device goes on with what it did before it was asked. Raises UserError."""
        if "facts" in self.__dict__ and isinstance(self.micropython_info, dict) and self.usable_port:
            with SerialConsole(self.usable_port) as serial:
                serial.soft_reset()


def _named(url: str, certificates: dict[str, Path]) -> Endpoint:
    address = parse_url(url)
    files = {}
    for name, path in certificates.items():
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            raise UserError(f"--{name} {path}: {error.strerror}") from error
    made = Endpoint(address.host, address.port, address.tls, address.user, address.password)
    return replace(made, ca=files.get("ca"), cert=files.get("cert"), key=files.get("key"))


def _of_device(found: DeviceConfig) -> Endpoint | None:
    where = found.config.get("broker")
    if not isinstance(where, dict) or not isinstance(where.get("host"), str):
        return None
    tls = where.get("tls") if isinstance(where.get("tls"), dict) else None
    port = where.get("port")
    files = {name: found.files.get(str((tls or {}).get(name))) for name in CERTIFICATE_FIELDS}
    return Endpoint(
        where["host"],
        port if isinstance(port, int) else 8883 if tls else 1883,
        tls is not None,
        _text(where.get("user")),
        _text(where.get("password")),
        ca=files["ca"],
        cert=files["cert"],
        key=files["key"],
        from_device=True,
    )


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) else None
