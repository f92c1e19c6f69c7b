"""Reads, changes and validates `config.json` of a device, with the validation of the device application."""

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

import umqtt5  # noqa: F401  adds the names of MicroPython that the device application imports
from actuators import schema as actuator_schema
from app.config import config as app_config
from app.config import schema
from app.config_text import check as check_json
from sensors import load_module
from sensors import schema as sensor_schema
from tools.board.definition import Board
from tools.errors import UserError
from tools.file_names import require_bare_name
from tools.heap.estimate import check_heap

# modules of actuators import these from `time`, and the validation imports the modules
for _name, _ticks in (
    ("ticks_ms", lambda: time.monotonic_ns() // 1_000_000),
    ("ticks_add", lambda a, b: a + b),
    ("ticks_diff", lambda a, b: a - b),
):
    if not hasattr(time, _name):
        setattr(time, _name, _ticks)

CONFIG_FILE = "config.json"
CERTIFICATE_FIELDS = ("ca", "cert", "key")  # fields of broker.tls; each names a file beside config.json
_SECRET_FIELDS = {"password", "secret", "token"}
_UPDATE_KEY = "update.key"  # `broker.tls.key` is the name of a file
_REDACTED = "********"
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|(\d+)")


def default_config(board: Board) -> dict[str, Any]:
    """Return the config of a new device: all built-in sensors and all outputs of the board."""
    return {
        "sensors": [{"kind": kind, "period": 10} for kind in board.readings],
        "actuators": [{"name": name, "pin": name} for name in board.outputs],
        "health": 60,
    }


def parse_config(text: str, file: str) -> dict[str, Any]:
    """Parse a config. Raises UserError, with the name `file`, if it is not a JSON object."""
    try:
        check_json(text.encode(errors="surrogatepass"))
    except ValueError as error:
        raise UserError(f"{file}: {error}{_find_json_error(text)}") from error
    config = json.loads(text)
    if not isinstance(config, dict):
        raise UserError(f"{file}: expected an object with device and broker")
    return config


def _find_json_error(text: str) -> str:
    """Return what the parser of CPython says about a text that is not JSON, "" if it accepts the text."""
    try:
        json.loads(text)
    except ValueError as error:
        return f": {error}"
    return ""


def format_config(config: Mapping[str, Any], indent: int | None = None) -> bytes:
    """Return `config.json`. Escapes are avoided, because MicroPython decodes those of emojis wrongly."""
    text = json.dumps(config, indent=indent, ensure_ascii=False)
    return text.encode(errors="surrogatepass")  # the validation reports lone surrogates


def parse_assignment(assignment: str, config: Mapping[str, Any], is_hidden: bool = False) -> tuple[str, Any]:
    """Split `key=value`, and convert the value to the type of the field. Raises UserError.

    In a field that holds text, such as a password, every value is text. `key=` without a value deletes the
    field. `config` is the config so far: the kind of a sensor or an actuator determines its fields. With
    `is_hidden` an error does not contain the value.
    """
    key, equals, text = assignment.partition("=")
    if not equals and is_secret(key):
        raise UserError(
            f"--set {key}: there is no terminal to ask in. Use --set-file {key}=FILE, or "
            f"--set-env {key}=VARIABLE"
        )
    if not equals or not key:
        raise UserError(f"--set {key}: expected key=value, for example broker.host=192.168.1.10")
    if not text:
        return key, None
    kind, expected = _field_type(key, config)
    if kind is str:
        return key, text
    if text == "null":
        return key, None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        if kind in (None, object):
            return key, text
        value = None
    wanted = (int, float) if kind is float else kind
    if wanted not in (None, object):
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            shown = _REDACTED if is_hidden or is_secret(key) else text
            raise UserError(f"--set {key}: {shown}, expected {expected}")
    return key, value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def is_secret(path: str) -> bool:
    """Return whether the field with this path, such as `wifi.password`, must not be shown."""
    return path.rpartition(".")[2] in _SECRET_FIELDS or path == _UPDATE_KEY


def _field_type(key: str, config: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the type of a field and the description of its values; (None, "") if the field is unknown."""
    steps = _parse_path(key)
    fields: Any
    if steps[0] in ("sensors", "actuators") and len(steps) == 3 and isinstance(steps[1], int):
        entries = config.get(str(steps[0]))
        entry = entries[steps[1]] if isinstance(entries, list) and steps[1] < len(entries) else {}
        kind = entry.get("kind") if isinstance(entry, dict) else None
        fields = _kind_fields(str(steps[0]), kind)
    else:
        names = [str(step) for step in steps]
        fields = schema.FIELDS.get("".join(f"{name}." for name in names[:-1]), {})
    found = fields.get(steps[-1])
    return (found[0], found[4]) if found else (None, "")


def _kind_fields(group: str, kind: Any) -> Mapping[str, Any]:
    """Return the fields of a kind of sensor or actuator, those of all kinds if it is not known."""
    if group == "actuators":
        fields: dict[str, Any] = actuator_schema.FIELDS
        return dict(fields.get(kind or "switch", fields["switch"]))
    try:
        return dict(load_module(kind).FIELDS) if isinstance(kind, str) else dict(sensor_schema.FIELDS)
    except (ImportError, AttributeError, ValueError):
        return dict(sensor_schema.FIELDS)


def set_field(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a field by its path, such as `wifi.ssid` or `sensors[0].period`. None deletes the field.

    Missing objects and lists are created. Raises UserError.
    """
    steps = _parse_path(key)
    parent: Any = config
    for step, following in zip(steps, steps[1:]):
        new: Any = [] if isinstance(following, int) else {}
        if isinstance(step, int):
            parent = _list_entry(parent, step, key, new)
        else:
            _check_is_object(parent, key)
            if not isinstance(parent.get(step), (dict, list)):
                parent[step] = new
            parent = parent[step]
    last = steps[-1]
    if isinstance(last, int):
        _list_entry(parent, last, key, None)
    else:
        _check_is_object(parent, key)
    parent[last] = value
    if value is None:
        del parent[last]


def _parse_path(key: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in key.split("."):
        matches = list(_STEP.finditer(part))
        if not part or "".join(match[0] for match in matches) != part:
            raise UserError(f"--set {key}: expected a path such as broker.host or sensors[0].period")
        for match in matches:
            steps.append(match[1] if match[1] else int(match[2] or match[3]))
    return steps


def _check_is_object(parent: Any, key: str) -> None:
    if not isinstance(parent, dict):
        raise UserError(f"--set {key}: a field in this path is not an object")


def _list_entry(parent: Any, index: int, key: str, new: Any) -> Any:
    """Return an entry of a list. The index after the last entry appends `new`."""
    if not isinstance(parent, list) or index > len(parent):
        raise UserError(f"--set {key}: there is no entry {index}; only the next entry of a list can be added")
    if index == len(parent):
        parent.append(new)
    return parent[index]


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the fields of `changes`. Objects are merged, all other values are replaced."""
    merged = copy.deepcopy(dict(base))
    for field, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(field), Mapping):
            merged[field] = merge(merged[field], value)
        else:
            merged[field] = copy.deepcopy(value)
    return merged


def validate(
    config: dict[str, Any], files: Mapping[str, bytes], board: Board, heap: int | None = None
) -> str | None:
    """Validate a config as the device does, and check that it fits into the memory of the board.

    `files` are the files beside it, by name. `heap` is the heap of the board in bytes, if it has another
    MicroPython than the stock one. Returns a warning if the memory is nearly full, otherwise None. Raises
    UserError.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG_FILE
        path.write_bytes(format_config(config))
        for name, data in files.items():
            (Path(folder) / require_bare_name(name, CONFIG_FILE)).write_bytes(data)
        _check_file_names(config)
        try:
            checked = app_config.load(str(path), board.pins)
        except app_config.ConfigError as error:
            raise UserError(str(error).removeprefix(f"{folder}/")) from error
        _check_certificates(Path(folder), config)
    return check_heap(checked, board, heap)


def certificate_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `broker.tls` that name a file, in a config that is not validated yet."""
    broker = config.get("broker")
    tls = broker.get("tls") if isinstance(broker, dict) else None
    if not isinstance(tls, dict):
        return {}
    return {field: tls[field] for field in CERTIFICATE_FIELDS if tls.get(field) is not None}


def _check_file_names(config: dict[str, Any]) -> None:
    """Raise UserError if a field of `broker.tls` does not name a file beside config.json."""
    for field, name in certificate_fields(config).items():
        require_bare_name(name, f"{CONFIG_FILE}: broker.tls.{field}")


def _check_certificates(folder: Path, config: dict[str, Any]) -> None:
    """Raise UserError if a certificate is not readable, or the private key does not belong to it.

    DER files are not checked: the device accepts them, but the `ssl` module of CPython cannot read them.
    """
    tls = config.get("broker", {}).get("tls") or {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for field in ("ca", "cert"):
        name = tls.get(field)
        if not name or b"-----BEGIN " not in (folder / name).read_bytes():
            continue
        try:
            if field == "ca":
                context.load_verify_locations(folder / name)
            else:
                context.load_cert_chain(folder / name, folder / tls["key"], password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            is_mismatch = "MISMATCH" in str(error)
            what = "the private key in broker.tls.key belongs to another certificate"
            raise UserError(
                f"broker.tls.{field}: {what if is_mismatch else 'not readable'}: {error}"
            ) from error


def _no_password() -> str:
    raise ValueError("the private key is encrypted, but a device cannot ask for a password")


def redact_secrets(config: Any, path: str = "") -> Any:
    """Return a copy of a config whose passwords and keys are replaced by asterisks, for printing."""
    if isinstance(config, dict):
        return {name: redact_secrets(value, f"{path}.{name}".lstrip(".")) for name, value in config.items()}
    if isinstance(config, list):
        return [redact_secrets(value, path) for value in config]
    return _REDACTED if is_secret(path) and config else config
