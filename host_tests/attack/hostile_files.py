"""Hostile files and folders at the place of a file that a command reads or writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from host_tests.attack.hostile_text import PATHS, TERMINAL_TEXTS
from host_tests.attack.sandbox import Sandbox

Make = Callable[[Sandbox, str], Path]
_EVIL = "".join(TERMINAL_TEXTS)
_HUGE = 16 << 30  # bytes; a sparse file takes no space


def _content(data: bytes) -> Make:
    def make(sandbox: Sandbox, name: str) -> Path:
        path = sandbox.work / name
        path.write_bytes(data)
        return path

    return make


def _fifo(sandbox: Sandbox, name: str) -> Path:
    path = sandbox.work / name
    os.mkfifo(path)
    return path


def _folder(sandbox: Sandbox, name: str) -> Path:
    path = sandbox.work / name
    path.mkdir()
    (path / "mine.txt").write_text("mine")
    return path


def _link(target: str) -> Make:
    def make(sandbox: Sandbox, name: str) -> Path:
        path = sandbox.work / name
        path.symlink_to(sandbox.root / target)
        return path

    return make


def _loop(sandbox: Sandbox, name: str) -> Path:
    path = sandbox.work / name
    path.symlink_to(path)
    return path


def _huge(sandbox: Sandbox, name: str) -> Path:
    path = sandbox.work / name
    with path.open("wb") as file:
        file.truncate(_HUGE)
    return path


def _missing(sandbox: Sandbox, name: str) -> Path:
    return sandbox.work / name


def _named(name: str) -> Make:
    def make(sandbox: Sandbox, _: str) -> Path:
        path = sandbox.work / name
        path.write_text(_EVIL, errors="replace")
        return path

    return make


# what stands at the place of a file
KINDS: dict[str, Make] = {
    "is missing": _missing,
    "is empty": _content(b""),
    "is a folder": _folder,
    "is a FIFO": _fifo,
    "is a device without end": lambda sandbox, name: Path("/dev/zero"),
    "is a symlink to a file of the user": _link("outside/config.json"),
    "is a symlink to a private key": _link("home/.ssh/id_ed25519"),
    "is a symlink to a folder of the user": _link("outside/folder"),
    "is a symlink to nothing": _link("outside/new"),
    "is a symlink to itself": _loop,
    "is gigantic": _huge,
    "has NUL bytes": _content(bytes(1000)),
    "has escape sequences": _content(_EVIL.encode(errors="replace")),
    "is UTF-16": _content('device = "a"'.encode("utf-16")),
    "is Latin-1": _content('{"device": "K\xfcche"}'.encode("latin-1")),
    "has a BOM": _content(b"\xef\xbb\xbf{}"),
    "has duplicate keys": _content(b'{"device": "a", "device": "b"}'),
    "is nested deeply": _content(b"[" * 200000),
    "is nested deeply as TOML": _content(b"a = " + b"[" * 20000),
    "has numbers out of range": _content(b'{"a": 7e999, "b": NaN, "c": ' + b"9" * 5000 + b"}"),
    "is random": _content(bytes(range(256)) * 64),
    "has a name with escape sequences": _named("\x1b]0;OWNED\x07\x9b31m[red].json"),
}

_HEAD = 'name = "{name}"\ncount = {count}\nboard = "{board}"\n'
_BROKER = '[broker]\nhost = "{host}"\ntls = {tls}\n'


def _toml(text: str) -> str:
    """Return the content of a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped)


def fleet_description(
    name: str = "dev-{number}",
    host: str = "127.0.0.1",
    tls: str = "true",
    count: str = "2",
    board: str = "esp32",
    more: str = "",
) -> str:
    """Return a fleet.toml; `more` is text at its end."""
    credentials = "[credentials]\npassword = true\ncertificate = true\n" if tls == "true" else ""
    wifi = '[wifi]\nssid = "home"\npassword = "change me"\n'
    return (
        _HEAD.format(name=_toml(name), count=count, board=_toml(board))
        + _BROKER.format(host=_toml(host), tls=tls)
        + wifi
        + credentials
        + more
    )


# fleet.toml: files that are TOML, but hostile
FLEETS: dict[str, str] = {
    **{f"host is path {n}": fleet_description(host=path) for n, path in enumerate(PATHS)},
    **{f"name is path {n}": fleet_description(name=path + "{number}") for n, path in enumerate(PATHS)},
    **{
        f"device is path {n}": fleet_description(more=f'[[devices]]\nname = "{_toml(path)}"\n')
        for n, path in enumerate(PATHS)
    },
    **{f"board is path {n}": fleet_description(board=path) for n, path in enumerate(PATHS)},
    **{
        f"text {n} everywhere": fleet_description(text + "{number}", text, board=text)
        for n, text in enumerate(TERMINAL_TEXTS)
    },
    "CA is a file of the user": fleet_description().replace(
        "tls = true", 'tls = true\nca = "../outside/folder/ca.key"'
    ),
    "CA is a device without end": fleet_description().replace("tls = true", 'tls = true\nca = "/dev/zero"'),
    "names differ by case": fleet_description(more='[[devices]]\nname = "A"\n[[devices]]\nname = "a"\n'),
    "name of a format": fleet_description(name="{number.__class__.__mro__}"),
    "name with a large width": fleet_description(name="{number:0999999999}"),
    "name of a large width": fleet_description(name="{number:>{number}}"),
    "reserved names": fleet_description(
        more="".join(
            f'[[devices]]\nname = "{name}"\n' for name in ("CON", "nul", "com1", "broker", "dashboard")
        )
    ),
    "duplicate keys": fleet_description() + 'host = "b"\n[broker]\nhost = "c"\n',
    "many devices": fleet_description(count="99999999999999999999"),
    "number is not finite": fleet_description(more="[[devices]]\nnumber = 1\nhealth = nan\n"),
    "tables instead of values": "name = {}\ncount = []\nboard = {}\nbroker = 1\n",
    "long name": fleet_description(name="x" * 100000 + "{number}"),
}

# .umqtt5-fleet.json, passwords.json, state.json: content that names other files
LISTS: dict[str, bytes] = {
    "escapes its folder": b'{"../../outside": ["config.json"], "dev-1": ["../../outside/config.json"]}',
    "is absolute": b'{"/tmp/owned": ["x"]}',
    "is a symlink's folder": b'{"link": ["config.json"]}',
    "has wrong types": b'{"dev-1": {"config.json": 1}, "x": 7}',
    "is a list": b"[1, 2]",
    "is nested deeply": b"[" * 200000,
    "has escape sequences": ('{"' + "\\u001b]0;OWNED" + '": ["x"]}').encode(),
    "has duplicate keys": b'{"dev-1": [], "dev-1": ["config.json"]}',
    "is UTF-16": '{"dev-1": []}'.encode("utf-16"),
    "has infinite numbers": b'{"dev-1": {"flashed": 1e999, "outfit": NaN}}',
}
