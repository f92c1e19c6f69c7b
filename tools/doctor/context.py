"""Shared state of the checks: the selected board, port and broker, and the answers of the device."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tools.board import mpremote, serial_ports
from tools.board.definition import Board, list_boards, load_board
from tools.board.serial_console import SerialConsole
from tools.device_config.config import CERTIFICATE_FIELDS, parse_config
from tools.device_config.device import DeviceConfig, read_config
from tools.errors import UserError
from tools.operator_login import BrokerAccess, resolve_access
from tools.text_files import read_bytes

NO_CONFIG = "not on the board"
_PRINT_INFO = """
import gc, json, sys, time
i = sys.implementation
print(json.dumps({
    "version": list(i.version)[:3], "mpy": getattr(i, "_mpy", 0) & 255,
    "machine": getattr(i, "_machine", ""), "build": getattr(i, "_build", ""),
    "heap": gc.mem_free() + gc.mem_alloc(), "year": time.localtime()[0], "time": list(time.gmtime()[:6]),
}))
"""


@dataclass(frozen=True)
class Endpoint:
    """The broker to check, from the command line or from the config of a device."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: bytes | None = None  # CA certificate, PEM or DER
    cert: bytes | None = None  # client certificate, PEM or DER
    key: bytes | None = field(default=None, repr=False)  # private key of the client certificate
    from_device: bool = False  # whether it comes from the config of a device

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass
class CheckContext:
    """The options of the caller, and results that several checks share. Each result is determined once."""

    selected_board: Board | None = None
    port: str | None = None
    broker_url: str | None = None
    certificates: dict[str, Path] = field(default_factory=dict)  # files by option: ca, cert, key
    drive: Path | None = None
    password_file: Path | None = None
    fleet: Path | None = None  # folder with the login of an operator
    broker_failure: str | None = None  # set by a check of the broker; the later ones are then skipped

    @cached_property
    def candidate_ports(self) -> list[serial_ports.SerialPort]:
        """The serial ports that may belong to the board."""
        if self.port:
            known = [one for one in serial_ports.find_ports() if one.device == self.port]
            return known or [serial_ports.SerialPort(self.port, "", None)]
        found = serial_ports.find_ports()
        return serial_ports.filter_by_board(found, self.selected_board) if self.selected_board else found

    @cached_property
    def usable_port(self) -> str | None:
        """The port of the board. None if there is no port, more than one, or no permission to open it."""
        if len(self.candidate_ports) != 1:
            return None
        try:
            return serial_ports.choose_port(self.candidate_ports[0].device, None)
        except UserError:
            return None

    @cached_property
    def micropython_info(self) -> dict[str, Any] | UserError | None:
        """The version and build of MicroPython, and the time of the board's clock. None if there is no port.

        Reading it stops the program that runs on the board.
        """
        if not self.usable_port:
            return None
        try:
            with SerialConsole(self.usable_port) as console:
                if not console.wait_for_prompt(5):
                    return UserError("MicroPython does not answer")
            output = mpremote.run(self.usable_port, "resume", "exec", _PRINT_INFO, timeout=20)
            return parse_config(output.strip().splitlines()[-1], self.usable_port)
        except (UserError, IndexError) as error:
            return UserError(str(error).removeprefix(f"{self.usable_port}: "))

    @cached_property
    def board(self) -> Board | None:
        """The selected board, otherwise the board for which its MicroPython was built."""
        if self.selected_board or not isinstance(self.micropython_info, dict):
            return self.selected_board
        for board in map(load_board, list_boards()):
            if board.firmware and board.firmware.name == self.micropython_info.get("build"):
                return board
        return None

    @cached_property
    def config(self) -> DeviceConfig | UserError | None:
        """The config of the device and the files that it names. None if no device answers."""
        if not self.usable_port or not isinstance(self.micropython_info, dict):
            return None
        try:
            return read_config(self.usable_port) or UserError(NO_CONFIG)
        except UserError as error:
            return UserError(str(error).removeprefix(f"{self.usable_port}: "))

    @cached_property
    def endpoint(self) -> Endpoint | None:
        """The broker of the command line or of the fleet, otherwise that in the config of the device.

        Raises UserError if the URL is malformed or a certificate cannot be read.
        """
        if self.broker_url or self.fleet:
            access = resolve_access(
                self.broker_url,
                self.fleet,
                self.password_file,
                self.certificates.get("ca"),
                self.certificates.get("cert"),
                self.certificates.get("key"),
            )
            return _endpoint_of_access(access)
        if isinstance(self.config, DeviceConfig):
            return _endpoint_of_device(self.config)
        return None

    def restart_device(self) -> None:
        """Restart the program of the device if a check has stopped it. Raises UserError."""
        was_stopped = isinstance(self.__dict__.get("micropython_info"), dict)
        if was_stopped and self.usable_port:
            with SerialConsole(self.usable_port) as console:
                console.soft_reset()


def _endpoint_of_access(access: BrokerAccess) -> Endpoint:
    address = access.address
    files: dict[str, bytes] = {}
    for name, path in (("ca", address.ca), ("cert", address.cert), ("key", address.key)):
        if path is None:
            continue
        try:
            files[name] = read_bytes(path)
        except UserError as error:
            raise UserError(f"--{name} {error}") from error
    endpoint = Endpoint(address.host, address.port, address.tls, address.user, address.password)
    return replace(endpoint, ca=files.get("ca"), cert=files.get("cert"), key=files.get("key"))


def _endpoint_of_device(device: DeviceConfig) -> Endpoint | None:
    broker = device.config.get("broker")
    if not isinstance(broker, dict) or not isinstance(broker.get("host"), str):
        return None
    tls = broker.get("tls") if isinstance(broker.get("tls"), dict) else None
    port = broker.get("port")
    files = {name: device.files.get(str((tls or {}).get(name))) for name in CERTIFICATE_FIELDS}
    return Endpoint(
        broker["host"],
        port if isinstance(port, int) else 8883 if tls else 1883,
        tls is not None,
        _string_or_none(broker.get("user")),
        _string_or_none(broker.get("password")),
        ca=files["ca"],
        cert=files["cert"],
        key=files["key"],
        from_device=True,
    )


def _string_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
