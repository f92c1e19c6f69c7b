"""Writes what a fleet needs, and only what is not there as it should be."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from tools.fleet import mosquitto_config, secret_files
from tools.fleet.description import Fleet
from tools.fleet.device_files import DeviceFiles, build_device_files, read_ca
from tools.fleet.store import FleetStore
from tools.progress import progress_bar

_BROKER = "broker"
_DASHBOARD = "dashboard"


@dataclass
class GeneratedFiles:
    """What a run of `make` has done."""

    new: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)  # files by device
    same: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    broker_files: list[str] = field(default_factory=list)  # files that changed


def secrets_folder(file: Path) -> Path:
    """Where a description's secrets are."""
    return file.with_suffix(".private")


def generate_files(fleet: Fleet, file: Path, out: Path, console: Console) -> GeneratedFiles:
    """Write each device's files, and the broker's, into `out`. Raises UserError."""
    with console.status("keys, certificates, configs"):
        store = FleetStore(secrets_folder(file))
        wanted = build_device_files(fleet, store, file)
    secret_files.make_folder(out)
    made = GeneratedFiles()
    with progress_bar(console) as progress:
        for one in progress.track(wanted, description="writing"):
            _put(out / one.name, one, made)
    _remove_others(out, {one.name for one in wanted}, made)
    made.broker_files = _broker(fleet, store, wanted, file, out)
    return made


def _put(folder: Path, one: DeviceFiles, made: GeneratedFiles) -> None:
    is_new = not folder.is_dir()
    secret_files.make_folder(folder)
    changed = [name for name, data in one.files.items() if secret_files.write_file(folder / name, data)]
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


def _remove_others(out: Path, names: set[str], made: GeneratedFiles) -> None:
    """A device that is no longer in the description; its keys stay in the private folder."""
    for folder in sorted(out.iterdir()):
        if (folder / "config.json").is_file() and folder.name not in names:
            shutil.rmtree(folder)
            made.removed.append(folder.name)


def _broker(fleet: Fleet, store: FleetStore, wanted: list[DeviceFiles], file: Path, out: Path) -> list[str]:
    """The broker's side, and the desk's. Returns what has changed."""
    folder, dashboard = secret_files.make_folder(out / _BROKER), secret_files.make_folder(out / _DASHBOARD)
    changed = write_broker_files(fleet, store, [one.name for one in wanted], folder, fleet.broker.host)
    text = "\n".join(
        (
            "# for mosquitto 2: copy this folder to /etc/mosquitto/fleet, `chown -R mosquitto` it,",
            "# and this file to /etc/mosquitto/conf.d/fleet.conf",
            f"listener {fleet.broker.effective_port}",
            f"allow_anonymous {str(not requires_login(fleet)).lower()}",
            *mosquitto_config.render_config_lines(
                fleet.credentials, fleet.broker.tls, "/etc/mosquitto/fleet"
            ),
        )
    )
    if secret_files.write_file(folder / "mosquitto.conf", text + "\n"):
        changed.append("mosquitto.conf")
    for name, data in dashboard_files(fleet, store, read_ca(fleet, store, file)).items():
        secret_files.write_file(dashboard / name, data)
    return changed


def requires_login(fleet: Fleet) -> bool:
    """Whether the broker knows who is who."""
    return fleet.credentials.password or fleet.credentials.certificate


def write_broker_files(
    fleet: Fleet, store: FleetStore, names: list[str], folder: Path, host: str
) -> list[str]:
    """Password file, ACL and certificates of a broker at `host`; returns those that have changed."""
    files: dict[str, bytes | str] = {}
    if fleet.credentials.password:
        path = folder / "passwords"
        before = path.read_text() if path.exists() else ""
        files["passwords"] = mosquitto_config.render_password_file(
            store.get_passwords([*names, mosquitto_config.DASHBOARD_USER]), before
        )
    if requires_login(fleet):
        files["acl"] = mosquitto_config.render_acl_file(fleet.prefix)
    if fleet.broker.tls:
        files["ca.pem"] = store.authority.certificate_pem
        if fleet.broker.ca is None:
            pair = store.server_certificate(host)
            files["server.pem"], files["server.key"] = pair.cert, pair.key
    return [name for name, data in files.items() if secret_files.write_file(folder / name, data)]


def dashboard_files(fleet: Fleet, store: FleetStore, ca: bytes | None) -> dict[str, bytes]:
    """What a dashboard needs to see the whole fleet."""
    where: dict[str, object] = {"host": fleet.broker.host, "port": fleet.broker.effective_port}
    files: dict[str, bytes] = {}
    if fleet.credentials.password:
        where.update(
            user=mosquitto_config.DASHBOARD_USER,
            password=store.get_passwords([mosquitto_config.DASHBOARD_USER])[mosquitto_config.DASHBOARD_USER],
        )
    if fleet.credentials.certificate:
        pair = store.client_certificate(mosquitto_config.DASHBOARD_USER, fleet.credentials.years)
        files.update({"cert.pem": pair.cert, "key.pem": pair.key})
    if ca:
        files["ca.pem"] = ca
    return {"dashboard.json": (json.dumps(where, indent=1) + "\n").encode(), **files}
