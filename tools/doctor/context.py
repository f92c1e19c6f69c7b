"""What is examined: a board, a port, a broker, as far as they are named or found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tools import provision
from tools.board import definition as board
from tools.board import mpremote, serial_ports
from tools.board.definition import Board
from tools.board.serial_console import Serial
from tools.broker import parse
from tools.device_config import config as settings
from tools.errors import Problem
from tools.provision import Provision

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
    of_device: bool = False  # out of a device's config

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass
class Case:
    """What the caller has named, and what is found out once and asked for by several checks."""

    target: Board | None = None
    port: str | None = None
    broker: str | None = None
    certificates: dict[str, Path] = field(default_factory=dict)  # ca, cert, key
    drive: Path | None = None
    # why the way to the broker ends where it does: what is behind it is not asked
    cut: str | None = None

    @cached_property
    def there(self) -> list[serial_ports.Port]:
        """The ports that may have the board."""
        if self.port:
            known = [one for one in serial_ports.found() if one.device == self.port]
            return known or [serial_ports.Port(self.port, "", None)]
        found = serial_ports.found()
        return serial_ports.fitting(found, self.target) if self.target else found

    @cached_property
    def usable(self) -> str | None:
        """The one port that can be opened, None where there is none, or several."""
        try:
            return serial_ports.choose(self.there[0].device, None) if len(self.there) == 1 else None
        except Problem:
            return None

    @cached_property
    def facts(self) -> dict[str, Any] | Problem | None:
        """What MicroPython tells of itself; None where there is no port."""
        if not self.usable:
            return None
        try:
            with Serial(self.usable) as serial:
                if not serial.answers(5):
                    return Problem("answers no MicroPython")
            said = mpremote.run(self.usable, "resume", "exec", _FACTS, timeout=20)
            return settings.parse(said.strip().splitlines()[-1], self.usable)
        except (Problem, IndexError) as problem:
            return Problem(str(problem).removeprefix(f"{self.usable}: "))

    @cached_property
    def board(self) -> Board | None:
        """The board that was named, or that MicroPython's build is for."""
        if self.target or not isinstance(self.facts, dict):
            return self.target
        for one in map(board.load, board.names()):
            if one.firmware and one.firmware.name == self.facts.get("build"):
                return one
        return None

    @cached_property
    def config(self) -> Provision | Problem | None:
        """The config of the device with the files that it names; None where there is no device."""
        if not self.usable or not isinstance(self.facts, dict):
            return None
        try:
            text = mpremote.run(self.usable, "resume", "fs", "cat", f":{settings.CONFIG}", timeout=20)
        except Problem:
            return Problem(NO_CONFIG)
        try:
            settings.parse(text, settings.CONFIG)
        except Problem as problem:
            return problem
        return provision.present(self.usable)

    @cached_property
    def endpoint(self) -> Endpoint | None:
        """The broker that was named, else the device's. Raises Problem."""
        if self.broker:
            return _named(self.broker, self.certificates)
        if isinstance(self.config, Provision):
            return _of_device(self.config)
        return None

    def leave(self) -> None:
        """The device goes on with what it did before it was asked. Raises Problem."""
        if "facts" in self.__dict__ and isinstance(self.facts, dict) and self.usable:
            with Serial(self.usable) as serial:
                serial.restart()


def _named(url: str, certificates: dict[str, Path]) -> Endpoint:
    address = parse(url)
    files = {}
    for name, path in certificates.items():
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            raise Problem(f"--{name} {path}: {error.strerror}") from error
    made = Endpoint(address.host, address.port, address.tls, address.user, address.password)
    return replace(made, ca=files.get("ca"), cert=files.get("cert"), key=files.get("key"))


def _of_device(found: Provision) -> Endpoint | None:
    where = found.config.get("broker")
    if not isinstance(where, dict) or not isinstance(where.get("host"), str):
        return None
    tls = where.get("tls") if isinstance(where.get("tls"), dict) else None
    port = where.get("port")
    files = {name: found.files.get(str((tls or {}).get(name))) for name in settings.CERTIFICATES}
    return Endpoint(
        where["host"],
        port if isinstance(port, int) else 8883 if tls else 1883,
        tls is not None,
        _text(where.get("user")),
        _text(where.get("password")),
        ca=files["ca"],
        cert=files["cert"],
        key=files["key"],
        of_device=True,
    )


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) else None
