"""Writes the generated files of a fleet: device configs and certificates, mosquitto and operator files.

Only files whose content has changed are written. A file in the folder lists what was written: nothing else is
ever deleted, and a folder with files of somebody else is refused.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from tools.console import Console
from tools.errors import UserError
from tools.file_names import is_bare_name
from tools.fleet import mosquitto_config, secret_files
from tools.fleet.description import Fleet
from tools.fleet.device_files import DeviceFiles, build_device_files, read_ca
from tools.fleet.store import CLIENTS, OPERATORS, FleetStore
from tools.progress import progress_bar
from tools.text_files import parse_json, read_text

_WRITTEN = ".umqtt5-fleet.json"  # the names of the written files, by device
_BROKER = "broker"  # folder name
_INSTALLED = "/etc/mosquitto/fleet"  # folder of the broker's files on the broker's computer


@dataclass
class GeneratedFiles:
    """Result of `generate_files`: what it did with each device and with the broker's files."""

    new: list[str] = field(default_factory=list)  # devices
    changed: dict[str, list[str]] = field(default_factory=dict)  # device: names of its changed files
    unchanged: list[str] = field(default_factory=list)  # devices
    removed: list[str] = field(default_factory=list)  # devices and operators that are gone or revoked
    broker_files: list[str] = field(default_factory=list)  # names of the broker's new and changed files


def secrets_folder(file: Path) -> Path:
    """Return the folder with the secrets of a description: `fleet.private` for `fleet.toml`."""
    return file.with_suffix(".private")


def generate_files(fleet: Fleet, file: Path, out: Path, console: Console) -> GeneratedFiles:
    """Write the files of all devices, of the broker and of the operators into `out`.

    `file` is the path of the description. Raises UserError, also if `out` has files of somebody else.
    """
    before = _read_written(out)
    with console.status("keys, certificates, configs"):
        store = FleetStore(secrets_folder(file))
        wanted = build_device_files(fleet, store, file)
    _print_warnings(wanted, console)
    secret_files.make_folder(out, may_be_link=True)
    generated = GeneratedFiles()
    operators = _operator_files(fleet, store, file)
    written = {one.name: list(one.files) for one in wanted}
    written.update({name: list(files) for name, files in operators.items()})
    # an interrupted run leaves files of both lists
    both = {name: sorted({*before.get(name, []), *written.get(name, [])}) for name in {**before, **written}}
    secret_files.write_file(out / _WRITTEN, json.dumps(both, indent=1, sort_keys=True))
    with progress_bar(console) as progress:
        for one in progress.track(wanted, description="writing"):
            _write_device(out / one.name, one, before.get(one.name, []), generated)
    for name, files in operators.items():
        _write_folder(out / name, files, before.get(name, []))
    for name in sorted(set(before) - set(written)):
        reason = "it is revoked" if store.is_revoked(name) else f"it is no longer in {file}"
        console.print(f"removing {out / name}: {reason}")
        _remove_device(out / name, before[name], console)
        generated.removed.append(name)
    secret_files.write_file(out / _WRITTEN, json.dumps(written, indent=1, sort_keys=True))
    generated.broker_files = _write_broker(fleet, store, wanted, out)
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
    if not os.path.lexists(out / _WRITTEN):
        try:
            if not os.path.lexists(out) or not any(out.iterdir()):
                return {}
        except OSError as error:
            raise UserError(f"{out}: {error.strerror}. Choose a folder with --out") from error
        raise UserError(
            f"{out} exists, and `fleet generate` has not made it. Nothing was changed. "
            "Choose an empty or a new folder with --out"
        )
    try:
        found = parse_json(read_text(out / _WRITTEN), _WRITTEN)
        good = all(is_bare_name(name) and all(map(is_bare_name, files)) for name, files in found.items())
    except (UserError, AttributeError, TypeError):
        good = False
    if not good:
        raise UserError(f"{out / _WRITTEN} is damaged. Delete {out}: all its files can be generated again")
    return dict(found)


def _write_device(folder: Path, one: DeviceFiles, before: list[str], generated: GeneratedFiles) -> None:
    is_new = not folder.is_dir()
    changed = _write_folder(folder, one.files, before)
    if is_new:
        generated.new.append(one.name)
    elif changed:
        generated.changed[one.name] = changed
    else:
        generated.unchanged.append(one.name)


def _write_folder(folder: Path, files: dict[str, bytes], before: list[str]) -> list[str]:
    """Write files into a folder, and delete those of `before` that are left. Returns what changed."""
    secret_files.make_folder(folder)
    changed = [name for name, data in files.items() if secret_files.write_file(folder / name, data)]
    for name in before:
        if name not in files:
            (folder / name).unlink(missing_ok=True)
            changed.append(name)
    return changed


