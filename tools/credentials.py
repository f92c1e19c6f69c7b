"""Finds the password of a broker, without a command line that shows it.

Each process of a computer can read the command lines of all others, and a shell stores them in its history.
So a password is never a part of an option or of the URL of a broker. It comes from, in this order: the file
of `--password-file`, the environment variable MQTT_PASSWORD, the keyring of the system, or a prompt.
"""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools import deadlines
from tools.broker import Address, parse_url
from tools.console import Console
from tools.errors import UserError
from tools.text_files import read_text

PASSWORD_VARIABLE = "MQTT_PASSWORD"
_SERVICE = "umqtt5 MQTT broker"  # the name of the entries in the keyring, before the address


def resolve_broker(
    url: str,
    password_file: Path | None = None,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
) -> Address:
    """Return the address of a broker, with the password of the user in its URL.

    Prints a warning if the password would be sent over the network without TLS. Raises UserError.
    """
    address = parse_url(url, ca, cert, key)
    if not address.user:
        if password_file:
            raise UserError(f"--password-file: {address} has no user. Add one: BROKER={_example(address)}")
        return address
    address = resolve_password(address, password_file)
    warn_if_readable(address)
    return address


def resolve_password(address: Address, password_file: Path | None) -> Address:
    """Return `address` with the password of its user. Raises UserError."""
    return replace(address, password=_find_password(address, password_file))


def warn_if_readable(address: Address) -> None:
    """Print a warning if the password would be sent over the network without TLS."""
    if address.password and not address.tls and not is_this_computer(address.host):
        warn(
            f"{address}: the password is sent without encryption, so everyone in this network can read it. "
            "Use mqtts://"
        )


def _example(address: Address) -> str:
    return str(address).replace("://", "://user@")


def _find_password(address: Address, file: Path | None) -> str | None:
    """Return the password, None if there is none and no terminal to ask in."""
    if file:
        return read_secret(file)
    # removed, so that the programs that this command starts do not inherit it
    password = os.environ.pop(PASSWORD_VARIABLE, None) or _read_keyring(address)
    if password is None and sys.stdin.isatty():
        with deadlines.current().paused():
            password = ask_secret(f"Password of {address.user} at {address}, empty for none")
    return password or None


def read_secret(path: Path) -> str:
    """Return the secret in a file, which is its only line. Raises UserError."""
    text = read_text(path)
    secret = text.removesuffix("\n")
    if not secret or "\n" in secret:
        raise UserError(f"{path}: expected one line with the secret")
    return secret


def read_secret_variable(name: str) -> str:
    """Return the secret in an environment variable, and remove the variable. Raises UserError."""
    secret = os.environ.pop(name, None)
    if not secret:
        raise UserError(f"{name}: no such environment variable, or it is empty. Export it first")
    return secret


def ask_secret(question: str) -> str:
    """Ask in the terminal without showing the answer. Raises UserError if the terminal would show it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"{question}: ")
        except getpass.GetPassWarning:
            raise UserError(
                f"{question}: this terminal cannot hide the answer. Use a file or an environment variable"
            ) from None
        except EOFError:
            raise UserError(f"{question}: no answer") from None


def warn(text: str) -> None:
    """Print a warning on standard error."""
    Console(stderr=True, soft_wrap=True).print(f"warning: {text}", style="yellow")


def is_this_computer(host: str) -> bool:
    """Return whether a host name or an IP address is certainly that of this computer."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # only an address of this computer can be bound
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return not address.is_unspecified and not address.is_multicast
    return False


# ---- the keyring of the system


@contextlib.contextmanager
def _keyring(address: Address) -> Iterator[tuple[Any, str]]:
    """The module `keyring`, and the name of the entry of a broker. Raises UserError."""
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise UserError("the package keyring is not installed. Run: make password BROKER=...") from None
    try:
        yield keyring, f"{_SERVICE} {address.host}:{address.port}"
    except keyring.errors.NoKeyringError:
        raise UserError(
            "this computer has no keyring. Use --password-file, or the environment variable "
            f"{PASSWORD_VARIABLE}"
        ) from None
    except keyring.errors.PasswordDeleteError:
        raise UserError(f"{address}: the keyring has no password of {address.user}") from None
    except Exception as error:  # a locked keyring, or what its service reports
        raise UserError(f"the keyring cannot be used: {error}") from error


def _read_keyring(address: Address) -> str | None:
    if "keyring" not in sys.modules and not _has_keyring():
        return None
    try:
        with _keyring(address) as (keyring, service):
            return keyring.get_password(service, address.user)  # type: ignore[no-any-return]
    except UserError:  # without a keyring the password is somewhere else
        return None


def _has_keyring() -> bool:
    import importlib.util

    return importlib.util.find_spec("keyring") is not None


def store_password(address: Address, password: str) -> None:
    """Store the password of the user of `address` in the keyring of the system. Raises UserError."""
    with _keyring(address) as (keyring, service):
        keyring.set_password(service, address.user, password)


def delete_password(address: Address) -> None:
    """Delete the password of the user of `address` from the keyring. Raises UserError."""
    with _keyring(address) as (keyring, service):
        keyring.delete_password(service, address.user)
