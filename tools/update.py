"""`make update`: a new version of the application onto a device, over the air.

What is sent is the image of its board but what starts it and goes back (boot.py, main.py, slot). The
device asks for the files that it does not have, restarts, and confirms; see docs/update.md.
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
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tools import broker
from tools.board import definition
from tools.bundle import image
from tools.errors import UserError
from umqtt5 import Client, MQTTError

_LEFT_OUT = {"boot.py", "main.py", "slot.mpy"}
_PIECE = 512  # bytes, which with their topic fit into the smallest buffers that a board has
_AGAIN = 5  # s until the offer is made again
_WORDS = {
    "refused": "it refused the update",
    "failed": "it gave up the update",
}


@dataclass
class Update:
    """Files by number; the first is the manifest of the others."""

    version: int
    names: list[str] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)

    def build_offer(self, device: str, key: str, target: str, force: bool = False) -> dict[str, Any]:
        """What the device is offered, signed with its key."""
        size, digest = len(self.files[0]), hashlib.sha256(self.files[0]).hexdigest()
        line = f"umqtt5 update {device} {target} {self.version} {size} {digest}"
        line += " force" if force else ""
        signature = hmac.new(bytes.fromhex(key), line.encode(), "sha256").hexdigest()
        made = {"version": self.version, "board": target, "size": size, "sha256": digest}
        return {**made, "signature": signature, **({"force": True} if force else {})}


def build_update(folder: Path, version: int) -> Update:
    """The update that an image comes to."""
    made = Update(version, ["manifest"], [b""])
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in _LEFT_OUT:
            data = path.read_bytes()
            made.names.append(name)
            made.files.append(data)
            lines.append(f"{len(data)} {hashlib.sha256(data).hexdigest()} {name}\n")
    made.files[0] = "".join(lines).encode()
    return made


class UpdateSender:
    """Offers an update to a device, gives it the pieces that it asks for, and knows how it ends.

    `each(name, at, size)` is told what is sent.
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
        self.state: dict[str, Any] = {}  # as the device tells it
        self.sent_bytes = 0  # bytes of files
        self._offer = json.dumps(offer)
        self._base = base
        self._each = on_progress
        self._sending: tuple[int, int] | None = None
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
        self.client.subscribe(f"{base}/update", self._told, qos=1)
        self.client.subscribe(f"{base}/update/request", self._wanted, qos=1)

    def _told(self, message: Any) -> None:
        try:
            state = json.loads(bytes(message.payload))
        except ValueError:
            return
        if isinstance(state, dict):
            self.state = state

    def _wanted(self, message: Any) -> None:
        try:
            number, at = json.loads(bytes(message.payload))
            if 0 <= number < len(self.update.files) and 0 <= at < len(self.update.files[number]):
                self._sending = number, at
        except (ValueError, TypeError):
            pass

    def send(self, timeout: float) -> bool:
        """Returns True where the device has confirmed the version, False where it has not; `state` says why.

        `patience` in seconds without a word of it. Raises UserError where there is no such device.
        """
        try:
            self.client.connect()
        except (OSError, MQTTError) as error:
            raise UserError(f"no broker: {error}; say which with --broker mqtt://host:port") from error
        try:
            return self._follow(timeout)
        finally:
            self.client.disconnect()

    def _follow(self, timeout: float) -> bool:
        self._until(
            lambda: bool(self.state), timeout, "says nothing of updates: does its config have update.key?"
        )
        self.state = {}  # what it said before it was asked is not about this
        ends = time.monotonic() + timeout
        while not self._begun:  # it may be about to come online: then nobody hears the first
            if time.monotonic() > ends:
                raise UserError(f"{self._base} does not answer the offer: is it online?")
            self.client.publish(f"{self._base}/update/set", self._offer, qos=1, wait=10000)
            again = time.monotonic() + _AGAIN
            while not self._begun and time.monotonic() < again:
                self.client.poll(20)
        while self.state.get("state") not in ("installed", *_WORDS):
            before = (self.state, self._sending, self.sent_bytes)
            self._until(
                lambda before=before: before != (self.state, self._sending, self.sent_bytes),  # type: ignore[misc]
                timeout,
                f"says no more since {json.dumps(self.state)}",
            )
        return bool(self.state == {"version": self.update.version, "state": "installed"})

    @property
    def _begun(self) -> bool:
        """Whether it has said something about the offer."""
        return bool(self.state.get("state", "installed") != "installed")

    def _until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        ends = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > ends:
                raise UserError(f"{self._base} {what}")
            self.client.poll(20)
            self._send()

    def _send(self) -> None:
        """The pieces that are wanted, as far as there is room for them."""
        while self._sending:
            number, at = self._sending
            data = self.update.files[number]
            piece = data[at : at + _PIECE]
            payload = number.to_bytes(2, "big") + at.to_bytes(4, "big") + piece
            if not self.client.publish(f"{self._base}/update/chunk", payload, qos=1):
                return
            self.sent_bytes += len(piece)
            at += len(piece)
            self._each(self.update.names[number], at, len(data))
            self._sending = (number, at) if at < len(data) else None


