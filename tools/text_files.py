"""Text files from outside: all are UTF-8, on every platform, and an error names the place that is not.

Without an explicit encoding Python uses that of the system, which on Windows is not UTF-8.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from tools.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_SIZE = 16 << 20  # bytes; no file that a command reads is larger
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # Windows has no such pipes
_BOM = b"\xef\xbb\xbf"
# how a file begins in another encoding of Unicode. UTF-32 is first, because it begins like UTF-16.
_OTHER_ENCODINGS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def read_bytes(path: Path, limit: int = MAX_SIZE) -> bytes:
    """Return the content of a file. Raises UserError if it cannot be read, or has more than `limit` bytes.

    A pipe or a device is refused: reading it could wait forever, or never end.
    """
    try:
        # without O_NONBLOCK, the call would wait for a program that writes to the pipe
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path}: not a regular file, but a folder, a pipe or a device")
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot read the file: {reason}") from error
    if len(data) > limit:
        raise UserError(f"{path}: larger than {limit:,} bytes, so it is not the right file")
    return data


def read_text(path: Path) -> str:
    """Return the text of a file. Raises UserError if it cannot be read or is not UTF-8.

    Line ends become LF, and a byte order mark is dropped.
    """
    return decode(read_bytes(path), str(path))


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, completely or not at all. Raises UserError.

    A symbolic link is replaced: what it leads to is not changed.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot write the file: {error.strerror}") from error


def decode(data: bytes, name: str) -> str:
    """Decode the content of a text file. Raises UserError, with its `name`, if it is not UTF-8."""
    for start, encoding in _OTHER_ENCODINGS:
        if data.startswith(start):
            raise UserError(f"{name}: is {encoding}. Save it as UTF-8")
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        raise UserError(
            f"{name}: not UTF-8 in line {line}, byte {column} (0x{error.object[error.start]:02x}). "
            "Save it as UTF-8"
        ) from None  # the error of Python has the whole content, which may be secret
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(
            f"{name}: contains NUL in line {line}, so it is not text, or UTF-16. Save it as UTF-8"
        )
    return text.replace("\r\n", "\n")


def parse_json(text: str, name: str) -> Any:
    """Parse JSON. Raises UserError, with its `name`, if it is not JSON or an object has a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not valid JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} occurs twice, remove one")
        found[key] = value
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file. Raises UserError if it cannot be read or has a key twice."""
    text = read_text(path)
    try:
        return dict(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        # the parser says "Cannot overwrite a value", "Cannot declare ... twice", "Duplicate inline table key"
        is_twice = any(word in str(error) for word in ("overwrite", "twice", "Duplicate", "mutate"))
        raise UserError(
            f"{path}: {'a key occurs twice, remove one' if is_twice else 'not valid TOML'}: {error}"
        ) from error
