"""Monitor, update and doctor use the files that `make fleet` has written for an operator."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tests.board.rig import run_tool
from host_tests.conftest import require_mosquitto
from host_tests.fleet.conftest import WriteDescription
from host_tests.fleet.test_certificates import ONE, RunningFleet
from host_tests.fleet.test_make import generate
from host_tests.fleet.test_mosquitto_config import wait_until
from tools import operator_login, update
from tools.errors import UserError
from tools.monitor.model import MonitorModel
from tools.operator_login import resolve_access


@pytest.fixture
def fleet(write_description: WriteDescription) -> Iterator[RunningFleet]:
    require_mosquitto()
    running = RunningFleet(
        write_description(('prefix = "farm"', 'prefix = "farm"\noperators = ["anna", "ben"]'))
    )
    with running.mosquitto:
        yield running


def copy_to_computer(fleet: RunningFleet, name: str, folder: Path) -> Path:
    """Copy the files of an operator as to a computer of its own; the port is that of the running broker."""
    shutil.copytree(fleet.out / name, folder)
    login = json.loads((folder / "dashboard.json").read_text())
    login["port"] = fleet.operator_port
    (folder / "dashboard.json").write_text(json.dumps(login))
    return folder


def test_two_monitors_and_an_update_run_at_once_on_one_computer_and_on_two(
    fleet: RunningFleet, tmp_path: Path
) -> None:
    desks = [copy_to_computer(fleet, name, tmp_path / f"desk-{name}") for name in ("anna", "ben")]
    models = []
    for desk in (*desks, desks[0]):
        access = resolve_access(None, desk)
        assert access.prefix == "farm"
        models.append(MonitorModel(access.address, access.prefix, []))
        models[-1].connect()
    # the real command; no device answers it, so it ends after it was connected for a second
    (tmp_path / "update.key").write_text("00" * 32)
    options = ("--fleet", desks[0], "--update-key", tmp_path / "update.key", "--timeout", 1)
    output = run_tool("update", ONE, "--board", "host", *options, code=1)
    assert "publishes no update state" in output
    device = fleet.client(fleet.files(ONE))
    device.connect()
    device.publish(f"farm/{ONE}/status", b"online", qos=1, wait=True)
    wait_until(lambda: all(ONE in model.monitor.devices for model in models), device, *models)
    for model in models:
        assert model.monitor.is_connected and not [text for _, text in model.events if "lost" in text]
        model.close()
    device.disconnect()


def test_doctor_uses_the_login_and_reports_when_the_client_certificate_expires(
    fleet: RunningFleet, tmp_path: Path
) -> None:
    desk = copy_to_computer(fleet, "anna", tmp_path / "desk")
    found = json.loads(run_tool("doctor", "--fleet", desk, "--json"))
    subjects = {one["subject"]: one for one in found}
    assert "accepts the connection as anna" in str(found)
    assert subjects["client certificate"]["level"] == "ok" and "3649 days" in str(
        subjects["client certificate"]
    )


def test_the_login_is_used_only_for_the_broker_of_the_fleet(
    write_description: WriteDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(write_description())
    out = tmp_path / "out"
    monkeypatch.setattr(operator_login, "_DEFAULT_FOLDER", out)
    own = resolve_access(None).address  # found without an option
    assert (own.host, own.port, own.user, own.tls) == ("localhost", 8884, "dashboard", True)
    assert own.cert == out / "dashboard" / "cert.pem" and own.password
    for url in ("mqtts://localhost", "mqtts://LOCALHOST:8884", "mqtts://dashboard@localhost"):
        assert resolve_access(url).address == own
    for url in ("mqtt://localhost", "mqtts://localhost:8883", "mqtts://other", "mqtts://localhost.other"):
        address = resolve_access(url).address
        assert address.password is None and address.cert is None and address.user is None
        with pytest.raises(UserError, match="Omit --broker or --fleet"):
            resolve_access(url, out)
    assert resolve_access("mqtts://localhost", cert=Path("c"), key=Path("k")).address.key == Path("k")
    with pytest.raises(UserError, match="needs the certificate"):
        resolve_access(None, key=Path("k"))


@pytest.mark.parametrize(
    "text", ("", "[]", "{}", '{"host": 7, "port": 1}', '{"host": "a", "port": "1"}', "\xff")
)
def test_a_damaged_login_is_reported(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dashboard").mkdir()
    (tmp_path / "dashboard" / "dashboard.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"dashboard\.json"):
        resolve_access(None, tmp_path)
    monkeypatch.setattr(operator_login, "_DEFAULT_FOLDER", tmp_path)
    assert resolve_access("mqtt://other").address.host == "other"  # a broker that does not need the login
    with pytest.raises(UserError, match="no dashboard.json there"):
        resolve_access(None, tmp_path / "missing")


def test_the_key_option_of_update_is_the_private_key_and_still_accepts_an_update_key(tmp_path: Path) -> None:
    hexadecimal, pem = tmp_path / "device.key", tmp_path / "key.pem"
    hexadecimal.write_text("00" * 32)
    pem.write_text("-----BEGIN EC PRIVATE KEY-----")
    default = Path("update.key")
    assert update._choose_keys(None, None, None) == (default, None)
    assert update._choose_keys(None, hexadecimal, None) == (hexadecimal, None)
    assert update._choose_keys(None, pem, None) == (default, pem)
    assert update._choose_keys(None, tmp_path / "x", pem) == (default, tmp_path / "x")
    assert update._choose_keys(hexadecimal, pem, pem) == (hexadecimal, pem)
