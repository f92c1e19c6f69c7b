"""Files from outside are UTF-8 on every platform, and a key occurs once; errors say where they are not."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import text_files, update
from tools.device_config.config import parse_config
from tools.errors import UserError
from tools.fleet import description
from tools.fleet.store import FleetStore
from tools.paths import ROOT

# code that runs in MicroPython, whose files are always UTF-8
_ON_MICROPYTHON = ("tools/bench/vm/", "tools/board/on_board/", "tools/heap/vm/")
_FLEET = 'count = 1\nboard = "host"\n[broker]\nhost = "b"\n'

CONTENTS = [
    (b"\xff\xfea\0\n\0", "is UTF-16. Save it as UTF-8"),
    (b"\xfe\xff\0a\0\n", "is UTF-16. Save it as UTF-8"),
    (b"\xff\xfe\0\0a\0\0\0", "is UTF-32. Save it as UTF-8"),
    ("ab\n# Grün\n".encode("latin-1"), "not UTF-8 in line 2, byte 5 (0xfc). Save it as UTF-8"),
    ("# Grün – \x80\n".encode("cp1252", "replace"), "not UTF-8 in line 1, byte 5 (0xfc)"),
    (b"\n\n" + "käse".encode()[:2], "not UTF-8 in line 3, byte 2 (0xc3)"),
    ("# a\n# b\n".encode("utf-16-le"), "contains NUL in line 1"),
]


def read_fleet(path: Path) -> object:
    return description.load_fleet(path)


def read_config_file(path: Path) -> object:
    return parse_config(text_files.read_text(path), str(path))


def read_update_key(path: Path) -> object:
    return update._key(path)


@pytest.mark.parametrize("data, words", CONTENTS)
@pytest.mark.parametrize("read", [read_fleet, read_config_file, read_update_key])
def test_another_encoding_is_reported_with_its_place(
    data: bytes, words: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "settings"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {words}") and "\n" not in str(caught.value)
    # an error of Python would have the content, in a traceback, too
    error = caught.value
    assert (error.__context__ is None or error.__suppress_context__) and "Gr" not in str(caught.value)


def test_a_byte_order_mark_and_line_ends_of_windows_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (_FLEET + 'prefix = "x"\n').replace("\n", "\r\n").encode())
    with pytest.raises(UserError, match="broker.prefix: unknown"):
        description.load_fleet(path)
    path.write_bytes(b"\xef\xbb\xbf" + _FLEET.replace("\n", "\r\n").encode())
    assert description.load_fleet(path).broker.host == "b"


@pytest.mark.parametrize(
    "addition",
    [
        'host = "c"',
        '"host" = "c"',
        "[broker]\nport = 1",
        "[[broker]]\nport = 1",
        "[wifi]\nssid = 'a'\nssid = 'b'",
        "[wifi]\nssid = 'a'\n[credentials]\npassword = true\n[wifi]\npassword = 'x'",
        "[broker.host]\nport = 1",
        "host.x = 1",
        "[[devices]]\nname = 'x'\nname = 'y'",
        "[[sensors]]\nkind = 'load'\nx = {a = 1, a = 2}",
    ],
)
def test_a_duplicate_key_in_toml_is_an_error_with_its_line(addition: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(_FLEET + addition + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        description.load_fleet(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: a key occurs twice") and "line " in text


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"b": [{"a": 1, "\\u0061": 1}]}'])
def test_a_duplicate_key_in_json_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="f: not valid JSON: the key 'a' occurs twice, remove one"):
        text_files.parse_json(text, "f")
    with pytest.raises(UserError, match="f: .*occurs twice"):
        parse_config(text, "f")
    private = tmp_path / "fleet.private"
    FleetStore(private).get_passwords(["a"])
    for name in ("passwords.json", "state.json"):
        (private / name).write_text(text)
        with pytest.raises(UserError, match=f"{name} cannot be read: .*occurs twice"):
            FleetStore(private)
        (private / name).write_text("{}")


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 1000, "1e", '{"a": }', ""])
def test_text_that_is_not_json_or_toml_is_an_error_without_a_traceback(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not valid JSON"):
        text_files.parse_json(text, "f")
    path = tmp_path / "f.toml"
    path.write_text(text + "= [" * 5000)
    with pytest.raises(UserError, match="not valid TOML"):
        text_files.read_toml(path)


def _unsafe_calls(path: Path) -> list[int]:
    """Return the lines that read or write text with the encoding of the system."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        words = [ast.literal_eval(arg) for arg in node.args if isinstance(arg, ast.Constant)]
        owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
        if name in ("read_text", "write_text"):
            is_unsafe = owner not in ("", "text_files")  # these are ours
        elif name == "open":
            modes = [word for word in words if isinstance(word, str) and len(word) < 4]
            is_unsafe = owner not in ("os", "webbrowser", "serial_port") and not any(
                "b" in mode for mode in modes
            )
        else:
            is_unsafe = "True" in (keywords.get("text"), keywords.get("universal_newlines"))
        if is_unsafe and not keywords.keys() & {"encoding", None}:
            lines.append(node.lineno)
    return lines


