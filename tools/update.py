"""The command `update`: updates the application of a device over the air (OTA), through the broker.

The update contains the image of the board, except the files that start the application and roll back an
update (boot.py, main.py, slot.mpy, archive.mpy, rollback.mpy). The device requests the files that it does not
have, restarts, and confirms the new version.
docs/update.md describes the protocol.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.progress import BarColumn, Progress, TextColumn

from tools import broker
from tools.board import definition
from tools.bundle import image
from tools.console import Console, echo
from tools.credentials import warn
from tools.errors import UserError
from tools.fleet import secret_files
from tools.operator_login import resolve_access
from tools.options import BROKER_DEFAULT, BROKER_URL_HELP, CaFile, CertFile, FleetFolder, PasswordFile
from tools.text_files import read_text
from tools.update_offer import Offer, Update, build_update
from umqtt5 import Client, MQTTError, properties

__all__ = ["Update", "UpdateSender", "build_update", "main"]

_CHUNK = 512  # bytes; with the topic it fits into the smallest receive buffer of a board
_OFFER_INTERVAL = 5  # seconds between offers
_OFFER_EXPIRY = 10  # seconds after which a broker deletes an offer, so that it is not delivered much later
_MAX_OFFERS = 5  # offers that a device may refuse because their nonce is old
_MAX_REASON = 200  # characters
_OLD_NONCE = "old nonce"  # start of the reason of such a refusal
_FAILURES = {
    "refused": "the device refused the update",
    "failed": "the device could not install the update",
}


class UpdateSender:
    """Offers an update to a device, sends the chunks that it requests, and waits for the result.

    `build_offer` returns the offer for a nonce. Calls `on_progress(name, offset, size)` after each chunk: the
    file, its bytes sent so far, and its size.
    """

    def __init__(
        self,
        address: broker.Address,
        base: str,
        update: Update,
        build_offer: Callable[[str], Offer],
        on_progress: Callable[[str, int, int], None] = lambda name, at, size: None,
    ) -> None:
        self.update = update
        self.state: dict[str, Any] = {}  # last state that the device published
        self.sent_bytes = 0  # number of bytes of files that were sent
        self._build_offer = build_offer
        self._offers: dict[str, Offer] = {}  # by tag
        self._tag = ""  # tag of the last offer
        self._base = base
        self._on_progress = on_progress
        self._requested: tuple[int, int, Offer] | None = None  # file number, offset, and the offer
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
        except (ValueError, RecursionError):
            return
        if isinstance(state, dict):
            self.state = state

    def _handle_request(self, message: Any) -> None:
        try:
            number, at, tag = json.loads(bytes(message.payload))
            if 0 <= number < len(self.update.files) and 0 <= at < len(self.update.files[number]):
                self._requested = number, at, self._offers[tag]
        except (ValueError, TypeError, KeyError, RecursionError):  # a request of another offer
            pass

    def send(self, timeout: float) -> bool:
        """Send the update. Return whether the device confirmed the update; if not, `state` has the reason.

        Raises UserError if the broker is not reachable, or the device sends nothing for `timeout` seconds.
        """
        try:
            self.client.connect()
        except (OSError, MQTTError) as error:
            raise UserError(
                f"cannot connect to the broker: {error} To choose another: --broker mqtt://host:port"
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
        if "nonce" not in self.state:
            raise UserError(
                f"{self._base}: the device runs an older version, whose updates are not protected against "
                "replay. Install this version by cable once: make deploy"
            )
        self._offer_until_answered(timeout)
        while not self._is_final:
            before = (self.state, self._requested, self.sent_bytes)
            self._until(
                lambda before=before: before != (self.state, self._requested, self.sent_bytes),  # type: ignore[misc]
                timeout,
                f"stopped responding. Its last state: {json.dumps(self.state)[:_MAX_REASON]}",
            )
        # a refusal is of another offer here
        is_installed = self.state.get("state") in ("installed", "refused")
        is_rolled_back = self.state.get("rolled_back") == self.update.version
        return is_installed and self.state.get("version") == self.update.version and not is_rolled_back

    def _offer_until_answered(self, timeout: float) -> None:
        """Send offers until the device accepts or refuses one. Raises UserError after `timeout` seconds."""
        ends = time.monotonic() + timeout
        options = properties.pack(message_expiry=_OFFER_EXPIRY)
        while True:
            if time.monotonic() > ends:
                raise UserError(
                    f"{self._base}: the device does not answer the offer. Check that it is online"
                )
            nonce = self.state.get("nonce")
            offer = self._build_offer(str(nonce))
            self._offers[offer.tag] = offer
            self._tag = offer.tag
            self.client.publish(
                f"{self._base}/update/set", offer.payload, qos=1, properties=options, wait=10000
            )
            next_offer = time.monotonic() + _OFFER_INTERVAL
            while not self._is_answered and time.monotonic() < next_offer:
                self.client.poll(20)
            if self._is_answered and not self._has_old_nonce(nonce):
                return

    def _has_old_nonce(self, nonce: Any) -> bool:
        """Whether the device refused the offer because it has another nonce, and may accept a new offer."""
        refusal = str(self.state.get("refused") or self.state.get("reason"))
        may_repeat = len(self._offers) < _MAX_OFFERS and self.state.get("nonce") != nonce
        return may_repeat and refusal.startswith(_OLD_NONCE)

    @property
    def _is_answered(self) -> bool:
        """Whether the device has accepted or refused the last offer."""
        return self._tag in (self.state.get("offer"), self.state.get("refused_offer"))

    @property
    def _is_final(self) -> bool:
        """Whether the update has ended. Raises UserError if the device accepted another sender's offer."""
        state = self.state.get("state")
        is_own = self.state.get("offer") in self._offers
        if state in ("receiving", "restarting") and not is_own:
            if self.state.get("refused_offer") in self._offers:
                return True
            raise UserError(f"{self._base}: the device accepted a newer offer of another sender")
        if state == "trying":
            return self.state.get("refused_offer") in self._offers and not self.sent_bytes
        return state in ("installed", *_FAILURES)

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
            number, at, offer = self._requested
            data = self.update.files[number]
            piece = data[at : at + _CHUNK]
            payload = offer.build_chunk(number, at, piece)
            if not self.client.publish(f"{self._base}/update/chunk", payload, qos=1):
                return
            self.sent_bytes += len(piece)
            at += len(piece)
            self._on_progress(self.update.names[number], at, len(data))
            self._requested = (number, at, offer) if at < len(data) else None


