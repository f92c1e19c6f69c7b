"""`fleet revoke` and `fleet renew` with the real mosquitto, whose files are those that the commands write."""

from __future__ import annotations

import datetime
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from host_tests.board.rig import run_tool
from host_tests.conftest import require_mosquitto
from host_tests.fleet.conftest import WriteDescription
from host_tests.fleet.test_make import contents, generate
from host_tests.fleet.test_mosquitto_config import is_refused
from tools import broker
from tools.broker import Mosquitto
from tools.fleet import expiry, secret_files
from tools.fleet.certificate_authority import CertificateAuthority
from tools.fleet.description import load_fleet
from tools.fleet.generate import admitted_operators
from tools.fleet.store import CLIENTS, OPERATORS, FleetStore
from umqtt5 import Client, tls

ONE, OTHER = "greenhouse-001", "greenhouse-002"
_LOGINS = [
    pytest.param(("password = true\nc", "password = true\nc"), id="password and certificate"),
    pytest.param(
        ("password = true\ncertificate = true", "password = false\ncertificate = true"), id="certificate"
    ),
    pytest.param(("password = true\ncertificate = true", "password = true"), id="password"),
]


class RunningFleet:
    """mosquitto with the generated `mosquitto.conf` of a fleet, whose ports and folder are replaced."""

    def __init__(self, description: Path) -> None:
        self.description = description
        self.out = description.parent / "out"
        generate(description)
        self.operator_port = broker.free_port()
        text = (self.out / "broker" / "mosquitto.conf").read_text()
        text = text.replace("/etc/mosquitto/fleet", str(self.out / "broker"))
        before, devices, operators = text.split("listener 888")
        global_lines = [line for line in before.splitlines() if not line.startswith("#")]
        # the class writes the listener of the devices and its allow_anonymous
        lines = devices.splitlines()[2:] + [f"listener {self.operator_port} 127.0.0.1"]
        self.mosquitto = Mosquitto(
            *lines, *operators.splitlines()[1:], anonymous=False, global_lines=global_lines
        )
        self.port = self.mosquitto.address.port

    def run(self, *arguments: object, code: int = 0) -> str:
        """Run a command of `make fleet` for this fleet; returns its output."""
        options = ["--file", self.description]
        if arguments[0] != "list":
            options += ["--out", self.out]
        return run_tool("fleet", *arguments, *options, code=code)

    def files(self, name: str) -> dict[str, bytes]:
        """Return the generated files of a device or operator."""
        return {path.name: path.read_bytes() for path in (self.out / name).iterdir()}

    def client(self, files: dict[str, bytes], client_id: str = "") -> Any:
        """Return a client with the generated files of a device or operator."""
        if "dashboard.json" in files:
            login = json.loads(files["dashboard.json"])
            port, client_id = self.operator_port, client_id or "operator"
        else:
            login = json.loads(files["config.json"])["broker"]
            port, client_id = self.port, json.loads(files["config.json"])["device"]
        context = tls.context(files["ca.pem"], files.get("cert.pem"), files.get("key.pem"))
        user, password = login.get("user"), login.get("password")
        return Client("localhost", port, client_id=client_id, user=user, password=password, ssl=context)

    def reload(self, files: dict[str, bytes], is_refused_then: bool) -> None:
        """Make mosquitto read the files again, and wait until it refuses, or accepts, this client."""
        self.mosquitto.reload()
        deadline = time.monotonic() + 20
        while is_refused(self.client(files)) != is_refused_then:
            assert time.monotonic() < deadline


@pytest.fixture
def fleet(request: pytest.FixtureRequest, write_description: WriteDescription) -> Iterator[RunningFleet]:
    require_mosquitto()
    running = RunningFleet(write_description(*getattr(request, "param", ())))
    with running.mosquitto:
        yield running


