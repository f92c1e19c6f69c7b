"""`make fleet ARGS=generate` writes configs, passwords and certificates, and updates only changed files."""

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


def generate(path: Path, code: int = 0) -> str:
    """Run `fleet generate` for this description and return its output."""
    return run_tool("fleet", "generate", "--file", path, "--out", path.parent / "out", code=code)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_device_gets_its_own_config_password_and_certificate(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    output = generate(write_description())
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
        # the certificate must be valid even for a board whose clock is not set
        assert cert.not_valid_before_utc.year == 2000
        key = cert.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert len(passwords) == 3 and min(map(len, passwords)) == 32
    assert not any(secret in output for secret in (*passwords, "never print this", "PRIVATE"))
    assert not passwords & set((out / "broker" / "passwords").read_text().replace(":", "\n").splitlines())


def test_generated_files_are_private_to_the_user_and_ignored_by_git(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    generate(write_description())
    for top in ("out", "fleet.private"):
        assert (tmp_path / top).stat().st_mode & 0o777 == 0o700
        for path in (tmp_path / top).rglob("*"):
            if path.name != ".gitignore":
                assert path.stat().st_mode & 0o077 == 0, path
    status = subprocess.run(
        ["git", "-C", str(tmp_path), "status", "--porcelain", "-uall"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert status.stdout.split() == ["??", "fleet.toml"]


def test_generating_again_changes_nothing(write_description: WriteDescription, tmp_path: Path) -> None:
    path = write_description()
    generate(path)
    before = contents(tmp_path)
    assert "0 new, 0 changed, 0 removed, 3 unchanged" in generate(path)
    assert contents(tmp_path) == before
    shutil.rmtree(tmp_path / "out")  # keys and passwords are stored in fleet.private
    generate(path)
    after = contents(tmp_path)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed == {"out/broker/passwords", "out/broker/operator-passwords"}  # new salts
    for name in DEVICES:
        password = json.loads(before[f"out/{name}/config.json"])["broker"]["password"]
        hashed = dict(line.split(":", 1) for line in after["out/broker/passwords"].decode().splitlines())
        assert mosquitto_config.verify_password(
            password, hashed[name]
        ) and not mosquitto_config.verify_password(password + "x", hashed[name])


def test_only_changed_files_are_written_and_reported(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    generate(write_description())
    before = contents(tmp_path / "out")
    change = ('pin = "relay"\n', 'pin = "relay"\n\n[[devices]]\nnumber = 2\nhealth = 5\n')
    output = generate(write_description(change))
    assert "greenhouse-002: changed: config.json\n" in output
    assert "0 new, 1 changed, 0 removed, 2 unchanged" in output
    after = contents(tmp_path / "out")
    assert {name for name in after if after[name] != before.get(name)} == {"greenhouse-002/config.json"}


def test_removed_devices_are_deleted_and_get_the_same_files_if_they_return(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    generate(write_description())
    config = tmp_path / "out" / "greenhouse-003" / "config.json"
    before = json.loads(config.read_text())
    output = generate(write_description(("count = 3", "count = 2")))
    assert "greenhouse-003: it is no longer in" in output and "passwords" in output
    assert not config.exists()
    assert "greenhouse-003" not in (tmp_path / "out" / "broker" / "passwords").read_text()
    output = generate(write_description(("count = 3", "count = 4")))
    assert "2 new, 0 changed" in output
    # a device that is added again gets its old files, because the board still has them
    assert json.loads(config.read_text()) == before


def test_a_certificate_with_a_wrong_name_authority_key_or_date_is_invalid(tmp_path: Path) -> None:
    authority, other = CertificateAuthority(tmp_path / "one"), CertificateAuthority(tmp_path / "other")
    valid = authority.issue_client("dut", 1)
    assert authority.is_valid(valid, "dut")
    assert not authority.is_valid(valid, "other")
    assert not authority.is_valid(other.issue_client("dut", 1), "dut")
    assert not authority.is_valid(CertificateAndKey(valid.cert, authority.issue_client("dut", 1).key), "dut")
    assert not authority.is_valid(CertificateAndKey(valid.cert[:100], valid.key), "dut")
    assert not authority.is_valid(authority.issue_client("dut", 0), "dut")  # expires today


def test_a_damaged_certificate_authority_is_not_replaced(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    path = write_description()
    generate(path)
    (tmp_path / "fleet.private" / "ca.pem").write_text("nothing")
    assert "Restore both from a backup" in generate(path, code=1)


@pytest.mark.parametrize("name", ["config.json", "key.pem"])
def test_a_modified_file_is_restored(write_description: WriteDescription, tmp_path: Path, name: str) -> None:
    path = write_description()
    generate(path)
    file = tmp_path / "out" / "greenhouse-001" / name
    before = file.read_bytes()
    file.write_text("{}")
    assert f"greenhouse-001: changed: {name}" in generate(path)
    assert file.read_bytes() == before
