"""Checks when certificates expire: the one for this connection, and those of the fleet in this folder."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from tools.doctor.context import CheckContext
from tools.doctor.finding import ERROR, OK, WARNING, Finding
from tools.errors import UserError

_EXPIRES_SOON = 30  # days
_DESCRIPTION = Path("fleet.toml")


def check_client_certificate(context: CheckContext) -> Iterator[Finding]:
    """Report when the client certificate expires."""
    endpoint = context.endpoint
    if endpoint is None or not endpoint.tls or not endpoint.cert:
        return
    subject = "client certificate"
    try:
        is_pem = b"-----BEGIN" in endpoint.cert
        load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
        expires = load(endpoint.cert).not_valid_after_utc
    except ValueError as error:
        yield Finding(ERROR, subject, f"cannot be read: {error}", "use the certificate of `make fleet`")
        return
    days = (expires - datetime.datetime.now(datetime.timezone.utc)).days
    remedy = "make fleet ARGS=renew, then install the new one: docs/fleet.md"
    if days < 0:
        yield Finding(ERROR, subject, f"expired on {expires:%Y-%m-%d}", remedy)
    elif days < _EXPIRES_SOON:
        yield Finding(WARNING, subject, f"expires on {expires:%Y-%m-%d}, in {days} days", remedy)
    else:
        yield Finding(OK, subject, f"valid until {expires:%Y-%m-%d}, {days} days")


def check_fleet(context: CheckContext) -> Iterator[Finding]:
    """Report what expires soon in the fleet whose `fleet.toml` is in this folder."""
    folder = _DESCRIPTION.with_suffix(".private")
    if not _DESCRIPTION.exists() or not folder.is_dir():
        return
    from tools.fleet import description, expiry  # needs packages that other checks do not need

    try:
        found = expiry.find_expiries(description.load_fleet(_DESCRIPTION), folder, _DESCRIPTION)
    except UserError as error:
        yield Finding(WARNING, "fleet", str(error), "make fleet ARGS=list")
        return
    due = [one for one in found if one.is_due()]
    for one in due:
        yield Finding(WARNING, "fleet", one.describe(), one.remedy)
    if found and not due:
        yield Finding(OK, "fleet", f"{len(found)} certificates and lists, none expires soon")
