"""The command `update`: updates the application of a device over the air (OTA), through the broker.

The update contains the image of the board, except the files that start the application and roll back an
update (boot.py, main.py, slot.mpy). The device requests the files that it does not have, restarts, and
confirms the new version.
docs/update.md describes the protocol.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.progress import BarColumn, Progress, TextColumn

from tools import broker
from tools.board import definition
from tools.bundle import image
from tools.console import Console, echo
from tools.errors import UserError
from tools.options import BROKER_URL_HELP, CaFile
from umqtt5 import Client, MQTTError

_EXCLUDED = {"boot.py", "main.py", "slot.mpy"}
_CHUNK = 512  # bytes; with the topic it fits into the smallest receive buffer of a board
_OFFER_INTERVAL = 5  # seconds between offers
# final states of the device, except "installed"
_FAILURES = {
    "refused": "the device refused the update",
    "failed": "the device could not install the update",
}


@dataclass
class Update:
    """Files of an update by number. Number 0 is the manifest, which lists the others."""

    version: int
    names: list[str] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)

    def build_offer(self, device: str, key: str, target: str, force: bool = False) -> dict[str, Any]:
        """Return the offer for a device, signed with its key (hex digits).

        `target` is the key of its board. `force` allows an older version, or one that was rolled back.
        """
        size, digest = len(self.files[0]), hashlib.sha256(self.files[0]).hexdigest()
        line = f"umqtt5 update {device} {target} {self.version} {size} {digest}"
        line += " force" if force else ""
        signature = hmac.new(bytes.fromhex(key), line.encode(), "sha256").hexdigest()
        offer = {"version": self.version, "board": target, "size": size, "sha256": digest}
        return {**offer, "signature": signature, **({"force": True} if force else {})}


def build_update(folder: Path, version: int) -> Update:
    """Return the update for an image."""
    update = Update(version, ["manifest"], [b""])
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in _EXCLUDED:
            data = path.read_bytes()
            update.names.append(name)
            update.files.append(data)
            lines.append(f"{len(data)} {hashlib.sha256(data).hexdigest()} {name}\n")
    update.files[0] = "".join(lines).encode()
    return update


class UpdateSender:
    """Offers an update to a device, sends the chunks that it requests, and waits for the result.

    Calls `on_progress(name, offset, size)` after each chunk: the file, its bytes sent so far, and its size.
    """

    def __init__(
        self,
        address: broker.Address,
        base: str,
        update: Update,
        offer: dict[str, Any],
        on_progress: Callable[[str, int, int], None] = lambda name, at, size: None,
    ) -> None:
        self.update = update
        self.state: dict[str, Any] = {}  # last state that the device published
        self.sent_bytes = 0  # number of bytes of files that were sent
        self._offer = json.dumps(offer)
        self._base = base
        self._on_progress = on_progress
        self._requested: tuple[int, int] | None = None  # file number and offset
        self.client = Client(
            address.host,
            address.port,
            user=address.user,
            password=address.password,
            ssl=address.ssl_context(),
            client_id=f"update-{secrets.token_hex(4)}",
            outbox=8192,
            session_expiry=0,
        )
        self.client.subscribe(f"{base}/update", self._handle_state, qos=1)
        self.client.subscribe(f"{base}/update/request", self._handle_request, qos=1)

    def _handle_state(self, message: Any) -> None:
        try:
            state = json.loads(bytes(message.payload))
        except ValueError:
            return
        if isinstance(state, dict):
            self.state = state

    def _handle_request(self, message: Any) -> None:
        try:
            number, at = json.loads(bytes(message.payload))
            if 0 <= number < len(self.update.files) and 0 <= at < len(self.update.files[number]):
                self._requested = number, at
        except (ValueError, TypeError):
            pass

    def send(self, timeout: float) -> bool:
        """Send the update. Return whether the device confirmed the update; if not, `state` has the reason.

        Raises UserError if the broker is not reachable, or the device sends nothing for `timeout` seconds.
        """
        try:
            self.client.connect()
        except (OSError, MQTTError) as error:
            raise UserError(
                f"cannot connect to the broker: {error}. Choose the broker with --broker mqtt://host:port"
            ) from error
        try:
            return self._follow(timeout)
        finally:
            self.client.disconnect()

    def _follow(self, timeout: float) -> bool:
        self._until(
            lambda: bool(self.state),
            timeout,
            "publishes no update state. Check the name of the device, and update.key in its config",
        )
        self.state = {}  # the retained state is about an earlier update
        ends = time.monotonic() + timeout
        while not self._has_responded:  # repeated, because the device may not be subscribed yet
            if time.monotonic() > ends:
                raise UserError(
                    f"{self._base}: the device does not answer the offer. Check that it is online"
                )
            self.client.publish(f"{self._base}/update/set", self._offer, qos=1, wait=10000)
            next_offer = time.monotonic() + _OFFER_INTERVAL
            while not self._has_responded and time.monotonic() < next_offer:
                self.client.poll(20)
        while self.state.get("state") not in ("installed", *_FAILURES):
            before = (self.state, self._requested, self.sent_bytes)
            self._until(
                lambda before=before: before != (self.state, self._requested, self.sent_bytes),  # type: ignore[misc]
                timeout,
                f"stopped responding. Its last state: {json.dumps(self.state)}",
            )
        return bool(self.state == {"version": self.update.version, "state": "installed"})

    @property
    def _has_responded(self) -> bool:
        """Whether the device has responded to the offer."""
        return bool(self.state.get("state", "installed") != "installed")

    def _until(self, condition: Callable[[], bool], timeout: float, failure: str) -> None:
        """Serve requests until a condition holds. Raises UserError with `failure` after `timeout` seconds."""
        ends = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > ends:
                raise UserError(f"{self._base}: the device {failure}")
            self.client.poll(20)
            self._send()

    def _send(self) -> None:
        """Publish chunks of the requested file, as many as the outbox has room for."""
        while self._requested:
            number, at = self._requested
            data = self.update.files[number]
            piece = data[at : at + _CHUNK]
            payload = number.to_bytes(2, "big") + at.to_bytes(4, "big") + piece
            if not self.client.publish(f"{self._base}/update/chunk", payload, qos=1):
                return
            self.sent_bytes += len(piece)
            at += len(piece)
            self._on_progress(self.update.names[number], at, len(data))
            self._requested = (number, at) if at < len(data) else None


def _key(path: Path) -> str:
    try:
        text = path.read_text().strip()
        if len(bytes.fromhex(text)) < 16:
            raise ValueError
    except OSError as error:
        raise UserError(f"{path}: cannot read the key: {error.strerror}. To create one: --new-key") from error
    except ValueError as error:
        raise UserError(
            f"{path}: not a key, expected 32 or more hexadecimal digits. Create one with --new-key"
        ) from error
    return text


def _new_key(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path}: the file exists. Delete it only if no device uses this key")
    path.touch(0o600)
    path.write_text(secrets.token_hex(32) + "\n")
    echo(f"{path}: new key written. Set it on the device: make provision BOARD=... ARGS='--set update.key'")


def main(
    device: Annotated[Optional[str], typer.Argument(help="name of the device, such as greenhouse-1")] = None,
    board_key: Annotated[str, typer.Option("--board", help="the board: a folder of boards/")] = "esp32",
    broker_url: Annotated[str, typer.Option("--broker", help=BROKER_URL_HELP)] = "mqtt://localhost",
    ca: CaFile = None,
    prefix: Annotated[str, typer.Option(help="first part of the topics of the device")] = "umqtt5",
    key: Annotated[Path, typer.Option(help="file with update.key of the device")] = Path("update.key"),
    version: Annotated[
        Optional[int], typer.Option(help="version number; default: the time in seconds")
    ] = None,
    force: Annotated[
        bool, typer.Option(help="install an older version, or one that the device rolled back")
    ] = False,
    timeout: Annotated[float, typer.Option(help="seconds to wait for each response")] = 120,
    new_key: Annotated[bool, typer.Option(help="write a new key to the file of --key, send nothing")] = False,
) -> None:
    """Update a device over the air with the application of this checkout, and wait for its confirmation."""
    if new_key:
        _new_key(key)
        return
    if device is None:
        raise UserError("The name of the device is missing. Example: DEVICE=greenhouse-1")
    secret = _key(key)
    target = definition.load_board(board_key)
    update = build_update(image.build_image(target.key), int(time.time()) if version is None else version)
    offer = update.build_offer(device, secret, target.key, force)
    console = Console(stderr=True)
    columns = TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.completed:,} B")
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("offering the update", total=None)

        def show_progress(name: str, offset: int, size: int) -> None:
            progress.update(task, description=name, completed=offset, total=size)

        address = broker.parse_url(broker_url, ca)
        sender = UpdateSender(address, f"{prefix}/{device}", update, offer, show_progress)
        is_confirmed = sender.send(timeout)
    state = sender.state
    if not is_confirmed:
        rollback = f"the device rolled back to version {state.get('version')}"
        failure = _FAILURES.get(str(state.get("state")), rollback)
        reason = state.get("reason") or f"see the topic {prefix}/{device}/crash"
        raise UserError(f"{device}: {failure}: {reason}")
    echo(f"{device}: version {update.version} is installed and confirmed; {sender.sent_bytes:,} bytes sent")
