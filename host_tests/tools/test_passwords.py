"""The password of a broker: where the commands find it, and that no command line shows it."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from host_tests.command_lines import environment, run_and_watch
from host_tests.conftest import require_mosquitto
from tools import broker, credentials
from tools.broker import Address
from tools.errors import UserError
from tools.fleet import mosquitto_config
from tools.paths import ROOT

# make and the shell alter each of these characters, if they get the text
PASSWORD = "a$b'c\"d\\ e#f%g`h*ü"
USER = "me@home"
TOOLS = (sys.executable, "-m", "tools")
MONITOR = (*TOOLS, "monitor", "--seconds", "1", "--broker")
# a keyring in a file, for computers without one
_KEYRING = """
import json, os
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

class FileKeyring(KeyringBackend):
    priority = 1

    def _entries(self):
        path = os.environ["KEYRING_FILE"]
        return json.load(open(path)) if os.path.exists(path) else {}

    def _write(self, entries):
        json.dump(entries, open(os.environ["KEYRING_FILE"], "w"))

    def get_password(self, service, user):
        return self._entries().get(service + " " + user)

    def set_password(self, service, user, password):
        self._write({**self._entries(), service + " " + user: password})

    def delete_password(self, service, user):
        entries = self._entries()
        if not entries.pop(service + " " + user, None):
            raise PasswordDeleteError
        self._write(entries)
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A mosquitto that requires USER and PASSWORD."""
    require_mosquitto()
    file = tmp_path_factory.mktemp("mosquitto") / "passwords"
    file.write_text(mosquitto_config.render_password_file({USER: PASSWORD}, ""), encoding="utf-8")
    with broker.Mosquitto(f"password_file {file}", anonymous=False) as running:
        yield running.address


@pytest.fixture
def url(address: Address) -> str:
    return f"mqtt://me%40home@{address.host}:{address.port}"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "my password's file"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("source", ["environment", "file"])
@pytest.mark.parametrize("program", ["make", "tools"])
def test_a_password_reaches_the_broker_unaltered_and_no_command_line_shows_it(
    program: str, source: str, url: str, password_file: Path
) -> None:
    options = f'--password-file "{password_file}"' if source == "file" else ""
    more = {} if source == "file" else {"MQTT_PASSWORD": PASSWORD}
    command: list[object] = ["make", "monitor", f"BROKER={url}", f"ARGS=--seconds 1 {options}"]
    if program == "tools":
        command = [*MONITOR, url]
        command += ["--password-file", password_file] if source == "file" else []
    output, seen = run_and_watch(command, **more)
    assert any("tools\0monitor" in line for line in seen)
    assert PASSWORD not in output and not any('c"d' in line for line in seen)
    refused, _ = run_and_watch([*MONITOR, url], 1, MQTT_PASSWORD="wrong")  # so the test notices a wrong one
    assert "ot authorized" in refused


@pytest.mark.parametrize("command", ["doctor", "monitor", "demo", "update", "fleet"])
def test_each_command_that_takes_a_broker_finds_the_password(
    command: str, url: str, password_file: Path, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("00" * 32)
    report = tmp_path / "report.json"
    words: list[object] = {
        "doctor": ["doctor"],
        "monitor": ["monitor", "--seconds", 1],
        "demo": ["demo", "--seconds", 8],
        "update": ["update", "no-such-device", "--board", "host", "--key", key, "--timeout", 1],
        "fleet": ["fleet", "run", "--count", 1, "--seconds", 1, "--report", report],
    }[command]
    code = 1 if command == "update" else 0  # the device does not exist
    output, seen = run_and_watch([*TOOLS, *words, "--broker", url, "--password-file", password_file], code)
    assert "ot authorized" not in output and "refuses" not in output, output
    if command == "update":
        assert "publishes no update state" in output
    assert PASSWORD not in output and not any('c"d' in line for line in seen)
    wrong, _ = run_and_watch([*TOOLS, *words, "--broker", url], 1, MQTT_PASSWORD="wrong")
    assert "ot authorized" in wrong or "refuses" in wrong


@pytest.mark.parametrize(
    "secret", ["hunter2", "hun@ter2", "hun:ter2", "hun/ter2#?", "%zzhunter2", "[hunter2", "hun ter2", ""]
)
def test_a_url_with_a_password_is_refused_and_not_repeated(secret: str) -> None:
    for url in (f"mqtt://me:{secret}@h:1", f"mqtts://me:{secret}@h", f"me:{secret}@h", f"://me:{secret}@h"):
        with pytest.raises(UserError) as caught:
            broker.parse_url(url)
        text = str(caught.value)
        assert "hun" not in text and "ter2" not in text
        assert not url.startswith("mqtt") or ("MQTT_PASSWORD" in text and "--password-file" in text)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("command", ["doctor", "monitor", "demo", "update x", "fleet run", "password"])
def test_each_command_refuses_a_url_with_a_password(command: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("00" * 32)
    more = {"update x": ["--key", key], "fleet run": ["--count", 1]}.get(command, [])
    output, _ = run_and_watch(
        [*TOOLS, *command.split(), *more, "--broker", "mqtt://me:hunter2@127.0.0.1:1"], 1
    )
    assert "hunter2" not in output and "MQTT_PASSWORD" in output


@pytest.mark.parametrize("target", ["monitor", "doctor", "demo", "fleet", "update", "help"])
def test_make_starts_no_program_with_a_password_in_the_url(target: str) -> None:
    output, seen = run_and_watch(["make", target, "DEVICE=x", "BROKER=mqtt://me:hunter2@localhost"], 2)
    assert "hunter2" not in output and "docs/passwords.md" in output
    assert not [line for line in seen if "hunter2" in line and not line.startswith("make")]


def ask_in_terminal(command: Sequence[object], answer: str, **more: str) -> str:
    """Run a command in a pseudo-terminal, answer its question for a password, and return the screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, [str(word) for word in command], environment(**more))
    shown, answered = b"", False
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            data = os.read(terminal, 65536)
        except OSError:
            break
        shown += data
        if not answered and b"Password" in shown:
            os.write(terminal, answer.encode() + b"\n")
            answered = True
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown.decode(errors="replace")