@pytest.mark.parametrize(
    "fleet", [[one.values[0]] for one in _LOGINS], ids=[one.id for one in _LOGINS], indirect=True
)
def test_a_revoked_device_is_refused_and_the_others_stay_connected(fleet: RunningFleet) -> None:
    one, other, operator = fleet.files(ONE), fleet.files(OTHER), fleet.files("dashboard")
    states: list[Any] = []
    clients = [fleet.client(files) for files in (other, operator)]
    for client in clients:
        client.on_state = lambda client, connected, error: states.append((connected, error))
        client.connect()
    assert not is_refused(fleet.client(one))
    output = fleet.run("revoke", ONE)
    # without passwords, mosquitto checks a client that is connected only after a restart
    command = "reload" if b'"password"' in one["config.json"].split(b'"wifi"')[0] else "restart"
    assert f"{ONE}: revoked" in output and f"systemctl {command} mosquitto" in output
    fleet.reload(one, is_refused_then=True)
    for client in clients:
        client.publish(f"farm/{OTHER}/status", b"online", qos=1, wait=True)
    assert states == [(True, None)] * 2
    for client in clients:
        client.disconnect()
    assert not is_refused(fleet.client(other))
    # the restart of a broker changes nothing
    fleet.mosquitto.stop()
    fleet.mosquitto.start()
    assert is_refused(fleet.client(one)) and not is_refused(fleet.client(other))


def test_a_revoked_device_can_be_admitted_again_with_new_files_and_the_old_ones_stay_refused(
    fleet: RunningFleet,
) -> None:
    old = fleet.files(ONE)
    fleet.run("revoke", ONE)
    fleet.reload(old, is_refused_then=True)
    assert not (fleet.out / ONE).exists() and "revoked at" in fleet.run("list").splitlines()[0]
    generate(fleet.description)  # does not admit it again
    assert not (fleet.out / ONE).exists()
    assert "is revoked. To admit it again" in fleet.run("flash", ONE, code=1)
    assert "admitted again with a new key and a new password" in fleet.run("renew", ONE)
    new = fleet.files(ONE)
    assert new["key.pem"] != old["key.pem"] and new["config.json"] != old["config.json"]
    fleet.reload(new, is_refused_then=False)
    assert is_refused(fleet.client(old))
    mixed = {**new, "cert.pem": old["cert.pem"], "key.pem": old["key.pem"]}
    assert is_refused(fleet.client(mixed))


def test_every_certificate_that_a_device_ever_had_is_revoked(fleet: RunningFleet) -> None:
    first = fleet.files(ONE)
    fleet.run("renew", ONE, "--new-key")
    second = fleet.files(ONE)
    fleet.run("renew", ONE)
    third = fleet.files(ONE)
    assert first["key.pem"] != second["key.pem"] == third["key.pem"]
    assert len({one["cert.pem"] for one in (first, second, third)}) == 3
    assert not any(is_refused(fleet.client(one)) for one in (first, second, third))
    fleet.run("revoke", ONE)
    fleet.reload(third, is_refused_then=True)
    assert all(is_refused(fleet.client(one)) for one in (first, second, third))


def test_an_operator_can_be_revoked_and_the_other_one_stays(write_description: WriteDescription) -> None:
    require_mosquitto()
    fleet = RunningFleet(
        write_description(('prefix = "farm"', 'prefix = "farm"\noperators = ["anna", "ben"]'))
    )
    with fleet.mosquitto:
        anna, ben = fleet.files("anna"), fleet.files("ben")
        clients = [
            fleet.client(files, f"desk-{number}") for number, files in enumerate((anna, anna, ben, ben))
        ]
        for client in clients:
            client.connect()
        for client in clients:
            client.publish(f"farm/{ONE}/switch/pump/set", b"ON", qos=1, wait=True)
            client.disconnect()
        fleet.run("revoke", "anna")
        fleet.reload(anna, is_refused_then=True)
        assert not is_refused(fleet.client(ben)) and not is_refused(fleet.client(fleet.files(ONE)))
        assert not (fleet.out / "anna").exists()


