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
from tools.errors import Problem

# the kinds of actuators import these when a config that names them is checked
for _name, _ticks in (
    ("ticks_ms", lambda: time.monotonic_ns() // 1_000_000),
    ("ticks_add", lambda a, b: a + b),
    ("ticks_diff", lambda a, b: a - b),
):
    if not hasattr(time, _name):
        setattr(time, _name, _ticks)

CONFIG = "config.json"
# fields of broker.tls, each the name of a file beside the config
CERTIFICATES = ("ca", "cert", "key")
_SECRETS = {"password", "secret", "token"}
_HIDDEN = "********"
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|(\d+)")


def starting(target: Board) -> dict[str, Any]:
    """What a new board gets: all that it can measure and switch by itself."""
    return {
        "sensors": [{"kind": kind, "period": 10} for kind in target.readings],
        "actuators": [{"name": name, "pin": name} for name in target.outputs],
        "health": 60,
    }


def parse(text: str, where: str) -> dict[str, Any]:
    """Raises Problem where it is no JSON object."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Problem(f"{where}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Problem(f"{where}: expected an object with device and broker")
    return found


def split(assignment: str) -> tuple[str, Any]:
    """`key=value`; the value is JSON where it can be read so, else text. Raises Problem."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise Problem(
            f"--set {assignment.split('=')[0]}: expected key=value, such as broker.host=192.168.1.10"
        )
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text


def change(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set a field, such as `wifi.ssid` or `sensors[0].period`; None takes it away. Raises Problem.

    A string goes where a string was: a password of digits stays text.
    """
    steps = _steps(key)
    found: Any = settings
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
            raise Problem(f"--set {key}: expected a path such as broker.host or sensors[0].period")
        for match in matches:
            steps.append(match[1] if match[1] else int(match[2] or match[3]))
    return steps


def _object(found: Any, key: str) -> None:
    if not isinstance(found, dict):
        raise Problem(f"--set {key}: what it goes into is not an object")


def _at(found: Any, index: int, key: str, new: Any) -> Any:
    if not isinstance(found, list) or index > len(found):
        raise Problem(f"--set {key}: there is no entry {index} and none before it")
    if index == len(found):
        found.append(new)
    return found[index]


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, object by object; where both have a value, that of `above`."""
    made = copy.deepcopy(dict(below))
    for field, value in above.items():
        if isinstance(value, Mapping) and isinstance(made.get(field), Mapping):
            made[field] = merged(made[field], value)
        else:
            made[field] = copy.deepcopy(value)
    return made


def check(settings: dict[str, Any], files: Mapping[str, bytes], target: Board) -> None:
    """Refuse what the device would refuse. `files` are beside the config. Raises Problem."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG
        path.write_text(json.dumps(settings))
        for name, data in files.items():
            (Path(folder) / Path(name).name).write_bytes(data)
        try:
            device_config.load(str(path), target.pins)
        except device_config.ConfigError as error:
            raise Problem(str(error).removeprefix(f"{folder}/")) from error
        _pair(Path(folder), settings)


def _pair(folder: Path, settings: dict[str, Any]) -> None:
    """The certificates are such, and the key is that of the certificate."""
    tls = settings.get("broker", {}).get("tls") or {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for field in CERTIFICATES[:2]:
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
            raise Problem(f"broker.tls.{field}: {what}: {error}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted, and a device can't ask for its password")


def shown(settings: Any, field: str = "") -> Any:
    """The same without secrets, to be printed."""
    if isinstance(settings, dict):
        return {name: shown(value, name) for name, value in settings.items()}
    if isinstance(settings, list):
        return [shown(value) for value in settings]
    return _HIDDEN if field in _SECRETS and settings else settings