def test_in_a_terminal_the_password_is_asked_for_and_not_shown(url: str) -> None:
    shown = ask_in_terminal([*TOOLS, "doctor", "--broker", url], PASSWORD)
    assert f"Password of {USER} at mqtt://127.0.0.1" in shown
    assert f"accepts the connection as {USER}" in shown and PASSWORD not in shown and 'c"d' not in shown


def test_the_keyring_stores_and_deletes_a_password(url: str, tmp_path: Path, password_file: Path) -> None:
    (tmp_path / "file_keyring.py").write_text(_KEYRING)
    more = {
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "PYTHON_KEYRING_BACKEND": "file_keyring.FileKeyring",
        "KEYRING_FILE": str(tmp_path / "keyring.json"),
    }
    shown = ask_in_terminal([*TOOLS, "password", "--broker", url], PASSWORD, **more)
    assert "is stored in the keyring" in shown and PASSWORD not in shown
    run_and_watch([*MONITOR, url], **more)
    # a password that is given in another way has precedence
    run_and_watch([*MONITOR, url], 1, MQTT_PASSWORD="wrong", **more)
    assert "is deleted" in run_and_watch([*TOOLS, "password", "--broker", url, "--delete"], **more)[0]
    assert "has no password" in run_and_watch([*TOOLS, "password", "--broker", url, "--delete"], 1, **more)[0]
    run_and_watch([*MONITOR, url], 1, **more)
    run_and_watch([*TOOLS, "password", "--broker", url, "--password-file", password_file], **more)
    run_and_watch([*MONITOR, url], **more)


def test_a_computer_without_a_keyring_says_so(url: str) -> None:
    more = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    output, _ = run_and_watch([*TOOLS, "password", "--broker", url, "--password-file", os.devnull], 1, **more)
    assert "/dev/null: not a regular file" in output
    output, _ = run_and_watch([*TOOLS, "password", "--broker", url, "--delete"], 1, **more)
    assert "no keyring" in output and "--password-file" in output
    assert "Not authorized" in run_and_watch([*MONITOR, url], 1, **more)[0]


def test_a_password_file_has_one_line_and_needs_a_user(tmp_path: Path) -> None:
    path = tmp_path / "password"
    for content in (b"", b"\n", b"a\nb\n", b"\xff\xfea\0", b"gr\xfc\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=re.escape(str(path))) as caught:
            credentials.resolve_broker("mqtt://me@localhost", path)
        assert "gr" not in str(caught.value) and caught.value.__cause__ is None
    path.write_bytes(b"\xef\xbb\xbf blank at both ends \r\n")
    assert credentials.resolve_broker("mqtt://me@localhost", path).password == " blank at both ends "
    with pytest.raises(UserError, match="no user"):
        credentials.resolve_broker("mqtt://localhost", path)
    with pytest.raises(UserError, match="No such file"):
        credentials.resolve_broker("mqtt://me@localhost", tmp_path / "missing")


def test_a_password_is_removed_from_the_environment_and_not_sent_without_a_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", "secret")
    assert credentials.resolve_broker("mqtt://localhost").password is None
    found = credentials.resolve_broker("mqtt://me@localhost")
    assert found.password == "secret" and "secret" not in repr(found)
    assert "MQTT_PASSWORD" not in os.environ  # so programs that the command starts do not have it


@pytest.mark.parametrize(
    "url, is_warned",
    [
        ("mqtt://me@localhost", False),
        ("mqtt://me@127.0.0.1", False),
        ("mqtt://me@127.8.8.8", False),
        ("mqtt://me@[::1]", False),
        ("mqtts://me@192.0.2.1", False),
        ("mqtt://192.0.2.1", False),
        ("mqtt://me@192.0.2.1", True),
        ("mqtt://me@broker.local", True),
        ("mqtt://me@localhost.example.com", True),
        ("mqtt://me@[fe80::1%25eth0]", True),
    ],
)
def test_a_password_over_plain_tcp_to_another_computer_is_a_warning(
    url: str, is_warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", "secret")
    credentials.resolve_broker(url)
    error = capsys.readouterr().err
    assert ("without encryption" in error and "mqtts://" in error) is is_warned
    assert "secret" not in error