def test_no_tool_uses_the_encoding_of_the_system(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "open('a')\npath.open('w')\nopen(p, 'rb')\npath.read_text()\npath.write_text('a')\n"
        "subprocess.run(c, text=True)\nopen('a', encoding='utf-8')\n"
    )
    assert _unsafe_calls(bad) == [1, 2, 4, 5, 6]
    for path in sorted((ROOT / "tools").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(_ON_MICROPYTHON):
            assert not _unsafe_calls(path), f"{name}: lines {_unsafe_calls(path)} have no encoding"


def test_a_fleet_with_umlauts_is_the_same_in_each_locale(tmp_path: Path) -> None:
    """With the C locale and without the UTF-8 mode, the encoding of the system is ASCII."""
    path = tmp_path / "fleet.toml"
    ssid = "Gärtnerei ☃ 🌱"
    path.write_text(
        f'name = "gh-{{number}}"\ncount = 1\nboard = "esp32"\n[broker]\nhost = "b"\n[wifi]\nssid = "{ssid}"\n'
        'password = "schlüssel☃"\n',
        encoding="utf-8",
    )
    options = ["--file", str(path), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "tools", "fleet", "generate", *options],
        cwd=ROOT,
        env=dict(os.environ, LC_ALL="C", PYTHONCOERCECLOCALE="0"),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    config = json.loads((tmp_path / "out" / "gh-1" / "config.json").read_bytes())
    assert config["wifi"] == {"ssid": ssid, "password": "schlüssel☃"}


@pytest.mark.parametrize(
    "lines",
    [
        'wifi = "hunter2"',
        'wifi = ["home", "hunter2"]',
        '[wifi]\nssid = "home"\npassword = ["hunter2"]',
        '[wifi]\nssid = ["hunter2"]',
        '[wifi]\nssid = "home"\npasswort = "hunter2"',
        f'[wifi]\nssid = "home"\npassword = "{"hunter2" * 20}"',
        '[[devices]]\nnumber = 1\nwifi = "hunter2"',
        '[[devices]]\nnumber = 1\nwifi = {ssid = 1, password = "hunter2"}',
        '[[devices]]\nnumber = "1"\nwifi = {ssid = "a", passwort = "hunter2"}',
        '[wifi]\nssid = "home"\npassword = "hunter2',
        '[wifi]\nssid = "home"\npassword = "hunter2" x',
        '[wifi]\nssid = "home"\npassword = hunter2',
        'devices = {wifi = {password = "hunter2"}}',
    ],
)
def test_no_error_in_a_fleet_file_repeats_a_password(lines: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text('count = 1\nboard = "esp32"\nbroker = {host = "b"}\n' + lines + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        description.load_fleet(path)
    error: BaseException | None = caught.value
    while error:  # the causes are in a traceback
        assert "hunter2" not in str(error), repr(error)
        error = error.__cause__ or error.__context__
