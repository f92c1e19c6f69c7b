"""Writes the generated files of a fleet: device configs and certificates, mosquitto and dashboard files.

Only files whose content has changed are written. A file in the folder lists what was written: nothing else is
ever deleted, and a folder with files of somebody else is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tools.console import Console
from tools.errors import UserError
from tools.file_names import is_bare_name
from tools.fleet import mosquitto_config, secret_files
from tools.fleet.description import Fleet
from tools.fleet.device_files import DeviceFiles, build_device_files, read_ca
from tools.fleet.store import FleetStore
from tools.progress import progress_bar

_WRITTEN = ".umqtt5-fleet.json"  # the names of the written files, by device
_BROKER = "broker"  # folder name
_DASHBOARD = "dashboard"  # folder name
_INSTALLED = "/etc/mosquitto/fleet"  # folder of the broker's files on the broker's computer


@dataclass
class GeneratedFiles:
    """Result of `generate_files`: what it did with each device and with the broker's files."""

    new: list[str] = field(default_factory=list)  # devices
    changed: dict[str, list[str]] = field(default_factory=dict)  # device: names of its changed files
    unchanged: list[str] = field(default_factory=list)  # devices
    removed: list[str] = field(default_factory=list)  # devices that are no longer in the description
    broker_files: list[str] = field(default_factory=list)  # names of the broker's new and changed files


def secrets_folder(file: Path) -> Path:
    """Return the folder with the secrets of a description: `fleet.private` for `fleet.toml`."""
    return file.with_suffix(".private")


def generate_files(fleet: Fleet, file: Path, out: Path, console: Console) -> GeneratedFiles:
    """Write the files of all devices, of the broker and of the dashboard into `out`.

    `file` is the path of the description. Raises UserError, also if `out` has files of somebody else.
    """
    before = _read_written(out)
    with console.status("keys, certificates, configs"):
        store = FleetStore(secrets_folder(file))
        wanted = build_device_files(fleet, store, file)
    _print_warnings(wanted, console)
    secret_files.make_folder(out)
    generated = GeneratedFiles()
    written = {one.name: list(one.files) for one in wanted}
    # an interrupted run leaves files of both lists
    both = {name: sorted({*before.get(name, []), *written.get(name, [])}) for name in {**before, **written}}
    secret_files.write_file(out / _WRITTEN, json.dumps(both, indent=1, sort_keys=True))
    with progress_bar(console) as progress:
        for one in progress.track(wanted, description="writing"):
            _write_device(out / one.name, one, before.get(one.name, []), generated)
    for name in sorted(set(before) - set(written)):
        console.print(f"removing {out / name}: it is no longer in {file}")
        _remove_device(out / name, before[name], console)
        generated.removed.append(name)
    secret_files.write_file(out / _WRITTEN, json.dumps(written, indent=1, sort_keys=True))
    generated.broker_files = _write_broker_and_dashboard(fleet, store, wanted, file, out)
    return generated


def _print_warnings(wanted: list[DeviceFiles], console: Console) -> None:
    """Print each warning of the config check once, with the number of devices that it concerns."""
    names: dict[str, list[str]] = {}
    for one in wanted:
        if one.warning:
            names.setdefault(one.warning, []).append(one.name)
    for warning, devices in names.items():
        more = f" and {len(devices) - 1} more" if len(devices) > 1 else ""
        console.print(f"{devices[0]}{more}: {warning}", highlight=False, markup=False, style="yellow")


def _read_written(out: Path) -> dict[str, list[str]]:
    """Return the names of the files that earlier runs have written into `out`, by device.

    Raises UserError if `out` is not a folder of this command.
    """
    try:
        text = (out / _WRITTEN).read_text(encoding="utf-8")
    except FileNotFoundError:
        if out.is_dir() and not any(out.iterdir()):
            return {}
        if not out.exists():
            return {}
        raise UserError(
            f"{out} exists, and `fleet generate` has not made it. Nothing was changed. "
            "Choose an empty or a new folder with --out"
        ) from None
    except OSError as error:
        raise UserError(f"{out}: {error.strerror}. Choose a folder with --out") from error
    try:
        found = json.loads(text)
        good = all(is_bare_name(name) and all(map(is_bare_name, files)) for name, files in found.items())
    except (ValueError, AttributeError, TypeError):
        good = False
    if not good:
        raise UserError(f"{out / _WRITTEN} is damaged. Delete {out}: all its files can be generated again")
    return dict(found)


