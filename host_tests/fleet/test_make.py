"""What `make fleet ARGS=generate` writes, and what it leaves as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from host_tests.board.rig import run_tool
from host_tests.fleet.conftest import WriteDescription
from tools.fleet import mosquitto_config
from tools.fleet.certificate_authority import CertificateAndKey, CertificateAuthority

DEVICES = ("greenhouse-001", "greenhouse-002", "greenhouse-003")


def make(path: Path, code: int = 0) -> str:
    return run_tool("fleet", "generate", "--file", path, "--out", path.parent / "out", code=code)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_device_gets_its_own(write_description: WriteDescription, tmp_path: Path) -> None:
    said = make(write_description())
    out = tmp_path / "out"
    passwords = set()
    for name in DEVICES:
        config = json.loads((out / name / "config.json").read_text())
        assert config["device"] == config["broker"]["user"] == name
        assert config["broker"]["tls"] == {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        assert config["sensors"] == [{"kind": "chip_temperature", "period": 1}]
        passwords.add(config["broker"]["password"])
        cert = x509.load_pem_x509_certificate((out / name / "cert.pem").read_bytes())
        assert cert.subject.rfc4514_string() == f"CN={name}"
        # a board whose clock was never set must not take it for one of the future
        assert cert.not_valid_before_utc.year == 2000
        key = cert.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert len(passwords) == 3 and min(map(len, passwords)) == 32
    assert not any(secret in said for secret in (*passwords, "not for any eye", "PRIVATE"))
    assert not passwords & set((out / "broker" / "passwords").read_text().replace(":", "\n").splitlines())


def test_nobody_else_can_read_it_and_git_does_not_see_it(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    make(write_description())
    for top in ("out", "fleet.private"):
        assert (tmp_path / top).stat().st_mode & 0o777 == 0o700
        for path in (tmp_path / top).rglob("*"):
            if path.name != ".gitignore":
                assert path.stat().st_mode & 0o077 == 0, path
    said = subprocess.run(
        ["git", "-C", str(tmp_path), "status", "--porcelain", "-uall"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["??", "fleet.toml"]


def test_made_again_nothing_changes(write_description: WriteDescription, tmp_path: Path) -> None:
    path = write_description()
    make(path)
    before = contents(tmp_path)
    assert "0 new, 0 changed, 0 removed, 3 unchanged" in make(path)
    assert contents(tmp_path) == before
    shutil.rmtree(tmp_path / "out")  # as `make clean` does with build/: keys and passwords stay
    make(path)
    after = contents(tmp_path)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed == {"out/broker/passwords"}  # new salts
    for name in DEVICES:
        password = json.loads(before[f"out/{name}/config.json"])["broker"]["password"]
        hashed = dict(line.split(":", 1) for line in after["out/broker/passwords"].decode().splitlines())
        assert mosquitto_config.verify_password(
            password, hashed[name]
        ) and not mosquitto_config.verify_password(password + "x", hashed[name])


def test_only_what_changed_is_written_and_it_says_so(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    make(write_description())
    before = contents(tmp_path / "out")
    one = ('pin = "relay"\n', 'pin = "relay"\n\n[[devices]]\nnumber = 2\nhealth = 5\n')
    said = make(write_description(one))
    assert "greenhouse-002: changed: config.json\n" in said
    assert "0 new, 1 changed, 0 removed, 2 unchanged" in said
    after = contents(tmp_path / "out")
    assert {name for name in after if after[name] != before.get(name)} == {"greenhouse-002/config.json"}


def test_one_more_and_one_less(write_description: WriteDescription, tmp_path: Path) -> None:
    make(write_description())
    config = tmp_path / "out" / "greenhouse-003" / "config.json"
    before = json.loads(config.read_text())
    said = make(write_description(("count = 3", "count = 2")))
    assert "greenhouse-003: removed, because it is no longer in" in said and "passwords" in said
    assert not config.exists()
    assert "greenhouse-003" not in (tmp_path / "out" / "broker" / "passwords").read_text()
    said = make(write_description(("count = 3", "count = 4")))
    assert "2 new, 0 changed" in said
    # whoever comes back is who he was: the device in the field still has these
    assert json.loads(config.read_text()) == before


def test_a_certificate_that_does_not_fit_is_made_anew(tmp_path: Path) -> None:
    ours, theirs = CertificateAuthority(tmp_path / "ours"), CertificateAuthority(tmp_path / "theirs")
    good = ours.issue_client("dut", 1)
    assert ours.is_valid(good, "dut")
    assert not ours.is_valid(good, "other")
    assert not ours.is_valid(theirs.issue_client("dut", 1), "dut")
    assert not ours.is_valid(CertificateAndKey(good.cert, ours.issue_client("dut", 1).key), "dut")
    assert not ours.is_valid(CertificateAndKey(good.cert[:100], good.key), "dut")
    assert not ours.is_valid(ours.issue_client("dut", 0), "dut")  # ends today


def test_a_lost_authority_is_not_replaced_by_another(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    path = write_description()
    make(path)
    (tmp_path / "fleet.private" / "ca.pem").write_text("nothing")
    assert "Restore both from a backup" in make(path, code=1)


@pytest.mark.parametrize("name", ["config.json", "key.pem"])
def test_a_file_that_somebody_has_changed_is_mended(
    write_description: WriteDescription, tmp_path: Path, name: str
) -> None:
    path = write_description()
    make(path)
    file = tmp_path / "out" / "greenhouse-001" / name
    before = file.read_bytes()
    file.write_text("{}")
    assert f"greenhouse-001: changed: {name}" in make(path)
    assert file.read_bytes() == before
