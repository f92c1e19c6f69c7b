"""The login of an operator at the broker of a fleet: address, user, password and certificates.

`make fleet ARGS=generate` writes a folder for each operator, with `dashboard.json`, `ca.pem`, `cert.pem` and
`key.pem`. The commands monitor, update and doctor find the folder of the operator `dashboard` by themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools.broker import Address, parse_url
from tools.credentials import resolve_broker, resolve_password, warn_if_readable
from tools.errors import UserError
from tools.paths import BUILD
from tools.text_files import parse_json, read_text

LOGIN_FILE = "dashboard.json"
_DEFAULT_FOLDER = BUILD / "fleet"
_DEFAULT_OPERATOR = "dashboard"
_HAS_PORT = re.compile(r":\d+/?$")


@dataclass(frozen=True)
class BrokerAccess:
    """A broker and the login there. `prefix` is the first part of the topics, None if it is unknown."""

    address: Address
    prefix: str | None = None
    folder: Path | None = None  # folder of the operator, None if the login is from the command line


def find_login(fleet: Path | None) -> BrokerAccess | None:
    """Return the login in the folder `fleet`, None if there is none.

    `fleet` is the folder of an operator, or the folder that has it. If `fleet` is None, it is the folder that
    `make fleet` writes. Raises UserError if `fleet` has no login or several, or if the files are damaged.
    """
    folder = _find_folder(fleet)
    return read_login(folder) if folder else None


def resolve_access(
    url: str | None,
    fleet: Path | None = None,
    password_file: Path | None = None,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    default: str = "mqtt://localhost",
) -> BrokerAccess:
    """Return the broker that `url` names, otherwise that of the fleet, otherwise `default`.

    If `url` is the broker of the fleet, missing user, password and certificates are those of the operator.
    The options `ca`, `cert` and `key` take precedence. Raises UserError, also if `url` is not the broker of
    `fleet`.
    """
    if key and not cert:
        raise UserError(f"--key {key} needs the certificate of this key: --cert FILE")
    login = _matching_login(url, fleet)
    if login is None:
        return BrokerAccess(resolve_broker(url or default, password_file, ca, cert, key))
    given = parse_url(url) if url else login.address
    if given.user and given.user != login.address.user:  # another user, at the same port
        address = replace(login.address, user=given.user)
        address = resolve_password(_with_files(address, ca, cert, key), password_file)
    else:
        address = _with_files(login.address, ca, cert, key)
        if password_file:
            address = resolve_password(address, password_file)
        warn_if_readable(address)
    return replace(login, address=address)


def _matching_login(url: str | None, fleet: Path | None) -> BrokerAccess | None:
    """Return the login for the broker of `url`, which may be None. None if there is no such login."""
    try:
        login = find_login(fleet)
    except UserError:
        if url is None or fleet is not None:
            raise
        return None  # nobody asked for the login
    if login is None or url is None or _is_same_broker(parse_url(url), url, login.address):
        return login
    if fleet is not None:
        raise UserError(
            f"{login.folder} is for {login.address}, not for {parse_url(url)}. Omit --broker or --fleet"
        )
    return None


def _is_same_broker(address: Address, url: str, known: Address) -> bool:
    """Return whether a URL names the broker `known`. A URL without a port means its port for operators."""
    is_same_port = address.port == known.port or not _HAS_PORT.search(url)
    return address.host.lower() == known.host.lower() and address.tls == known.tls and is_same_port


def _with_files(address: Address, ca: Path | None, cert: Path | None, key: Path | None) -> Address:
    """Return the address with these files in place of its own. `cert` and `key` belong together."""
    if not address.tls:
        return address
    pair = (cert, key) if cert else (address.cert, address.key)
    return replace(address, ca=ca or address.ca, cert=pair[0], key=pair[1])


def _find_folder(fleet: Path | None) -> Path | None:
    if fleet is None:
        folder = _DEFAULT_FOLDER / _DEFAULT_OPERATOR
        return folder if (folder / LOGIN_FILE).is_file() else None
    for folder in (fleet, fleet / _DEFAULT_OPERATOR):
        if (folder / LOGIN_FILE).is_file():
            return folder
    found = sorted(path.parent for path in fleet.glob(f"*/{LOGIN_FILE}"))
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"--fleet {fleet}: several operators. Choose one of {', '.join(map(str, found))}")
    raise UserError(
        f"--fleet {fleet}: no {LOGIN_FILE} there. Write it with `make fleet ARGS=generate`, or choose "
        "another folder"
    )


def read_login(folder: Path) -> BrokerAccess:
    """Return the login in a folder. Raises UserError if it is damaged."""
    path = folder / LOGIN_FILE
    found = parse_json(read_text(path), str(path))
    fields = found if isinstance(found, dict) else {}
    host, port, prefix = fields.get("host"), fields.get("port"), fields.get("prefix")
    user, password = fields.get("user"), fields.get("password")
    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    existing: dict[str, Any] = {name: file for name, file in files.items() if file.is_file()}
    tls = fields.get("tls", "ca" in existing)
    is_address = isinstance(host, str) and type(port) is int and 0 < port < 65536 and type(tls) is bool
    if not is_address or not all(one is None or isinstance(one, str) for one in (user, password, prefix)):
        raise UserError(f"{path} is damaged. Write it again with `make fleet ARGS=generate`")
    if not tls:
        existing = {}
    return BrokerAccess(Address(str(host), int(str(port)), user, password, tls, **existing), prefix, folder)
