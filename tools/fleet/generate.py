"""Writes what a fleet needs, and only what is not there as it should be."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from tools.fleet import mosquitto_config, secret_files
from tools.fleet.description import Fleet
from tools.fleet.device_files import Outfit, ca_of, outfits
from tools.fleet.store import Store
from tools.progress import bar

_BROKER = "broker"
_DESK = "desk"


@dataclass
class Made:
    """What a run of `make` has done."""

    new: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)  # files by device
    same: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    broker: list[str] = field(default_factory=list)  # files that changed


def private_folder(file: Path) -> Path:
    """Where a description's secrets are."""
    return file.with_suffix(".private")


def make(fleet: Fleet, file: Path, out: Path, console: Console) -> Made:
    """Write each device's files, and the broker's, into `out`. Raises Problem."""
    with console.status("keys, certificates, configs"):
        store = Store(private_folder(file))
        wanted = outfits(fleet, store, file)
    secret_files.folder(out)
    made = Made()
    with bar(console) as progress:
        for one in progress.track(wanted, description="writing"):
            _put(out / one.name, one, made)
    _remove_others(out, {one.name for one in wanted}, made)
    made.broker = _broker(fleet, store, wanted, file, out)
    return made


def _put(folder: Path, one: Outfit, made: Made) -> None:
    is_new = not folder.is_dir()
    secret_files.folder(folder)
    changed = [name for name, data in one.files.items() if secret_files.write(folder / name, data)]
    for path in folder.glob("*.pem"):
        if path.name not in one.files:
            path.unlink()
            changed.append(path.name)
    if is_new:
        made.new.append(one.name)
    elif changed:
        made.changed[one.name] = changed
    else:
        made.same.append(one.name)


def _remove_others(out: Path, names: set[str], made: Made) -> None:
    """A device that is no longer in the description; its keys stay in the private folder."""
    for folder in sorted(out.iterdir()):
        if (folder / "config.json").is_file() and folder.name not in names:
            shutil.rmtree(folder)
            made.gone.append(folder.name)


def _broker(fleet: Fleet, store: Store, wanted: list[Outfit], file: Path, out: Path) -> list[str]:
    """The broker's side, and the desk's. Returns what has changed."""
    folder, desk = secret_files.folder(out / _BROKER), secret_files.folder(out / _DESK)
    changed = guard_files(fleet, store, [one.name for one in wanted], folder, fleet.broker.host)
    text = "\n".join(
        (
            "# for mosquitto 2: copy this folder to /etc/mosquitto/fleet, `chown -R mosquitto` it,",
            "# and this file to /etc/mosquitto/conf.d/fleet.conf",
            f"listener {fleet.broker.usual_port}",
            f"allow_anonymous {str(not is_guarded(fleet)).lower()}",
            *mosquitto_config.lines(fleet.credentials, fleet.broker.tls, "/etc/mosquitto/fleet"),
        )
    )
    if secret_files.write(folder / "mosquitto.conf", text + "\n"):
        changed.append("mosquitto.conf")
    for name, data in desk_files(fleet, store, ca_of(fleet, store, file)).items():
        secret_files.write(desk / name, data)
    return changed


def is_guarded(fleet: Fleet) -> bool:
    """Whether the broker knows who is who."""
    return fleet.credentials.password or fleet.credentials.certificate


def guard_files(fleet: Fleet, store: Store, names: list[str], folder: Path, host: str) -> list[str]:
    """Password file, ACL and certificates of a broker at `host`; returns those that have changed."""
    files: dict[str, bytes | str] = {}
    if fleet.credentials.password:
        path = folder / "passwords"
        before = path.read_text() if path.exists() else ""
        files["passwords"] = mosquitto_config.password_file(
            store.passwords([*names, mosquitto_config.DESK]), before
        )
    if is_guarded(fleet):
        files["acl"] = mosquitto_config.acl_file(fleet.prefix)
    if fleet.broker.tls:
        files["ca.pem"] = store.authority.pem
        if fleet.broker.ca is None:
            pair = store.server(host)
            files["server.pem"], files["server.key"] = pair.cert, pair.key
    return [name for name, data in files.items() if secret_files.write(folder / name, data)]


def desk_files(fleet: Fleet, store: Store, ca: bytes | None) -> dict[str, bytes]:
    """What a dashboard needs to see the whole fleet."""
    where: dict[str, object] = {"host": fleet.broker.host, "port": fleet.broker.usual_port}
    files: dict[str, bytes] = {}
    if fleet.credentials.password:
        where.update(
            user=mosquitto_config.DESK,
            password=store.passwords([mosquitto_config.DESK])[mosquitto_config.DESK],
        )
    if fleet.credentials.certificate:
        pair = store.client(mosquitto_config.DESK, fleet.credentials.years)
        files.update({"cert.pem": pair.cert, "key.pem": pair.key})
    if ca:
        files["ca.pem"] = ca
    return {"desk.json": (json.dumps(where, indent=1) + "\n").encode(), **files}
