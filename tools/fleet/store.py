"""Secrets and state of a fleet: its CA, passwords, keys and certificates, and which devices were flashed.

They are in a folder beside the description, `fleet.private` for `fleet.toml`. They are not in `build/`,
because `make clean` deletes that. If the folder is lost, every device must be reflashed.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.fleet import mosquitto_config, secret_files
from tools.fleet.certificate_authority import CertificateAndKey, CertificateAuthority
from tools.text_files import parse_json, read_text

_NAMES = {"ca.pem", "ca.key", "passwords.json", "state.json", "clients", "servers"}


class FleetStore:
    """The secrets folder of a fleet. Passwords and certificates are created on first use."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, or create it with a new CA.

        Raises UserError if a file cannot be read, if the key of the CA is missing, or if the folder is not
        that of a fleet.
        """
        _check_folder(folder)
        self.folder = secret_files.make_folder(folder)
        self.authority = CertificateAuthority(folder)
        self._passwords: dict[str, str] = self._read("passwords.json")
        self._state: dict[str, dict[str, Any]] = self._read("state.json")

    def _read(self, name: str) -> Any:
        path = self.folder / name
        if not path.exists():
            return {}
        try:
            found = parse_json(read_text(path), str(path))
            if not isinstance(found, dict):
                raise UserError("not an object")
        except UserError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise UserError(f"{path} cannot be read: {reason}. Restore it from a backup") from error
        return found

    def get_passwords(self, users: list[str]) -> dict[str, str]:
        """Return the password of each user; creates missing ones.

        Passwords of devices that left the fleet are kept, in case the device returns.
        """
        for user in users:
            self._passwords.setdefault(user, mosquitto_config.generate_password())
        secret_files.write_file(
            self.folder / "passwords.json", json.dumps(self._passwords, indent=1, sort_keys=True)
        )
        return {user: self._passwords[user] for user in users}

    def client_certificate(self, name: str, years: int) -> CertificateAndKey:
        """Return the certificate and key of a device or dashboard; issues them if missing or expiring."""
        return self._load_or_issue("clients", name, lambda: self.authority.issue_client(name, years))

    def server_certificate(self, host: str) -> CertificateAndKey:
        """Return the certificate and key of a broker; issues them if missing or expiring."""
        return self._load_or_issue("servers", host, lambda: self.authority.issue_server(host))

    def _load_or_issue(
        self, folder: str, name: str, issue: Callable[[], CertificateAndKey]
    ) -> CertificateAndKey:
        keys = secret_files.make_folder(self.folder / folder)
        file = re.sub(r"[^A-Za-z0-9._-]|^\.", "_", name)  # `name` may be an IPv6 address
        cert, key = keys / f"{file}.pem", keys / f"{file}.key"
        if cert.exists() and key.exists():
            stored = CertificateAndKey(cert.read_bytes(), key.read_bytes())
            if self.authority.is_valid(stored, name):
                return stored
        issued = issue()
        secret_files.write_file(key, issued.key)
        secret_files.write_file(cert, issued.cert)
        return issued

    # ---- flashed devices

    def flashed_at(self, name: str) -> str | None:
        """Return the time (ISO 8601, UTC) at which a device was flashed, None if it was not."""
        return self._state.get(name, {}).get("flashed")

    def flashed_digest(self, name: str) -> str | None:
        """Return `DeviceFiles.digest` of the files that a device was flashed with, None if it was not."""
        return self._state.get(name, {}).get("outfit")

    def record_flashed(self, name: str, digest: str, port: str) -> None:
        """Record that a device has just been flashed. Written at once, because the run may be interrupted."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._state[name] = {"flashed": now, "outfit": digest, "port": port}
        secret_files.write_file(self.folder / "state.json", json.dumps(self._state, indent=1, sort_keys=True))


def _check_folder(folder: Path) -> None:
    """Raise UserError if `folder` cannot become, or is no longer, the secrets folder of a fleet."""
    try:
        found = {path.name for path in folder.iterdir()} - {".gitignore"}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error
    if found and not found & _NAMES:
        raise UserError(f"{folder} exists, and it is not the secrets folder of a fleet. Rename it")
    if found - {"ca.pem"} and "ca.key" not in found:  # a run that was interrupted may leave ca.pem alone
        raise UserError(
            f"{folder}/ca.key is missing. Restore it from a backup: with a new CA every device must be "
            f"flashed again. To begin with a new CA nevertheless, rename {folder}"
        )
