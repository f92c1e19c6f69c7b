"""What a fleet has that can't be made again: its authority, its passwords, its keys, who was flashed.

It lies beside the description, as `fleet.private` for `fleet.toml`: not in `build/`, which
`make clean` removes. Whoever loses it has to flash every device anew.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.fleet import mosquitto_config, secret_files
from tools.fleet.certificate_authority import CertificateAndKey, CertificateAuthority


class FleetStore:
    """The folder; what is not in it yet is made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError where it can't be read."""
        self.folder = secret_files.make_folder(folder)
        self.authority = CertificateAuthority(folder)
        self._passwords: dict[str, str] = self._read("passwords.json")
        self._state: dict[str, dict[str, Any]] = self._read("state.json")

    def _read(self, name: str) -> Any:
        path = self.folder / name
        if not path.exists():
            return {}
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: can't be read: bring it back from a copy") from error
        return found if isinstance(found, dict) else {}

    def get_passwords(self, users: list[str]) -> dict[str, str]:
        """The password of each; one that left the fleet keeps his here, for he may come back."""
        for user in users:
            self._passwords.setdefault(user, mosquitto_config.generate_password())
        secret_files.write_file(
            self.folder / "passwords.json", json.dumps(self._passwords, indent=1, sort_keys=True)
        )
        return {user: self._passwords[user] for user in users}

    def client_certificate(self, name: str, years: int) -> CertificateAndKey:
        """A device's certificate and key."""
        return self._pair("clients", name, lambda: self.authority.issue_client(name, years))

    def server_certificate(self, host: str) -> CertificateAndKey:
        """The broker's."""
        return self._pair("servers", host, lambda: self.authority.issue_server(host))

    def _pair(self, folder: str, name: str, make: Callable[[], CertificateAndKey]) -> CertificateAndKey:
        keys = secret_files.make_folder(self.folder / folder)
        file = name.replace(":", "_")  # an address of IPv6
        cert, key = keys / f"{file}.pem", keys / f"{file}.key"
        if cert.exists() and key.exists():
            found = CertificateAndKey(cert.read_bytes(), key.read_bytes())
            if self.authority.is_valid(found, name):
                return found
        made = make()
        secret_files.write_file(key, made.key)
        secret_files.write_file(cert, made.cert)
        return made

    # ---- who was flashed

    def flashed_at(self, name: str) -> str | None:
        """When a device was flashed, None where it was not."""
        return self._state.get(name, {}).get("flashed")

    def flashed_digest(self, name: str) -> str | None:
        """The hash of what a device was flashed with."""
        return self._state.get(name, {}).get("outfit")

    def record_flashed(self, name: str, digest: str, port: str) -> None:
        """Note it at once: the next thing may be a cable that is pulled."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._state[name] = {"flashed": now, "outfit": digest, "port": port}
        secret_files.write_file(self.folder / "state.json", json.dumps(self._state, indent=1, sort_keys=True))
