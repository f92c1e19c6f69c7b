"""Files of each device of a fleet: its `config.json` and its TLS certificates."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.board import definition
from tools.board.definition import Board
from tools.device_config.config import CONFIG_FILE, default_config, validate
from tools.errors import UserError
from tools.fleet import description
from tools.fleet.description import Device, Fleet
from tools.fleet.store import FleetStore
from tools.text_files import read_bytes


@dataclass
class DeviceFiles:
    """The files of one device. `config` is the content of `config.json`."""

    name: str
    target: Board
    config: dict[str, Any]
    certificates: dict[str, bytes] = field(default_factory=dict)  # file name: PEM
    heap: int | None = None  # heap of the board in bytes, None for that of the stock MicroPython
    warning: str | None = None  # of the config check: the memory is nearly full

    @property
    def files(self) -> dict[str, bytes]:
        """The content of each file, by file name."""
        text = json.dumps(self.config, indent=1, ensure_ascii=False) + "\n"
        return {CONFIG_FILE: text.encode(), **self.certificates}

    @property
    def digest(self) -> str:
        """Hash of all files, to recognize a device that was flashed with other files."""
        digest = hashlib.sha256()
        for name, data in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + data)
        return digest.hexdigest()[:16]


def build_device_files(fleet: Fleet, store: FleetStore, file: Path) -> list[DeviceFiles]:
    """Build the files of all devices that are not revoked, and validate them with the device's own code.

    `file` is the path of the fleet description. Raises UserError.
    """
    devices = [one for one in description.expand_devices(fleet, str(file)) if not store.is_revoked(one.name)]
    passwords = store.get_passwords([device.name for device in devices]) if fleet.credentials.password else {}
    ca = read_ca(fleet, store, file)
    checked = []
    for device in devices:
        try:
            one = _device_files(fleet, device, store, passwords.get(device.name), ca)
            one.warning = validate(one.config, one.certificates, one.target, one.heap)
        except UserError as problem:
            raise UserError(
                f"{file}: {device.name}: {str(problem).removeprefix('config.json: ')}"
            ) from problem
        checked.append(one)
    return checked


def _device_files(
    fleet: Fleet, device: Device, store: FleetStore, password: str | None, ca: bytes | None
) -> DeviceFiles:
    target = definition.load_board(device.board)
    broker: dict[str, Any] = {"host": fleet.broker.host}
    if fleet.broker.port:
        broker["port"] = fleet.broker.port
    if fleet.broker.keep_alive:
        broker["keep_alive"] = fleet.broker.keep_alive
    if password:
        broker.update(user=device.name, password=password)
    certificates: dict[str, bytes] = {}
    if ca:
        broker["tls"] = {"ca": "ca.pem"}
        certificates["ca.pem"] = ca
        if fleet.credentials.certificate:
            pair = store.client_certificate(device.name, fleet.credentials.years)
            broker["tls"].update(cert="cert.pem", key="key.pem")
            certificates.update({"cert.pem": pair.cert, "key.pem": pair.key})
    config: dict[str, Any] = {"device": device.name, "prefix": fleet.prefix, "broker": broker}
    if device.wifi and target.has_wifi:
        config["wifi"] = device.wifi.model_dump()
    default = default_config(target)
    for field_name in ("sensors", "actuators"):
        own = getattr(device, field_name)
        config[field_name] = (
            default[field_name] if own is None else [entry.model_dump(exclude_none=True) for entry in own]
        )
    config["health"] = device.health
    for field_name in ("ntp", "watchdog", "reset_after"):
        if getattr(fleet, field_name) is not None:
            config[field_name] = getattr(fleet, field_name)
    return DeviceFiles(device.name, target, config, certificates, device.heap)


def read_ca(fleet: Fleet, store: FleetStore, file: Path) -> bytes | None:
    """Return the CA certificate (PEM) of the broker: `broker.ca` or the fleet's own. None without TLS.

    `file` is the path of the fleet description. Raises UserError if the file cannot be read.
    """
    if not fleet.broker.tls:
        return None
    if fleet.broker.ca is None:
        return store.authority.certificate_pem
    try:
        return read_bytes(file.parent / fleet.broker.ca)
    except UserError as error:
        raise UserError(f"{file}: broker.ca: {error}. Expected a PEM file") from error