def _remove_device(folder: Path, files: list[str], console: Console) -> None:
    """Delete the files of a device or operator that is revoked or gone. Its secrets are kept."""
    if folder.is_symlink():
        console.print(f"{folder} is kept, because it is a symbolic link")
        return
    for name in (*files, ".gitignore"):
        (folder / name).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        console.print(f"{folder} is kept, because it has other files")


def _write_broker(fleet: Fleet, store: FleetStore, wanted: list[DeviceFiles], out: Path) -> list[str]:
    """Write the files of the broker; returns the names of those that are new or have changed."""
    folder = secret_files.make_folder(out / _BROKER)
    changed = write_broker_files(fleet, store, [one.name for one in wanted], folder, fleet.broker.host)
    login, tls = fleet.credentials, fleet.broker.tls
    has_login = mosquitto_config.requires_login(login)
    operator_port = str(fleet.broker.effective_operator_port)
    text = "\n".join(
        (
            f"# For mosquitto 2. Copy this folder to {_INSTALLED}, run `chown -R mosquitto {_INSTALLED}`,",
            "# and copy this file to /etc/mosquitto/conf.d/fleet.conf.",
            *(mosquitto_config.GLOBAL_LINES if has_login else ()),
            f"listener {fleet.broker.effective_port}",
            f"allow_anonymous {str(not has_login).lower()}",
            *mosquitto_config.render_config_lines(login, tls, _INSTALLED),
            *mosquitto_config.render_operator_lines(login, tls, _INSTALLED, operator_port),
        )
    )
    if secret_files.write_file(folder / "mosquitto.conf", text + "\n"):
        changed.append("mosquitto.conf")
    return changed


def write_broker_files(
    fleet: Fleet, store: FleetStore, names: list[str], folder: Path, host: str
) -> list[str]:
    """Write the password files, ACLs, certificates and revocation lists of a broker into `folder`.

    `names` are the devices. `host` is the name or address in the broker's certificate. With `broker.ca`
    the broker keeps its own certificate, so none is written. Returns the names of the files that are new
    or have changed.
    """
    files: dict[str, bytes | str] = {}
    operators = admitted_operators(fleet, store)
    if fleet.credentials.password:
        for name, users in (("passwords", names), ("operator-passwords", operators)):
            path = folder / name
            before = read_text(path) if path.is_file() else ""
            files[name] = mosquitto_config.render_password_file(store.get_passwords(users), before)
    if mosquitto_config.requires_login(fleet.credentials):
        files["acl"] = mosquitto_config.render_acl_file(fleet.prefix)
        files["operator-acl"] = mosquitto_config.render_operator_acl_file(fleet.prefix, operators)
    if fleet.broker.tls:
        files["ca.pem"] = store.authority.certificate_pem
        if fleet.broker.ca is None:
            pair = store.server_certificate(host)
            files["server.pem"], files["server.key"] = pair.cert, pair.key
    if fleet.credentials.certificate:
        files["operator-ca.pem"] = store.operator_authority.certificate_pem
        files["crl.pem"] = store.revocation_list(CLIENTS)
        files["operator-crl.pem"] = store.revocation_list(OPERATORS)
    return [name for name, data in files.items() if secret_files.write_file(folder / name, data)]


def admitted_operators(fleet: Fleet, store: FleetStore) -> list[str]:
    """Return the operators that are not revoked."""
    return [name for name in fleet.operators if not store.is_revoked(name)]


def _operator_files(fleet: Fleet, store: FleetStore, file: Path) -> dict[str, dict[str, bytes]]:
    """Return the files of each operator: `dashboard.json` with address and login, and certificates."""
    has_login = mosquitto_config.requires_login(fleet.credentials)
    address = {
        "host": fleet.broker.host,
        "port": fleet.broker.effective_operator_port if has_login else fleet.broker.effective_port,
        "tls": fleet.broker.tls,
        "prefix": fleet.prefix,
    }
    ca = read_ca(fleet, store, file)
    found = {}
    for name in admitted_operators(fleet, store):
        login = (
            {"user": name, "password": store.get_passwords([name])[name]}
            if fleet.credentials.password
            else {}
        )
        files: dict[str, bytes] = {
            "dashboard.json": (json.dumps({**address, **login}, indent=1) + "\n").encode()
        }
        if login:
            files["password"] = login["password"].encode() + b"\n"  # for --password-file
        if fleet.credentials.certificate:
            pair = store.operator_certificate(name, fleet.credentials.years)
            files.update({"cert.pem": pair.cert, "key.pem": pair.key})
        if ca:
            files["ca.pem"] = ca
        found[name] = files
    return found
