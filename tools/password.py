"""The command `password`: stores the password of a broker in the keyring of the system, or deletes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tools.broker import parse_url
from tools.console import echo
from tools.credentials import ask_secret, delete_password, read_secret, store_password
from tools.errors import UserError
from tools.options import BROKER_URL_HELP, PasswordFile


def main(
    broker_url: Annotated[str, typer.Option("--broker", help=BROKER_URL_HELP)],
    password_file: PasswordFile = None,
    delete: Annotated[bool, typer.Option("--delete", help="delete the password from the keyring")] = False,
) -> None:
    """Store the password of a broker in the keyring of this computer. The other commands find it there."""
    address = parse_url(broker_url)
    if not address.user:
        raise UserError(f"{address} has no user. Example: BROKER=mqtts://me@broker.local")
    if delete:
        delete_password(address)
        echo(f"{address}: the password of {address.user} is deleted from the keyring")
        return
    store_password(address, _read(password_file, f"Password of {address.user} at {address}"))
    echo(f"{address}: the password of {address.user} is stored in the keyring")


def _read(file: Path | None, question: str) -> str:
    if file:
        return read_secret(file)
    if not sys.stdin.isatty():
        raise UserError("There is no terminal to ask in. Add --password-file FILE")
    password = ask_secret(question)
    if not password:
        raise UserError("The password is empty. Nothing was stored")
    return password