def _choose_keys(update_key: Path | None, key: Path | None, cert: Path | None) -> tuple[Path, Path | None]:
    """Return the file with the device's key, and the file with the key of the client certificate.

    Before there were client certificates, `--key` was the file with the device's key. Without a certificate
    it still is, unless the file has a private key.
    """
    if key and not cert and not update_key and not (key.is_file() and b"-----BEGIN" in key.read_bytes()):
        return key, None
    return update_key or Path("update.key"), key


def _key(path: Path) -> str:
    if not path.exists():
        raise UserError(f"{path}: no such file. To create a key: --new-key")
    text = read_text(path).strip()
    try:
        is_good = len(bytes.fromhex(text)) >= 16
    except ValueError:
        is_good = False
    if not is_good:
        raise UserError(
            f"{path}: not a key, expected 32 or more hexadecimal digits. Create one with --new-key"
        )
    return text


def _new_key(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path}: the file exists. Delete it only if no device uses this key")
    secret_files.write_file(path, secrets.token_hex(32) + "\n")
    if advice := secret_files.hide_from_git(path):
        warn(advice)
    echo(
        f"{path}: new key written. Set it on the device: "
        f"make provision BOARD=... ARGS='--set-file update.key={path}'"
    )


def _explain_failure(state: dict[str, Any], version: int, base: str) -> str:
    """Return why the device, whose last state is `state`, does not run this version."""
    if "refused_offer" in state:
        text = f"{_FAILURES['refused']}: {state.get('refused')}"
    elif state.get("state") in _FAILURES:
        text = f"{_FAILURES[str(state.get('state'))]}: {state.get('reason')}"
    elif state.get("rolled_back") == version:
        reason = state.get("rolled_back_reason") or "no reason is known"
        text = (
            f"the device rolled back to version {state.get('version')}: {reason}. See the topic {base}/crash"
        )
    else:
        text = f"the device was restarted during the update, and runs version {state.get('version')}"
    return text[:_MAX_REASON]


def main(
    device: Annotated[Optional[str], typer.Argument(help="name of the device, such as greenhouse-1")] = None,
    board_key: Annotated[str, typer.Option("--board", help="the board: a folder of boards/")] = "esp32",
    broker_url: Annotated[
        Optional[str], typer.Option("--broker", help=f"{BROKER_URL_HELP}; {BROKER_DEFAULT}")
    ] = None,
    ca: CaFile = None,
    cert: CertFile = None,
    key: Annotated[
        Optional[Path],
        typer.Option(help="TLS: private key of the client certificate; without --cert, as --update-key"),
    ] = None,
    password_file: PasswordFile = None,
    fleet: FleetFolder = None,
    prefix: Annotated[
        Optional[str],
        typer.Option(help="first part of the device's topics; default: that of --fleet, otherwise umqtt5"),
    ] = None,
    update_key: Annotated[
        Optional[Path], typer.Option(help="file with update.key of the device; default: update.key")
    ] = None,
    version: Annotated[
        Optional[int], typer.Option(help="version number; default: the time in seconds")
    ] = None,
    force: Annotated[
        bool, typer.Option(help="install an older version, or one that the device rolled back")
    ] = False,
    timeout: Annotated[float, typer.Option(help="seconds to wait for each response")] = 120,
    new_key: Annotated[
        bool, typer.Option(help="write a new key to the file of --update-key, send nothing")
    ] = False,
) -> None:
    """Update a device over the air with the application of this checkout, and wait for its confirmation."""
    update_key, key = _choose_keys(update_key, key, cert)
    if new_key:
        _new_key(update_key)
        return
    if device is None:
        raise UserError("The name of the device is missing. Example: DEVICE=greenhouse-1")
    secret = _key(update_key)
    target = definition.load_board(board_key)
    access = resolve_access(broker_url, fleet, password_file, ca, cert, key)
    base = f"{prefix or access.prefix or 'umqtt5'}/{device}"
    update = build_update(image.build_image(target.key), int(time.time()) if version is None else version)
    console = Console(stderr=True)
    echo(f"{device}: waiting for its state at {access.address}, for up to {timeout:g} s", sys.stderr)
    columns = TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.completed:,} B")
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("offering the update", total=None)

        def show_progress(name: str, offset: int, size: int) -> None:
            progress.update(task, description=name, completed=offset, total=size)

        sender = UpdateSender(
            access.address,
            base,
            update,
            lambda nonce: update.build_offer(device, secret, target.key, nonce, force),
            show_progress,
        )
        is_confirmed = sender.send(timeout)
    state = sender.state
    if not is_confirmed:
        raise UserError(f"{device}: {_explain_failure(state, update.version, base)}")
    echo(f"{device}: version {update.version} is installed and confirmed; {sender.sent_bytes:,} bytes sent")
