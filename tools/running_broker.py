"""Brokers that commands of this user run: a command announces its broker, so that `make monitor` finds it.

Each running command has a folder in the state folder of the user, with the files of a login
(`operator_login`). The command holds a lock on the file `lock` until it ends, however it ends: a folder
without a lock is left over, and is removed. Only the user can read the folder. It has the password only if
the command has started the broker, which then ends with the command.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from tools.broker import Address, parse_url
from tools.console import Console
from tools.credentials import is_this_computer, resolve_broker, resolve_password
from tools.errors import UserError
from tools.operator_login import LOGIN_FILE, BrokerAccess, read_login

_LOCK = "lock"


@dataclass(frozen=True)
class RunningBroker:
    """A broker that another command runs, or uses."""

    command: str  # such as `make demo`
    access: BrokerAccess
    started: float  # time in seconds

    def __str__(self) -> str:
        return f"{self.access.address} of {self.command}"


def _home() -> Path:
    return platformdirs.user_state_path("umqtt5") / "running"


@contextlib.contextmanager
def announce(
    command: str, address: Address, prefix: str | None = None, files: Mapping[str, bytes] | None = None
) -> Iterator[Path | None]:
    """Let other commands of this user find a broker until the end of the block.

    `address` has the password only if the broker ends with the command. `files` has the certificates of the
    login by name: `ca.pem`, `cert.pem`, `key.pem`. Yields the folder, None if it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(_open_folder(command, address, prefix, files or {}))
        except OSError:
            folder = None
        yield folder


@contextlib.contextmanager
def _open_folder(
    command: str, address: Address, prefix: str | None, files: Mapping[str, bytes]
) -> Iterator[Path]:
    home = _home()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(home)
    folder = Path(tempfile.mkdtemp(prefix=command.replace(" ", "-") + "-", dir=home))  # mode 0700
    try:
        with open(_create(folder / _LOCK), "w", encoding="utf-8") as lock:
            # first, because a folder without a lock may be removed at any time
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(command)
            lock.flush()
            login = {
                "host": address.host,
                "port": address.port,
                "tls": address.tls,
                "user": address.user,
                "password": address.password,
                "prefix": prefix,
            }
            for name, data in {**files, LOGIN_FILE: json.dumps(login).encode()}.items():
                with open(_create(folder / name), "wb") as file:
                    file.write(data)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _create(path: Path) -> int:
    """Create a file that only the user can read; returns its descriptor. Raises OSError if it exists."""
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)


def _check_private(home: Path) -> None:
    """Raise OSError if other users can change the folder."""
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(f"{home} is not a folder of this user alone")


def find_running() -> list[RunningBroker]:
    """Return the brokers that commands of this user run now, the newest first. Removes what is left over."""
    home = _home()
    try:
        _check_private(home)
        folders = [path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
    found = []
    for folder in folders:
        try:
            command = _read_lock(folder)
        except OSError:  # removed at this moment, or not readable
            continue
        if command is None:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        with contextlib.suppress(UserError, OSError):  # not written completely yet
            found.append(RunningBroker(command, read_login(folder), (folder / LOGIN_FILE).stat().st_mtime))
    return sorted(found, key=lambda one: one.started, reverse=True)


def find_broker(url: str | None) -> list[RunningBroker]:
    """Return the brokers that run now, the newest first; with `url` only those that it names.

    Raises UserError if the URL is malformed.
    """
    return [one for one in find_running() if url is None or _is_named(one.access.address, parse_url(url))]


def choose_access(url: str | None, password_file: Path | None, console: Console) -> BrokerAccess | None:
    """Return the access to the newest broker that runs, or to the one that `url` names, otherwise None.

    Prints which broker that is, and the others. Raises UserError.
    """
    running = find_broker(url)
    if not running:
        return None
    chosen, *others = running
    console.print(f"showing the broker {chosen}")
    if url is None and others:
        listed = ", ".join(map(str, others))
        console.print(f"also running: {listed}. To choose: BROKER={others[0].access.address}")
    address = chosen.access.address
    if address.user and address.password is None and not password_file:
        # the login of the command that runs this broker
        address = _find_login(running, address) or address
    if address.user and address.password is None:
        address = resolve_password(address, password_file)
    return replace(chosen.access, address=address)


def resolve_url(url: str, password_file: Path | None) -> Address:
    """Return the address of a broker, with its login if a command of this user runs it. Raises UserError."""
    if not password_file and (address := _find_login(find_running(), parse_url(url))):
        return address
    return resolve_broker(url, password_file)


def _find_login(running: list[RunningBroker], given: Address) -> Address | None:
    """Return the address with the password of a broker that runs, None if there is none."""
    known = [one.access.address for one in running]
    return next((one for one in known if one.password and _is_named(one, given)), None)


def _is_named(address: Address, given: Address) -> bool:
    """Return whether `given`, from a URL, is the broker at `address`."""
    is_same_host = address.host == given.host or (
        is_this_computer(address.host) and is_this_computer(given.host)
    )
    return (
        is_same_host
        and (address.port, address.tls) == (given.port, given.tls)
        and given.user in (None, address.user)
    )


def _read_lock(folder: Path) -> str | None:
    """Return the command that holds the lock, None if no command does. Raises OSError."""
    with open(folder / _LOCK, encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.read()
    return None
