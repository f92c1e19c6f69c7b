"""Brokers that run are found by `make monitor`; what is left over from a command that was killed is not."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tools import running_broker
from tools.broker import Address
from tools.console import Console
from tools.errors import UserError
from tools.paths import ROOT
from tools.running_broker import announce, choose_access, find_running, resolve_url

DEMO = Address("127.0.0.1", 20001)
SECRET = Address("127.0.0.1", 20002, "umqtt5", "never print this")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "umqtt5" / "running"


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), soft_wrap=True)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_broker_is_found_until_its_command_ends(home: Path) -> None:
    assert find_running() == []
    with announce("make demo", DEMO, "umqtt5-demo-1"):
        (found,) = find_running()
        assert (found.command, found.access.prefix) == ("make demo", "umqtt5-demo-1")
        assert str(found) == "mqtt://127.0.0.1:20001 of make demo"
    assert find_running() == [] and list(home.iterdir()) == []


def test_what_a_killed_command_leaves_is_removed_even_if_another_process_has_its_id(home: Path) -> None:
    program = (
        "from tools.broker import Address; from tools.running_broker import announce\n"
        "with announce('make demo', Address('127.0.0.1', 20001, 'me', 'secret')):\n"
        "    print('ready', flush=True); input()\n"
    )
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout and child.stdout.readline() == "ready\n"
        assert len(find_running()) == 1
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert len(list(home.iterdir())) == 1
        assert find_running() == []
        assert list(home.iterdir()) == []  # with the password
        child.stdin.close()


def test_an_exception_in_the_command_removes_the_broker_and_is_not_hidden(home: Path) -> None:
    with pytest.raises(OSError, match="the broker"):
        with announce("make demo", DEMO):
            raise OSError("the broker")
    assert list(home.iterdir()) == []


def test_only_the_user_can_read_the_login(home: Path) -> None:
    before = os.umask(0)
    try:
        with announce("make broker", SECRET, None, {"ca.pem": b"a certificate"}) as folder:
            assert folder
            for path in (home, folder, *folder.iterdir()):
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            assert find_running()[0].access.address.password == "never print this"
    finally:
        os.umask(before)


@pytest.mark.parametrize("damage", ["writable", "link", "file"])
def test_a_folder_that_others_can_change_is_not_used(home: Path, damage: str, tmp_path: Path) -> None:
    """Another user could announce a broker there, which would get the commands to the devices."""
    home.parent.mkdir()
    if damage == "link":
        (tmp_path / "theirs").mkdir()
        home.symlink_to(tmp_path / "theirs")
    elif damage == "file":
        home.write_text("")
    else:
        home.mkdir()
        home.chmod(0o777)
    with announce("make demo", DEMO) as folder:
        assert folder is None
        assert find_running() == []


def test_a_damaged_entry_is_ignored(home: Path) -> None:
    with announce("make demo", DEMO) as folder, announce("make fleet", SECRET):
        assert folder
        for text in ("", "{", json.dumps({"host": 5}), json.dumps({"host": "a", "port": 99999})):
            (folder / "dashboard.json").write_text(text)
            assert [one.command for one in find_running()] == ["make fleet"]
        (folder / "dashboard.json").unlink()
        assert [one.command for one in find_running()] == ["make fleet"]


def test_the_newest_broker_is_chosen_and_the_others_are_named(console: Console) -> None:
    with announce("make broker", SECRET) as first, announce("make demo", DEMO, "p"):
        assert first
        os.utime(first / "dashboard.json", (1, 1))
        access = choose_access(None, None, console)
        assert access and (access.address, access.prefix) == (DEMO, "p")
        assert "showing the broker mqtt://127.0.0.1:20001 of make demo" in printed(console)
        assert "also running: mqtt://127.0.0.1:20002 of make broker" in printed(console)
        assert "BROKER=mqtt://127.0.0.1:20002" in printed(console) and "never" not in printed(console)


@pytest.mark.parametrize(
    ("url", "is_found"),
    [
        ("mqtt://127.0.0.1:20002", True),
        ("mqtt://localhost:20002", True),
        ("mqtt://umqtt5@127.0.0.1:20002", True),
        ("mqtt://me@127.0.0.1:20002", False),
        ("mqtts://127.0.0.1:20002", False),
        ("mqtt://127.0.0.1:20003", False),
        ("mqtt://192.0.2.77:20002", False),
    ],
)
def test_a_url_of_a_running_broker_needs_no_password(url: str, is_found: bool, console: Console) -> None:
    with announce("make broker", SECRET):
        access = choose_access(url, None, console)
        assert bool(access) is is_found
        assert (resolve_url(url, None).password == "never print this") is is_found


def test_a_demo_at_a_broker_of_another_command_has_its_login(console: Console) -> None:
    with announce("make broker", SECRET), announce("make demo", replace(SECRET, password=None), "p"):
        access = choose_access(str(SECRET), None, console)
        assert access and (access.address, access.prefix) == (SECRET, "p")


def test_a_malformed_url_is_still_reported(console: Console) -> None:
    with announce("make broker", SECRET), pytest.raises(UserError, match="expected iotcore"):
        choose_access("rabbit", None, console)


def test_without_a_home_a_command_still_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with announce("make demo", DEMO) as folder:
        assert folder is None and find_running() == []
    assert running_broker.find_broker(None) == []
