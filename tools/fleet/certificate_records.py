"""Records of a fleet's certificates: which were issued for which name, and which are revoked.

All records are in one file, `certificates.json`, so that a change is written completely or not at all. A
certificate is recorded before it is written, so that no certificate can exist that a revocation would miss.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cryptography import x509

from tools.errors import UserError
from tools.fleet import secret_files
from tools.text_files import parse_json, read_text

RECORDS_FILE = "certificates.json"
LOCK_FILE = ".lock"
_LOCK_TIMEOUT = 60  # seconds
_LOCK_INTERVAL = 0.05  # seconds


class CertificateRecords:
    """The records in the secrets folder `folder`. Raises UserError if the file cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORDS_FILE
        self._lock = folder / LOCK_FILE
        # by serial number in hexadecimal: name, issuer, expires, and revoked if it is
        self._certificates: dict[str, dict[str, str]] = {}
        self._revoked: dict[str, str] = {}  # time (ISO 8601, UTC) of the revocation, by name
        self._read()

    def _read(self) -> None:
        if not self._path.exists():
            return
        try:
            found = parse_json(read_text(self._path), str(self._path))
            certificates, revoked = found["certificates"], found["revoked"]
            for serial, one in certificates.items():
                int(serial, 16)
                if not all(isinstance(one[field], str) for field in ("name", "issuer", "expires")):
                    raise ValueError
            if not all(isinstance(value, str) for value in revoked.values()):
                raise ValueError
        except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self._path} cannot be read. Restore it from a backup: it has the revoked certificates"
            ) from error
        self._certificates, self._revoked = certificates, revoked

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Change the records: read them again first, because another command may have changed them."""
        with exclusive(self._lock):
            self._read()
            yield
            content: dict[str, Any] = {"certificates": self._certificates, "revoked": self._revoked}
            text = json.dumps(content, indent=1, sort_keys=True)
            secret_files.write_file(self._path, text, durable=True)

    def add(self, issuer: str, certificates: Iterable[bytes]) -> None:
        """Record certificates (PEM) of `issuer`, a name of ours. A recorded one stays as it is."""
        parsed = [x509.load_pem_x509_certificate(pem) for pem in certificates]
        if all(f"{one.serial_number:x}" in self._certificates for one in parsed):
            return
        with self._change():
            for one in parsed:
                name = one.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
                entry = {"name": str(name), "issuer": issuer, "expires": one.not_valid_after_utc.isoformat()}
                if name in self._revoked:  # only `readmit` lets a revoked name in again
                    entry["revoked"] = _now()
                self._certificates.setdefault(f"{one.serial_number:x}", entry)

    def revoke(self, names: Iterable[str]) -> None:
        """Revoke these names, and every certificate that was issued for them and has not been revoked yet."""
        now = _now()
        with self._change():
            for name in names:
                self._revoked.setdefault(name, now)
                for one in self._certificates.values():
                    if one["name"] == name:
                        one.setdefault("revoked", now)

    def readmit(self, name: str, issuer: str, certificate: bytes | None) -> None:
        """Admit a revoked name again with this new certificate (PEM). The others stay revoked."""
        with self._change():
            self._revoked.pop(name, None)
            if certificate:
                parsed = x509.load_pem_x509_certificate(certificate)
                entry = {"name": name, "issuer": issuer, "expires": parsed.not_valid_after_utc.isoformat()}
                self._certificates[f"{parsed.serial_number:x}"] = entry

    def revoked_at(self, name: str) -> str | None:
        """Return the time (ISO 8601, UTC) at which a name was revoked, None if it is not revoked."""
        return self._revoked.get(name)

    def revoked_serials(self, issuer: str) -> list[int]:
        """Return the serial numbers of all revoked certificates of `issuer`."""
        entries = self._certificates.items()
        return [int(serial, 16) for serial, one in entries if one["issuer"] == issuer and "revoked" in one]

    @property
    def names(self) -> set[str]:
        """All names for which a certificate was issued, or that were revoked."""
        return {one["name"] for one in self._certificates.values()} | set(self._revoked)


def _open_lock(path: str, flags: int) -> int:
    """Open the lock file. A symbolic link is not followed, and a pipe is not waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


@contextlib.contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Run the block while no other process runs one with the same lock file.

    Waits for the other process. Raises UserError if it still has the lock after 60 s, or if the lock file is
    something else.
    """
    ends = time.monotonic() + _LOCK_TIMEOUT
    try:
        file = open(lock, "ab", opener=_open_lock)
    except OSError as error:
        raise UserError(f"{lock}: cannot open the lock file: {error.strerror}. Remove it") from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise UserError(
                        f"{lock}: another command uses this folder. End it, then try again"
                    ) from None
                time.sleep(_LOCK_INTERVAL)
        yield


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
