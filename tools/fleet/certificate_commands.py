"""The commands `fleet revoke` and `fleet renew`: end or replace the credentials of devices and operators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tools.console import Console
from tools.errors import UserError
from tools.fleet import description, expiry, mosquitto_config
from tools.fleet.description import Fleet
from tools.fleet.fleet_options import DEFAULT_FILE, DEFAULT_OUT, File, Out
from tools.fleet.generate import generate_files, secrets_folder
from tools.fleet.store import CLIENTS, OPERATORS, SERVERS, FleetStore

_RENEW_BEFORE = 90  # days
_BROKER = "broker"  # the name that selects the certificate of the broker
_RELOAD = "sudo systemctl reload mosquitto"
_RESTART = "sudo systemctl restart mosquitto"


def revoke(
    names: Annotated[list[str], typer.Argument(help="devices or operators, also such that left the fleet")],
    file: File = DEFAULT_FILE,
    out: Out = DEFAULT_OUT,
) -> None:
    """Revoke devices or operators: the broker refuses their certificates and passwords.

    It writes the revocation lists and password files of the broker. To admit a name again: fleet renew NAME
    """
    console = Console(soft_wrap=True)
    fleet = description.load_fleet(file)
    if not mosquitto_config.requires_login(fleet.credentials):
        raise UserError(
            f"{file}: nothing to revoke: the devices have neither password nor certificate. "
            "Set credentials.password or credentials.certificate"
        )
    store = FleetStore(secrets_folder(file))
    known = store.names | _fleet_names(fleet, file)
    _check_known(names, known, file)
    for name in names:
        before = store.records.revoked_at(name)
        console.print(f"{name}: revoked" + (f" already, at {before}" if before else ""))
    store.revoke(names)
    generate_files(fleet, file, out, console)
    # With passwords, mosquitto also disconnects the client when it reads its files again.
    command = _RELOAD if fleet.credentials.password else _RESTART
    console.print(f"Copy {out / 'broker'} to the broker, then run there: {command}")


def renew(
    names: Annotated[
        Optional[list[str]], typer.Argument(help="devices or operators, or broker; default: see --expiring")
    ] = None,
    expiring: Annotated[
        Optional[int],
        typer.Option(min=1, help=f"everything that expires within DAYS; the default is {_RENEW_BEFORE}"),
    ] = None,
    ca: Annotated[
        bool, typer.Option("--ca", help="the fleet's CAs: new certificates for the same keys")
    ] = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="with new keys; without it the keys stay")
    ] = False,
    file: File = DEFAULT_FILE,
    out: Out = DEFAULT_OUT,
) -> None:
    """Issue new certificates before the old ones expire; admit revoked devices and operators again.

    The old certificate of a device remains valid, so the device works until you flash it.
    """
    console = Console(soft_wrap=True)
    fleet = description.load_fleet(file)
    store = FleetStore(secrets_folder(file))
    _check_known(names or [], _fleet_names(fleet, file) | {_BROKER}, file)
    if not fleet.broker.tls and not any(store.is_revoked(name) for name in names or []):
        raise UserError(f"{file}: nothing to renew: without broker.tls there are no certificates")
    if expiring is None and not names and not ca:
        expiring = _RENEW_BEFORE
    due = expiry.find_expiries(fleet, secrets_folder(file), file) if expiring else []
    due = [one for one in due if one.days_left() < (expiring or 0)]
    renew_ca = ca or any(one.remedy.endswith('--ca"') for one in due)
    if renew_ca:  # first: no certificate is valid longer than its CA
        for authority in (store.authority, store.operator_authority):
            before = authority.expires
            authority.renew()
            console.print(
                f"CA {authority.name}: valid until {authority.expires:%Y-%m-%d}. "
                f"The old certificate of this CA works until {before:%Y-%m-%d}"
            )
    selected = list(dict.fromkeys([*(names or []), *_due_names(due, fleet, file)]))
    for name in selected:
        _renew_one(fleet, store, name, new_key, console)
    if not selected and not renew_ca:
        console.print(f"nothing to do: nothing expires within {expiring} days")
    generated = generate_files(fleet, file, out, console)
    _print_next_steps(generated.broker_files, selected, fleet, file, out, renew_ca, console)


def _fleet_names(fleet: Fleet, file: Path) -> set[str]:
    return {one.name for one in description.expand_devices(fleet, str(file))} | set(fleet.operators)


def _check_known(names: list[str], known: set[str], file: Path) -> None:
    """Raise UserError that names every unknown name. Nothing has been changed then."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"{file}: {', '.join(unknown)}: no device or operator of this fleet. Nothing was changed. "
            "To list the devices: make fleet ARGS=list"
        )


def _due_names(due: list[expiry.Expiry], fleet: Fleet, file: Path) -> list[str]:
    """Return the names of what is due, `broker` for the certificate of the broker."""
    known = _fleet_names(fleet, file)
    names = [one.name for one in due if one.name in known]
    return names + [_BROKER for one in due if f"renew {_BROKER}" in one.remedy]


def _renew_one(fleet: Fleet, store: FleetStore, name: str, new_key: bool, console: Console) -> None:
    kind, subject = CLIENTS, name
    if name == _BROKER:
        kind, subject = SERVERS, fleet.broker.host
    elif name in fleet.operators:
        kind = OPERATORS
    was_revoked = kind != SERVERS and store.is_revoked(name)
    if kind != SERVERS and not fleet.credentials.certificate:
        if not was_revoked:
            raise UserError(f"{name} has no certificate, because credentials.certificate is false")
        store.readmit(name)
    else:
        store.renew(kind, subject, 10 if kind == SERVERS else fleet.credentials.years, new_key)
    end = store.expires(kind, subject)
    text = f"{name}: valid until {end:%Y-%m-%d}" if end else name
    console.print(text + (", admitted again with a new key and a new password" if was_revoked else ""))


def _print_next_steps(
    broker_files: list[str],
    selected: list[str],
    fleet: Fleet,
    file: Path,
    out: Path,
    renew_ca: bool,
    console: Console,
) -> None:
    """Print how the new files get to the devices, the operators and the broker."""
    devices = [one.name for one in description.expand_devices(fleet, str(file)) if one.name in selected]
    if devices or renew_ca:
        words = " ".join(["flash", *([] if renew_ca else devices)])
        console.print(f'Install the new files on the devices by cable: make fleet ARGS="{words}"')
    for name in fleet.operators:
        if name in selected or renew_ca:
            console.print(f"Copy {out / name} to the computer of {name}")
    if broker_files:
        console.print(
            f"Copy {out / 'broker'} to the broker, then run there: {_RELOAD}. "
            f"Changed: {', '.join(broker_files)}"
        )