def _write_device(folder: Path, one: DeviceFiles, before: list[str], generated: GeneratedFiles) -> None:
    is_new = not folder.is_dir()
    secret_files.make_folder(folder)
    changed = [name for name, data in one.files.items() if secret_files.write_file(folder / name, data)]
    for name in before:
        if name not in one.files:
            (folder / name).unlink(missing_ok=True)
            changed.append(name)
    if is_new:
        generated.new.append(one.name)
    elif changed:
        generated.changed[one.name] = changed
    else:
        generated.unchanged.append(one.name)


def _remove_device(folder: Path, files: list[str], console: Console) -> None:
    """Delete the files of a device that is no longer in the description. Its secrets are kept."""
    for name in (*files, ".gitignore"):
        (folder / name).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        console.print(f"{folder} is kept, because it has other files")


def _write_broker_and_dashboard(
    fleet: Fleet, store: FleetStore, wanted: list[DeviceFiles], file: Path, out: Path
) -> list[str]:
    """Write the files of the broker and the dashboard; returns the names of the broker's changed files."""
    folder, dashboard = secret_files.make_folder(out / _BROKER), secret_files.make_folder(out / _DASHBOARD)
    changed = write_broker_files(fleet, store, [one.name for one in wanted], folder, fleet.broker.host)
    text = "\n".join(
        (
            f"# For mosquitto 2. Copy this folder to {_INSTALLED}, run `chown -R mosquitto {_INSTALLED}`,",
            "# and copy this file to /etc/mosquitto/conf.d/fleet.conf.",
            f"listener {fleet.broker.effective_port}",
            f"allow_anonymous {str(not requires_login(fleet)).lower()}",
            *mosquitto_config.render_config_lines(fleet.credentials, fleet.broker.tls, _INSTALLED),
        )
    )
    if secret_files.write_file(folder / "mosquitto.conf", text + "\n"):
        changed.append("mosquitto.conf")
    for name, data in dashboard_files(fleet, store, read_ca(fleet, store, file)).items():
        secret_files.write_file(dashboard / name, data)
    return changed


def requires_login(fleet: Fleet) -> bool:
    """Return whether clients must authenticate, with a password or a certificate."""
    return fleet.credentials.password or fleet.credentials.certificate


def write_broker_files(
    fleet: Fleet, store: FleetStore, names: list[str], folder: Path, host: str
) -> list[str]:
    """Write the password file, ACL and certificates of a broker into `folder`.

    `names` are the devices. `host` is the name or address in the broker's certificate. With `broker.ca`
    the broker keeps its own certificate, so none is written. Returns the names of the files that are new
    or have changed.
    """
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
    """Return the files of a dashboard for the whole fleet: `dashboard.json` and certificates.

    `ca` is the CA certificate of the broker (PEM), None without TLS.
    """
    connection: dict[str, object] = {"host": fleet.broker.host, "port": fleet.broker.effective_port}
    files: dict[str, bytes] = {}
    if fleet.credentials.password:
        connection.update(
            user=mosquitto_config.DASHBOARD_USER,
            password=store.get_passwords([mosquitto_config.DASHBOARD_USER])[mosquitto_config.DASHBOARD_USER],
        )
    if fleet.credentials.certificate:
        pair = store.client_certificate(mosquitto_config.DASHBOARD_USER, fleet.credentials.years)
        files.update({"cert.pem": pair.cert, "key.pem": pair.key})
    if ca:
        files["ca.pem"] = ca
    return {"dashboard.json": (json.dumps(connection, indent=1) + "\n").encode(), **files}
