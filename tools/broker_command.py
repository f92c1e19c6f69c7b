"""The command `broker`: runs a broker to try programs and devices with, and prints lines to begin with."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools import running_broker
from tools.broker import Address, free_port, run_iotcore
from tools.console import Console
from tools.credentials import PASSWORD_VARIABLE, is_this_computer, read_secret, read_secret_variable, warn
from tools.errors import UserError
from tools.monitor.web_access import find_network_address

USER = "umqtt5"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # of a new password: none looks like another one
_ANY = "0.0.0.0"  # all addresses of this computer


def main(
    host: Annotated[
        str, typer.Option(help="address on which the broker listens; 0.0.0.0 for each device on the network")
    ] = "127.0.0.1",
    port: Annotated[
        Optional[int],
        typer.Option(
            min=1, max=65534, help="port for MQTT 5.0, and the next one for 3.1.1; default: free ports"
        ),
    ] = None,
    password_file: Annotated[
        Optional[Path],
        typer.Option(help="file with the password that clients need; on the network a new one by default"),
    ] = None,
    seconds: Annotated[
        Optional[float], typer.Option(min=1, help="end after this time; default: until Ctrl-C")
    ] = None,
) -> None:
    """Run a broker for MQTT 5.0 and 3.1.1 until Ctrl-C. It keeps nothing when it ends.

    On the network it requires a password: that of --password-file or MQTT_PASSWORD, otherwise a new one.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit_on_signal)
    console = Console(soft_wrap=True)
    is_local = _is_loopback(host)
    ports = [_check_port(host, one) for one in (port, port + 1)] if port else _free_ports(host)
    password, is_new = _find_password(password_file, is_local)
    address = Address(host, ports[0], USER if password else None, password)
    with _start(address, ports[1]) as broker:
        local = replace(address, host="127.0.0.1" if host == _ANY else host)
        with running_broker.announce("make broker", local) as folder:
            login = _write_mosquitto_login(folder, local) if password else None
            for line in _describe(address, local, ports[1], login, is_new):
                console.print(line, highlight=False, markup=False)
            if not is_local:
                warn("passwords and messages are sent without encryption: use this broker only to try things")
            _wait(broker, seconds)


def _exit_on_signal(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _is_loopback(host: str) -> bool:
    """Return whether only this computer reaches an address. Raises UserError if it is no address of it."""
    try:
        address = ipaddress.IPv4Address(host)  # iotcore does not start with an address of IPv6
    except ValueError:
        raise UserError(
            f"HOST={host}: expected an IPv4 address of this computer, such as 127.0.0.1 or 0.0.0.0"
        ) from None
    if host != _ANY and not is_this_computer(host):
        raise UserError(
            f"HOST={host}: not an address of this computer. For all of its addresses: HOST=0.0.0.0"
        )
    return address.is_loopback


def _check_port(host: str, port: int) -> int:
    """Return the port. Raises UserError if it cannot be used."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the broker that ended a moment ago
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"port {port} at {host}: {error.strerror}. Omit PORT= for a free port") from error
    return port


def _free_ports(host: str) -> list[int]:
    first = free_port(host)
    while (second := free_port(host)) == first:
        pass
    return [first, second]


def _find_password(file: Path | None, is_local: bool) -> tuple[str | None, bool]:
    """Return the password that clients need, None if they need none, and whether it is new.

    Raises UserError.
    """
    password = None
    if file:
        password = read_secret(file)
    elif not is_local and PASSWORD_VARIABLE in os.environ:
        password = read_secret_variable(PASSWORD_VARIABLE)
    if password is None:
        return (None, False) if is_local else ("".join(secrets.choice(_LETTERS) for _ in range(14)), True)
    if not password.isprintable():
        raise UserError("the password has a control character. Choose another one")
    return password, False


@contextlib.contextmanager
def _start(address: Address, port_311: int) -> Iterator[object]:
    try:
        stack = contextlib.ExitStack()
        broker = stack.enter_context(run_iotcore(address, port_311))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{address}: the broker did not start: {error}. Try another PORT=") from error
    with stack:
        yield broker


def _write_mosquitto_login(folder: Path | None, address: Address) -> Path | None:
    """Write the login for mosquitto_sub and mosquitto_pub, so that no command line has the password.

    Returns the folder for XDG_CONFIG_HOME, None if there is no folder.
    """
    if folder is None:
        return None
    for program in ("mosquitto_sub", "mosquitto_pub"):
        descriptor = os.open(folder / program, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(f"-u {address.user}\n-P {address.password}\n")
    return folder


def _describe(
    address: Address, local: Address, port_311: int, login: Path | None, is_new: bool
) -> Iterator[str]:
    """Yield the lines that say where the broker is, and what to try next."""
    reached = address.host if address.host != _ANY else find_network_address(address.host)
    where = replace(address, host=reached)
    yield f"broker at {where} for MQTT 5.0, port {port_311} for MQTT 3.1.1. Ctrl-C ends it"
    if address.user:
        yield f"user {address.user}, password {address.password}" if is_new else f"user {address.user}"
    mosquitto = f"-V 5 -h {local.host} -p {local.port} -t '#' -v"
    environment = f"XDG_CONFIG_HOME={shlex.quote(str(login))} " if login else ""
    option = f" -u {address.user}" if address.user and not login else ""
    yield "\nIn other terminals:"
    yield f"  {environment}mosquitto_sub {mosquitto}{option}"
    yield "  make monitor                  # finds this broker by itself"
    yield f"  make demo BROKER={local}"
    yield "\nIn a program, which runs without a board, too: make run FILE=hello.py"
    shown = f'"{address.password}"' if is_new else "PASSWORD"
    user = f', user="{address.user}", password={shown}' if address.user else ""
    yield "  from umqtt5 import Client"
    yield f'  client = Client("{reached}", {address.port}{user})'
    yield "  client.connect()"
    yield '  client.publish("hello", "world", qos=1, wait=5000)'


def _wait(broker: object, seconds: float | None) -> None:
    """Wait until the time is up or the user ends the command. Raises UserError if the broker ends."""
    ends = time.monotonic() + (seconds or 1e9)
    with contextlib.suppress(KeyboardInterrupt):
        while time.monotonic() < ends:
            time.sleep(min(0.2, max(0, ends - time.monotonic())))
            if not broker.is_running:  # type: ignore[attr-defined]
                raise UserError("the broker has ended by itself. Run: make broker")
