"""`make doctor`: each thing that can be wrong is found, with what to do about it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from host_tests.board.cable import Board as Cable
from host_tests.board.rig import Rig, run
from tools import broker
from tools.broker import Address, Mosquitto
from tools.doctor import cable as cables
from tools.doctor import computer, link
from tools.doctor.finding import OK, PROBLEM, WARNING, Finding, examine

needs_mosquitto = pytest.mark.skipif(not broker.find_mosquitto(), reason="mosquitto is not installed")


def one(findings: Iterator[Finding], what: str) -> Finding:
    found = [finding for finding in findings if finding.what == what]
    assert len(found) == 1, found
    return found[0]


# ---- the broker


class Certified:
    """mosquitto with TLS, a password and an authority of its own."""

    def __init__(
        self, folder: Path, expires: datetime.datetime | None = None, name: str = "localhost"
    ) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        served = authority.issue_cert(name, not_after=expires)
        served.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        served.private_key_pem.write_to_path(folder / "key.pem")
        self.broker = Mosquitto(f"certfile {folder / 'cert.pem'}", f"keyfile {folder / 'key.pem'}")

    def address(self, ca: Path | None) -> Address:
        return Address("localhost", self.broker.address.port, tls=True, ca=ca)


def in_days(days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)


@needs_mosquitto
def test_a_broker_that_is_well(tmp_path: Path) -> None:
    here = Certified(tmp_path)
    with here.broker:
        findings = list(link.broker(here.address(here.ca)))
    assert [finding.level for finding in findings] == [OK] * 3
    assert "QoS up to 2" in one(iter(findings), "MQTT").text
    assert "topic aliases" in one(iter(findings), "MQTT").text


@needs_mosquitto
@pytest.mark.parametrize(
    "expires, name, known, level, words",
    [
        (in_days(-1), "localhost", True, PROBLEM, "expired -> renew it"),
        (in_days(3), "localhost", True, WARNING, "good for -> renew it"),
        (None, "other.example", True, PROBLEM, "mismatch -> use the name"),
        (None, "localhost", False, PROBLEM, "unable to get -> say CA="),
    ],
)
def test_certificates(
    tmp_path: Path, expires: datetime.datetime | None, name: str, known: bool, level: str, words: str
) -> None:
    here = Certified(tmp_path, expires, name)
    with here.broker:
        finding = one(link.broker(here.address(here.ca if known else None)), "TLS")
    assert finding.level == level
    text, remedy = words.split(" -> ")
    assert text in finding.text and finding.remedy.startswith(remedy)


@needs_mosquitto
def test_tls_where_there_is_none() -> None:
    with Mosquitto() as running:
        finding = one(link.broker(Address("localhost", running.address.port, tls=True)), "TLS")
        assert finding.level == PROBLEM and "mqtt:// is without" in finding.remedy


@needs_mosquitto
def test_a_wrong_password(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    with Mosquitto(f"password_file {passwords}", anonymous=False) as running:
        where = running.address
        finding = one(link.broker(Address(where.host, where.port, "me", "guess")), "MQTT")
    assert finding.level == PROBLEM and "user:password@" in finding.remedy
    assert "guess" not in finding.text + finding.remedy


def test_a_port_where_nobody_is_and_a_name_that_is_none() -> None:
    assert "takes no connection" in one(link.broker(Address("127.0.0.1", broker.free_port())), "broker").text
    assert "has no address" in one(link.broker(Address("nowhere.invalid", 1883)), "broker").text


# ---- the cable


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Cable]:
    Rig("esp32", tmp_path, Address("127.0.0.1", 1)).prepare()
    with Cable(tmp_path / "files") as cable:
        yield cable


def test_a_device_that_is_well_and_one_that_is_not(device: Cable) -> None:
    doctor = ["make", "-s", "doctor", "BOARD=esp32", f"PORT={device.port}"]
    said = run(doctor)
    assert "MicroPython: " in said and "are those of this checkout" in said
    assert "dut, checked as the device does" in said
    (device.folder / "app" / "node.mpy").unlink()
    path = device.folder / "config.json"
    path.write_text(path.read_text().replace("chip_temperature", "nose"))
    said = run([*doctor, "ARGS=--json"], code=2)  # make's own, for the 1 of the tool
    found = {line["what"]: line for line in map(json.loads, said.splitlines()[:-1]) if "what" in line}
    assert found["application"]["level"] == WARNING and "make deploy" in found["application"]["remedy"]
    assert found["config"]["level"] == PROBLEM and '"nose"' in found["config"]["text"]


def test_a_port_that_nobody_may_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may open all
    port.chmod(0o600)
    finding = next(cables.permission(str(port), vid=0x10C4))
    assert finding.level == PROBLEM
    assert 'ATTRS{idVendor}=="10c4"' in finding.remedy and "/etc/udev/rules.d" in finding.remedy
    assert "usermod" not in finding.remedy  # no group would help
    finding = next(cables.permission(str(tmp_path / "gone")))
    assert "is not there" in finding.text


# ---- this computer


def test_a_package_that_is_not_as_pinned(tmp_path: Path) -> None:
    locked = tmp_path / "board.txt"
    locked.write_text("esptool==0.1\nno-such-package==1.0\ncolorama==9 ; sys_platform == 'win32'\n")
    finding = next(computer.packages(locked))
    assert finding.level == PROBLEM
    assert "esptool" in finding.text and "no-such-package missing instead of 1.0" in finding.text
    assert "colorama" not in finding.text and "make clean setup" in finding.remedy


def test_a_check_that_breaks_does_not_stop_the_others() -> None:
    def breaks() -> list[Finding]:
        raise RuntimeError("oh")

    def works() -> list[Finding]:
        return [Finding(OK, "this", "fine")]

    first, second = examine([breaks, works])
    assert first.level == WARNING and "oh" in first.text
    assert second.what == "this"
