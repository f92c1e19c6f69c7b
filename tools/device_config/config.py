"""A device's `config.json` on the desktop: filled in, changed, checked as the device checks it."""

from __future__ import annotations

import copy
import json
import re
import ssl
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import umqtt5  # noqa: F401  gives CPython the names that the device's code wants
from app.config import config as device_config
from tools.board.definition import Board
from tools.errors import UserError

# the kinds of actuators import these when a config that names them is checked
for _name, _ticks in (
    ("ticks_ms", lambda: time.monotonic_ns() // 1_000_000),
    ("ticks_add", lambda a, b: a + b),
    ("ticks_diff", lambda a, b: a - b),
):
    if not hasattr(time, _name):
        setattr(time, _name, _ticks)

CONFIG_FILE = "config.json"
# fields of broker.tls, each the name of a file beside the config
CERTIFICATE_FIELDS = ("ca", "cert", "key")
_SECRETS = {"password", "secret", "token"}
_HIDDEN = "********"
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|(\d+)")


def default_config(target: Board) -> dict[str, Any]:
    """What a new board gets: all that it can measure and switch by itself."""
    return {
        "sensors": [{"kind": kind, "period": 10} for kind in target.readings],
        "actuators": [{"name": name, "pin": name} for name in target.outputs],
        "health": 60,
    }


def parse_config(text: str, where: str) -> dict[str, Any]:
    """Raises UserError where it is no JSON object."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{where}: expected an object with device and broker")
    return found


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """`key=value`; the value is JSON where it can be read so, else text. Raises UserError."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise UserError(
            f"--set {assignment.split('=')[0]}: expected key=value, such as broker.host=192.168.1.10"
        )
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text


def set_field(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a field, such as `wifi.ssid` or `sensors[0].period`; None takes it away. Raises UserError.

    A string goes where a string was: a password of digits stays text.
    """
    steps = _steps(key)
    found: Any = config
    for step, following in zip(steps, steps[1:]):
        new: Any = [] if isinstance(following, int) else {}
        if isinstance(step, int):
            found = _at(found, step, key, new)
        else:
            _object(found, key)
            if not isinstance(found.get(step), (dict, list)):
                found[step] = new
            found = found[step]
    last = steps[-1]
    if isinstance(last, int):
        _at(found, last, key, None)
        found[last] = value
        if value is None:
            del found[last]
        return
    _object(found, key)
    if last in ("ssid", "password", "user", "device") and isinstance(value, (int, float)):
        value = str(value)
    found[last] = value
    if value is None:
        del found[last]


def _steps(key: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in key.split("."):
        matches = list(_STEP.finditer(part))
        if not part or "".join(match[0] for match in matches) != part:
            raise UserError(f"--set {key}: expected a path such as broker.host or sensors[0].period")
        for match in matches:
            steps.append(match[1] if match[1] else int(match[2] or match[3]))
    return steps


def _object(found: Any, key: str) -> None:
    if not isinstance(found, dict):
        raise UserError(f"--set {key}: what it goes into is not an object")


def _at(found: Any, index: int, key: str, new: Any) -> Any:
    if not isinstance(found, list) or index > len(found):
        raise UserError(f"--set {key}: there is no entry {index} and none before it")
    if index == len(found):
        found.append(new)
    return found[index]


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, object by object; where both have a value, that of `above`."""
    made = copy.deepcopy(dict(below))
    for field, value in above.items():
        if isinstance(value, Mapping) and isinstance(made.get(field), Mapping):
            made[field] = merge(made[field], value)
        else:
            made[field] = copy.deepcopy(value)
    return made


def validate(config: dict[str, Any], files: Mapping[str, bytes], target: Board) -> None:
    """Refuse what the device would refuse. `files` are beside the config. Raises UserError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG_FILE
        path.write_text(json.dumps(config))
        for name, data in files.items():
            (Path(folder) / Path(name).name).write_bytes(data)
        try:
            device_config.load(str(path), target.pins)
        except device_config.ConfigError as error:
            raise UserError(str(error).removeprefix(f"{folder}/")) from error
        _pair(Path(folder), config)


def _pair(folder: Path, config: dict[str, Any]) -> None:
    """The certificates are such, and the key is that of the certificate."""
    tls = config.get("broker", {}).get("tls") or {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for field in CERTIFICATE_FIELDS[:2]:
        name = tls.get(field)
        if not name or b"-----BEGIN " not in (folder / name).read_bytes():
            continue  # DER, which the device takes and this Python does not read
        try:
            if field == "ca":
                context.load_verify_locations(folder / name)
            else:
                context.load_cert_chain(folder / name, folder / tls["key"], password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            what = "its key is not the one" if "MISMATCH" in str(error) else "not one that can be read"
            raise UserError(f"broker.tls.{field}: {what}: {error}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted, and a device can't ask for its password")


def redact_secrets(config: Any, field: str = "") -> Any:
    """The same without secrets, to be printed."""
    if isinstance(config, dict):
        return {name: redact_secrets(value, name) for name, value in config.items()}
    if isinstance(config, list):
        return [redact_secrets(value) for value in config]
    return _HIDDEN if field in _SECRETS and config else config