def _key(path: Path) -> str:
    try:
        text = path.read_text().strip()
        if len(bytes.fromhex(text)) < 16:
            raise ValueError
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}: make one with --new-key, and give it to the device"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: expected 32 or more hexadecimal digits; make one with --new-key") from error
    return text


def _new_key(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path} is there already: devices may know it; remove it if none does")
    path.touch(0o600)
    path.write_text(secrets.token_hex(32) + "\n")
    typer.echo(f"{path}: give it to the device: make provision BOARD=... ARGS='--set update.key'")


def main(
    device: Annotated[Optional[str], typer.Argument(help="its name, such as greenhouse-1")] = None,
    board_key: Annotated[str, typer.Option("--board", help="what it is: a folder of boards/")] = "esp32",
    broker_url: Annotated[
        str, typer.Option("--broker", help="mqtt://[user:password@]host[:port], mqtts:// for TLS")
    ] = "mqtt://localhost",
    ca: Annotated[Optional[Path], typer.Option(help="who has signed the broker's certificate")] = None,
    prefix: Annotated[str, typer.Option(help="where its topics begin")] = "umqtt5",
    key: Annotated[Path, typer.Option(help="file with the device's update.key")] = Path("update.key"),
    version: Annotated[Optional[int], typer.Option(help="number of the version; else the time, in s")] = None,
    force: Annotated[bool, typer.Option(help="also an older version, or one that it has given up")] = False,
    timeout: Annotated[float, typer.Option(help="seconds without a word of the device")] = 120,
    new_key: Annotated[bool, typer.Option(help="write a new key to the file of --key, and end")] = False,
) -> None:
    """Send this folder's application to a device over the air, and wait until it has confirmed it."""
    if new_key:
        _new_key(key)
        return
    if device is None:
        raise UserError("DEVICE is missing, such as DEVICE=greenhouse-1")
    secret = _key(key)
    target = definition.load_board(board_key)
    update = build_update(image.build_image(target.key), int(time.time()) if version is None else version)
    offer = update.build_offer(device, secret, target.key, force)
    console = Console(stderr=True)
    columns = TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.completed:,} B")
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("offering it", total=None)

        def each(name: str, at: int, size: int) -> None:
            progress.update(task, description=name, completed=at, total=size)

        address = broker.parse_url(broker_url, ca)
        sender = UpdateSender(address, f"{prefix}/{device}", update, offer, each)
        done = sender.send(timeout)
    state = sender.state
    if not done:
        said = _WORDS.get(str(state.get("state")), f"it went back to version {state.get('version')}")
        why = state.get("reason") or "its crash is at the topic crash"
        raise UserError(f"{device}: {said}: {why}")
    typer.echo(
        f"{device}: version {update.version} runs and is confirmed, {sender.sent_bytes:,} bytes were sent"
    )
