"""The ends of a fleet's certificates, and warnings before they are reached. Only reads the secrets folder."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from tools.errors import UserError
from tools.fleet.certificate_records import CertificateRecords
from tools.fleet.description import Fleet, expand_devices
from tools.fleet.store import CLIENTS, OPERATOR_CA, OPERATORS, SERVERS, certificate_path
from tools.text_files import parse_json, read_bytes, read_text

WARNING_DAYS = 30
# Every device must be visited with a cable before its CA file expires.
_CA_WARNING_DAYS = 730
_RENEW = 'make fleet ARGS="renew %s"'
_RENEW_CA = 'make fleet ARGS="renew --ca"'


@dataclass(frozen=True)
class Expiry:
    """The end of a certificate, a CA or a revocation list."""

    name: str  # a device or an operator, or a description of what expires
    expires: datetime.datetime
    remedy: str
    warning_days: int = WARNING_DAYS

    def days_left(self, now: datetime.datetime | None = None) -> int:
        """Return the number of whole days until the end, negative after it."""
        return days_until(self.expires, now)

    def is_due(self, now: datetime.datetime | None = None) -> bool:
        """Return whether it is time to warn."""
        return self.days_left(now) < self.warning_days

    def describe(self, now: datetime.datetime | None = None) -> str:
        """Return `NAME expires in 12 days, on 2026-12-10`, or that it has expired."""
        days = self.days_left(now)
        when = f"expires in {days} days, on" if days >= 0 else "has expired on"
        return f"{self.name} {when} {self.expires:%Y-%m-%d}"


def days_until(expires: datetime.datetime, now: datetime.datetime | None = None) -> int:
    """Return the number of whole days until `expires`, negative after it."""
    return (expires - (now or datetime.datetime.now(datetime.timezone.utc))).days


def find_expiries(fleet: Fleet, folder: Path, file: Path) -> list[Expiry]:
    """Return the end of everything in the secrets folder `folder` that the fleet uses, without revoked names.

    `file` is the path of the description. Raises UserError if the records cannot be read.
    """
    found: list[Expiry] = []

    def add(name: str, expires: datetime.datetime | None, remedy: str, days: int = WARNING_DAYS) -> None:
        if expires is not None:
            found.append(Expiry(name, expires, remedy, days))

    if not fleet.broker.tls:
        return found
    copy = "then copy the files of the broker"
    add("the CA of devices and broker", certificate_end(folder / "ca.pem"), _RENEW_CA, _CA_WARNING_DAYS)
    if fleet.broker.ca is None:
        end = certificate_end(certificate_path(folder, SERVERS, fleet.broker.host))
        add("the certificate of the broker", end, f"{_RENEW % 'broker'}, {copy}")
    if not fleet.credentials.certificate:
        return found
    operator_ca = folder / OPERATOR_CA
    add("the CA of the operators", certificate_end(operator_ca / "ca.pem"), _RENEW_CA, _CA_WARNING_DAYS)
    for path in (folder / "crl.pem", operator_ca / "crl.pem"):
        add(f"the revocation list {path}", _list_end(path), f"{_RENEW_CA}, {copy}")
    revoked = CertificateRecords(folder).revoked_at
    on_devices = _read_flashed(folder)
    for name in (device.name for device in expand_devices(fleet, str(file))):
        stored = certificate_end(certificate_path(folder, CLIENTS, name))
        on_device = on_devices.get(name)
        if revoked(name) or stored is None:
            continue
        flash = f'make fleet ARGS="flash {name}"'
        if on_device and on_device < stored:
            add(name, on_device, flash)
        else:
            add(name, stored, f"{_RENEW % name}, then {flash}")
    for name in fleet.operators:
        if not revoked(name):
            end = certificate_end(certificate_path(folder, OPERATORS, name))
            add(name, end, f"{_RENEW % name}, then copy its folder to the computer of the operator")
    return found


def format_warnings(expiries: Iterable[Expiry]) -> list[str]:
    """Return a line for everything that expires soon, with the remedy."""
    return [f"{one.describe()}. Run: {one.remedy}" for one in expiries if one.is_due()]


def certificate_end(path: Path) -> datetime.datetime | None:
    """Return the end of a certificate in a PEM file (UTC). None if there is none, or if it is damaged."""
    try:
        return x509.load_pem_x509_certificate(read_bytes(path)).not_valid_after_utc
    except (UserError, ValueError):
        return None


def _list_end(path: Path) -> datetime.datetime | None:
    try:
        return x509.load_pem_x509_crl(read_bytes(path)).next_update_utc
    except (UserError, ValueError):
        return None


def _read_flashed(folder: Path) -> dict[str, datetime.datetime]:
    """Return the end of the certificate that each device was flashed with."""
    path = folder / "state.json"
    if not path.exists():
        return {}
    try:
        found = parse_json(read_text(path), str(path))
        ends = {name: entry["expires"] for name, entry in found.items() if "expires" in entry}
        return {name: datetime.datetime.fromisoformat(text) for name, text in ends.items()}
    except (UserError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read. Restore it from a backup") from error
