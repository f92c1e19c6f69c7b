"""Secrets and state of a fleet: its CAs, passwords, keys and certificates, and which devices were flashed.

They are in a folder beside the description, `fleet.private` for `fleet.toml`. They are not in `build/`,
because `make clean` deletes that. If the folder is lost, every device must be reflashed.

There are two CAs: one for devices and broker, and one for operators. The broker has a listener for each, so a
device cannot connect where operators do.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509

from tools.errors import UserError
from tools.fleet import mosquitto_config, secret_files
from tools.fleet.certificate_authority import CertificateAndKey, CertificateAuthority
from tools.fleet.certificate_records import LOCK_FILE, RECORDS_FILE, CertificateRecords, exclusive
from tools.text_files import parse_json, read_bytes, read_text

# kinds of certificates: the folder of each, which also names the issuer in the records
CLIENTS, OPERATORS, SERVERS = "clients", "operators", "servers"
OPERATOR_CA = "operator-ca"  # folder
_LIST = "crl.pem"
_NAMES = {
    "ca.pem",
    "ca.key",
    "passwords.json",
    "state.json",
    _LIST,
    RECORDS_FILE,
    CLIENTS,
    OPERATORS,
    SERVERS,
    OPERATOR_CA,
}


class FleetStore:
    """The secrets folder of a fleet. Passwords and certificates are created on first use."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, or create it with new CAs.

        Raises UserError if a file cannot be read, if the key of a CA is missing, or if the folder is not
        that of a fleet.
        """
        _check_folder(folder)
        self.folder = secret_files.make_folder(folder, may_be_link=True)
        self._passwords: dict[str, str] = self._read("passwords.json")
        self._state: dict[str, dict[str, Any]] = self._read("state.json")
        self.records = CertificateRecords(folder)
        self.authority = CertificateAuthority(folder)
        secret_files.make_folder(folder / OPERATOR_CA)
        self.operator_authority = CertificateAuthority(folder / OPERATOR_CA, "umqtt5 fleet operators")
        self._authorities = {
            CLIENTS: self.authority,
            OPERATORS: self.operator_authority,
            SERVERS: self.authority,
        }
        for kind in (CLIENTS, OPERATORS):  # certificates of a version that kept no records
            self.records.add(kind, _read_certificates(folder / kind))

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

    # ---- passwords

    def get_passwords(self, users: list[str]) -> dict[str, str]:
        """Return the password of each user; creates missing ones.

        Passwords of devices that left the fleet are kept, in case the device returns.
        """
        if not set(users) <= set(self._passwords):
            self._change_passwords(users, replace=False)
        return {user: self._passwords[user] for user in users}

    def _change_passwords(self, users: list[str], replace: bool) -> None:
        with exclusive(self.folder / LOCK_FILE):
            self._passwords = self._read("passwords.json")
            for user in users:
                if replace or user not in self._passwords:
                    self._passwords[user] = mosquitto_config.generate_password()
            text = json.dumps(self._passwords, indent=1, sort_keys=True)
            secret_files.write_file(self.folder / "passwords.json", text, durable=True)

    # ---- certificates

    def client_certificate(self, name: str, years: int) -> CertificateAndKey:
        """Return the certificate and key of a device; issues them if missing or expiring.

        Raises UserError if the device is revoked.
        """
        return self._load_or_issue(CLIENTS, name, years)

    def operator_certificate(self, name: str, years: int) -> CertificateAndKey:
        """Return the certificate and key of an operator; issues them if missing or expiring.

        Raises UserError if the operator is revoked.
        """
        return self._load_or_issue(OPERATORS, name, years)

    def server_certificate(self, host: str) -> CertificateAndKey:
        """Return the certificate and key of a broker; issues them if missing or expiring."""
        return self._load_or_issue(SERVERS, host, 10)

    def _load_or_issue(self, kind: str, name: str, years: int) -> CertificateAndKey:
        if kind != SERVERS and self.records.revoked_at(name):
            raise UserError(f'{name} is revoked. To admit it again: make fleet ARGS="renew {name}"')
        stored = self._stored(kind, name)
        if stored.cert and self._authorities[kind].is_valid(stored, name):
            return stored
        return self._write(kind, name, self._issue(kind, name, years, stored.key))

    def renew(self, kind: str, name: str, years: int, new_key: bool = False) -> None:
        """Issue a new certificate, for the old key unless `new_key`. The old certificate remains valid.

        A name that was revoked is admitted again, with a new key and a new password. Its old certificates
        stay revoked.
        """
        is_revoked = kind != SERVERS and bool(self.records.revoked_at(name))
        key = None if new_key or is_revoked else self._stored(kind, name).key
        issued = self._write(kind, name, self._issue(kind, name, years, key))
        if is_revoked:
            self.readmit(name, kind, issued.cert)

    def readmit(self, name: str, kind: str = CLIENTS, cert: bytes | None = None) -> None:
        """Admit a revoked name again, with a new password and this new certificate."""
        if name in self._passwords:
            self._change_passwords([name], replace=True)
        self.records.readmit(
            name, kind, cert
        )  # the last step: after an interruption the name is still revoked

    def _issue(self, kind: str, name: str, years: int, key: bytes | None) -> CertificateAndKey:
        authority = self._authorities[kind]
        issue = authority.issue_server if kind == SERVERS else authority.issue_client
        try:
            return issue(name, years, key)
        except ValueError:  # the stored key is damaged
            return issue(name, years, None)

    def _write(self, kind: str, name: str, issued: CertificateAndKey) -> CertificateAndKey:
        if kind != SERVERS:
            self.records.add(kind, [issued.cert])
        cert, key = self._paths(kind, name)
        secret_files.make_folder(cert.parent)
        secret_files.write_file(key, issued.key)
        secret_files.write_file(cert, issued.cert)
        return issued

    def _stored(self, kind: str, name: str) -> CertificateAndKey:
        """Return the stored certificate and key. A missing one is empty."""
        cert, key = (read_bytes(path) if path.exists() else b"" for path in self._paths(kind, name))
        return CertificateAndKey(cert, key)

    def _paths(self, kind: str, name: str) -> tuple[Path, Path]:
        cert = certificate_path(self.folder, kind, name)
        return cert, cert.with_name(f"{cert.name.removesuffix('.pem')}.key")

    def expires(self, kind: str, name: str) -> datetime.datetime | None:
        """Return the end of the stored certificate (UTC), None if there is none."""
        cert = self._stored(kind, name).cert
        try:
            return x509.load_pem_x509_certificate(cert).not_valid_after_utc if cert else None
        except ValueError:
            return None

    # ---- revocation

    def revoke(self, names: Iterable[str]) -> None:
        """Revoke devices and operators: all their certificates, and their passwords at the broker."""
        self.records.revoke(names)

    @property
    def names(self) -> set[str]:
        """All devices and operators that have, or had, a certificate or a password."""
        return self.records.names | set(self._passwords)

    def is_revoked(self, name: str) -> bool:
        """Return whether a device or an operator is revoked."""
        return self.records.revoked_at(name) is not None

    def revocation_list(self, kind: str) -> bytes:
        """Return the certificate revocation list (PEM) for the certificates of this kind."""
        authority = self._authorities[kind]
        path = (self.folder / OPERATOR_CA if kind == OPERATORS else self.folder) / _LIST
        previous = read_bytes(path) if path.exists() else b""
        current = authority.revocation_list(self.records.revoked_serials(kind), previous)
        secret_files.write_file(path, current, durable=True)
        return current

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
        entry = {"flashed": now, "outfit": digest, "port": port}
        expires = self.expires(CLIENTS, name)
        if expires:
            entry["expires"] = expires.isoformat()
        with exclusive(self.folder / LOCK_FILE):
            self._state = {**self._read("state.json"), name: entry}
            text = json.dumps(self._state, indent=1, sort_keys=True)
            secret_files.write_file(self.folder / "state.json", text, durable=True)


def certificate_path(folder: Path, kind: str, name: str) -> Path:
    """Return the file of a certificate in the secrets folder `folder`."""
    file = re.sub(r"[^A-Za-z0-9._-]|^\.", "_", name)  # `name` may be an IPv6 address
    return folder / kind / f"{file}.pem"


def _read_certificates(folder: Path) -> list[bytes]:
    """Return the certificates (PEM) in a folder. A damaged one is left out: it is issued again."""
    found = []
    for path in sorted(folder.glob("*.pem")):
        try:
            x509.load_pem_x509_certificate(data := read_bytes(path))
            found.append(data)
        except (UserError, ValueError):
            continue
    return found


def _check_folder(folder: Path) -> None:
    """Raise UserError if `folder` cannot become, or is no longer, the secrets folder of a fleet."""
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error
    # an interrupted run may leave a temporary file, or ca.pem alone
    found = {name for name in names if name.removesuffix(".new") not in _NAMES or not name.endswith(".new")}
    found -= {".gitignore", LOCK_FILE}
    if found and not found & _NAMES:
        raise UserError(f"{folder} exists, and it is not the secrets folder of a fleet. Rename it")
    if found - {"ca.pem"} and "ca.key" not in found:
        raise UserError(
            f"{folder}/ca.key is missing. Restore it from a backup: with a new CA every device must be "
            f"flashed again. To begin with a new CA nevertheless, rename {folder}"
        )
    operators = folder / OPERATOR_CA
    if (folder / OPERATORS).exists() and not (operators / "ca.key").exists():
        raise UserError(
            f"{operators}/ca.key is missing. Restore it from a backup. To begin with a new CA for the "
            f"operators, rename {operators} and {folder / OPERATORS}: each operator then needs new files"
        )