def test_revoking_again_changes_nothing_and_an_unknown_name_revokes_nobody(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    path = write_description()
    generate(path)
    options = ("--file", path, "--out", tmp_path / "out")
    before = contents(tmp_path)
    output = run_tool("fleet", "revoke", ONE, "shed-9", "../x", *options, code=1)
    assert "shed-9, ../x: no device or operator of this fleet. Nothing was changed" in output
    assert contents(tmp_path) == before
    run_tool("fleet", "revoke", ONE, ONE, *options)
    before = contents(tmp_path)
    assert f"{ONE}: revoked already, at 20" in run_tool("fleet", "revoke", ONE, *options)
    assert contents(tmp_path) == before
    # a device that left the fleet can be revoked, too
    generate(write_description(("count = 3", "count = 2")))
    assert "greenhouse-003: revoked" in run_tool("fleet", "revoke", "greenhouse-003", *options)
    revoked = x509.load_pem_x509_crl((tmp_path / "out" / "broker" / "crl.pem").read_bytes())
    assert len(list(revoked)) == 2


def test_the_ca_is_renewed_without_cutting_off_a_device_a_broker_or_an_operator(fleet: RunningFleet) -> None:
    old = {name: fleet.files(name) for name in (ONE, "dashboard")}
    fleet.run("revoke", OTHER)
    output = fleet.run("renew", "--ca")
    assert "The old certificate of this CA works until" in output
    new = {name: fleet.files(name) for name in (ONE, "dashboard")}
    fleet.run("renew", ONE)
    renewed = fleet.files(ONE)
    assert old[ONE]["ca.pem"] != new[ONE]["ca.pem"]
    # the broker has the old files first, then the new ones
    for _ in range(2):
        for files in (*old.values(), *new.values(), renewed):
            assert not is_refused(fleet.client(files))
        fleet.mosquitto.stop()
        fleet.mosquitto.start()
    text = (fleet.out / "broker" / "crl.pem").read_bytes()
    assert (
        x509.load_pem_x509_crl(text).next_update_utc == _certificate(new[ONE]["ca.pem"]).not_valid_after_utc
    )


def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def test_each_revocation_list_replaces_the_one_before(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    now = datetime.datetime.now(datetime.timezone.utc)
    lists = [authority.revocation_list([], b"")]
    for serials in ([1], [1, 2], [2, 1], []):
        lists.append(authority.revocation_list(serials, lists[-1]))
    parsed = [x509.load_pem_x509_crl(one) for one in lists]
    dates = [one.last_update_utc for one in parsed]
    assert dates[0] < dates[1] < dates[2] == dates[3] < dates[4] and lists[2] == lists[3]
    assert dates[-1] < now - datetime.timedelta(hours=23)  # the clock of the broker may be slow
    assert all(one.next_update_utc == authority.expires for one in parsed)
    assert authority.expires > now + datetime.timedelta(days=29 * 365)
    assert [sorted(entry.serial_number for entry in one) for one in parsed] == [[], [1], [1, 2], [1, 2], []]


def test_certificates_of_a_version_without_records_can_be_revoked(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    path = write_description()
    generate(path)
    private = tmp_path / "fleet.private"
    (private / "certificates.json").unlink()
    shutil.rmtree(private / "operator-ca")
    shutil.rmtree(private / "operators")
    (private / "crl.pem").unlink()
    serial = _certificate((private / "clients" / f"{ONE}.pem").read_bytes()).serial_number
    run_tool("fleet", "revoke", ONE, "--file", path, "--out", tmp_path / "out")
    revoked = x509.load_pem_x509_crl((tmp_path / "out" / "broker" / "crl.pem").read_bytes())
    assert [one.serial_number for one in revoked] == [serial]


class _PowerFailure(BaseException):
    """Ends a run in the middle, as a power failure does."""


@pytest.mark.parametrize("readmit", [False, True], ids=["renew", "admit again"])
def test_an_interrupted_run_leaves_good_files_and_the_next_one_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readmit: bool
) -> None:
    original = secret_files.write_file
    writes = 0
    for allowed in range(100):
        folder = tmp_path / f"private-{allowed}"
        store = FleetStore(folder)
        store.get_passwords(["dut"])
        first = store.client_certificate("dut", 1)
        if readmit:
            store.revoke(["dut"])
        writes = 0

        def write_some(path: Path, data: bytes | str, durable: bool = False, allowed: int = allowed) -> bool:
            nonlocal writes
            writes += 1
            if writes > allowed:
                path.with_name(path.name + ".new").write_bytes(b"half")
                raise _PowerFailure
            return original(path, data, durable)

        monkeypatch.setattr(secret_files, "write_file", write_some)
        try:
            FleetStore(folder).renew(CLIENTS, "dut", 1, new_key=True)
            complete = True
        except _PowerFailure:
            complete = False
        monkeypatch.setattr(secret_files, "write_file", original)
        store = FleetStore(folder)
        if store.is_revoked("dut"):
            assert readmit and not complete
            serials = store.records.revoked_serials(CLIENTS)
            assert _certificate(store._stored(CLIENTS, "dut").cert).serial_number in serials
            store.renew(CLIENTS, "dut", 1)
        pair = store.client_certificate("dut", 1)
        assert load_pem_private_key(pair.key, None).public_key() == _certificate(pair.cert).public_key()
        assert store.authority.is_valid(pair, "dut")
        serials = store.records.revoked_serials(CLIENTS)
        assert _certificate(pair.cert).serial_number not in serials
        assert (_certificate(first.cert).serial_number in serials) == readmit
        if complete:
            break
    assert complete and writes >= 3


def test_two_commands_at_once_keep_the_changes_of_each_other(tmp_path: Path) -> None:
    one, other = FleetStore(tmp_path / "private"), FleetStore(tmp_path / "private")
    one.client_certificate("a", 1)
    other.client_certificate("b", 1)
    one.revoke(["a"])
    other.record_flashed("b", "digest", "port")
    one.record_flashed("a", "digest", "port")
    other.get_passwords(["b"])
    one.get_passwords(["a"])
    after = FleetStore(tmp_path / "private")
    assert after.is_revoked("a") and not after.is_revoked("b") and after.names == {"a", "b"}
    assert after.flashed_at("a") and after.flashed_at("b")


def test_expiring_certificates_are_listed_and_renewed(
    write_description: WriteDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_description()
    generate(path)
    fleet, store = load_fleet(path), FleetStore(tmp_path / "fleet.private")
    expiries = expiry.find_expiries(fleet, store.folder, path)
    assert not expiry.format_warnings(expiries) and len(expiries) == 9
    options = ("--file", path, "--out", tmp_path / "out")
    assert "nothing to do: nothing expires within 90 days" in run_tool("fleet", "renew", *options)
    # of a device that was flashed with an older certificate, the days of that one count
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=12, hours=1)
    store.record_flashed(ONE, "digest", "port")
    state = json.loads((store.folder / "state.json").read_text())
    state[ONE]["expires"] = soon.isoformat()
    (store.folder / "state.json").write_text(json.dumps(state))
    listed = run_tool("fleet", "list", "--file", path)
    assert f"{ONE} expires in 12 days" in listed and f'make fleet ARGS="flash {ONE}"' in listed
    rows = json.loads(run_tool("fleet", "list", "--file", path, "--json"))
    assert [row["days"] for row in rows] == [12, 3649, 3649]
    # within 4000 days every certificate expires, but not the CAs
    before = contents(tmp_path / "out")
    output = run_tool("fleet", "renew", "--expiring", 4000, *options)
    after = contents(tmp_path / "out")
    changed = {name for name in after if after[name] != before[name]} - {"broker/passwords"}
    names = (ONE, OTHER, "greenhouse-003", "dashboard")
    assert changed == {*(f"{name}/cert.pem" for name in names), "broker/server.pem"}, output
    assert admitted_operators(fleet, store) == ["dashboard"] and store.expires(OPERATORS, "dashboard")
