"""The files of an update over the air, its offer and its chunks: see firmware/app/update_offer.py."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path

from tools.errors import UserError

MAX_VERSION = 10**20 - 1
_MAX_FILES = 250
_MAX_FILE_SIZE = 1 << 20
_EXCLUDED = {"boot.py", "main.py", "slot.mpy", "archive.mpy", "rollback.mpy"}
_MAC_SIZE = 8  # bytes of authentication at the start of a chunk


@dataclass(frozen=True)
class Offer:
    """A signed offer for one device and one nonce."""

    line: bytes
    signature: str
    key: bytes

    @property
    def payload(self) -> bytes:
        """The message for `<base>/update/set`."""
        return self.line + b"\n" + self.signature.encode()

    @property
    def tag(self) -> str:
        """The start of the signature: the device names it in its answers and requests."""
        return self.signature[:8]

    def build_chunk(self, number: int, offset: int, data: bytes) -> bytes:
        """Return the message for `<base>/update/chunk` with a part of a file."""
        chunk = number.to_bytes(2, "big") + offset.to_bytes(4, "big") + data
        context = b"umqtt5 chunk " + self.signature.encode()
        return hmac.digest(self.key, context + chunk, "sha256")[:_MAC_SIZE] + chunk


def sign_offer(line: bytes, key: str) -> Offer:
    """Return the offer that consists of a line and its signature with a key (hex digits)."""
    secret = bytes.fromhex(key)
    return Offer(line, hmac.new(secret, line, "sha256").hexdigest(), secret)


@dataclass
class Update:
    """Files of an update by number. Number 0 is the manifest, which lists the others."""

    version: int
    names: list[str] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)

    def build_offer(self, device: str, key: str, target: str, nonce: str, force: bool = False) -> Offer:
        """Return the offer for a device, signed with its key (hex digits).

        `target` is the key of its board, `nonce` the number that the device has published. `force` allows an
        older version, or one that was rolled back. Raises UserError if the nonce is not valid.
        """
        if not re.fullmatch("[0-9a-f]{32}", nonce):  # it becomes part of the line that is signed
            raise UserError(f"{device}: the update state has no valid nonce. Restart the device")
        digest = hashlib.sha256(self.files[0]).hexdigest()
        line = f"umqtt5 update 2 {device} {target} {self.version} {len(self.files[0])} {digest} {nonce}"
        return sign_offer((line + (" force" if force else "")).encode(), key)


def build_update(folder: Path, version: int) -> Update:
    """Return the update for an image. Raises UserError if no device would accept it."""
    if not 0 < version <= MAX_VERSION:
        raise UserError(f"{version}: not a version number, expected 1 to 20 digits, greater than 0")
    update = Update(version, ["manifest"], [b""])
    lines = []
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(set(paths) - _EXCLUDED):  # the device expects this order
        data = paths[name].read_bytes()
        if not 0 < len(data) <= _MAX_FILE_SIZE:
            raise UserError(f"{name}: {len(data)} bytes, expected 1 to {_MAX_FILE_SIZE}")
        update.names.append(name)
        update.files.append(data)
        lines.append(f"{len(data)} {hashlib.sha256(data).hexdigest()} {name}\n")
    if len(lines) > _MAX_FILES:
        raise UserError(f"{folder}: {len(lines)} files, an update has at most {_MAX_FILES}")
    update.files[0] = "".join(lines).encode()
    return update
