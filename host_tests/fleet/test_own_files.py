"""`fleet generate` changes and deletes only what it has written itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from host_tests.fleet.conftest import WriteDescription
from host_tests.fleet.test_make import contents, generate


def test_a_folder_with_files_of_the_user_is_refused_and_not_changed(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    project = tmp_path / "out" / "project"
    project.mkdir(parents=True)
    (project / "config.json").write_text("{}")
    (project / "key.pem").write_text("mine")
    (tmp_path / "out").chmod(0o755)
    before = contents(tmp_path / "out")
    output = generate(write_description(), code=1)
    assert "has not made it" in output and "--out" in output
    assert contents(tmp_path / "out") == before and (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_used(write_description: WriteDescription, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert "3 new" in generate(write_description())


def test_files_of_the_user_survive_in_the_folder_of_a_removed_device(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    generate(write_description())
    out = tmp_path / "out"
    (out / "greenhouse-003" / "notes.txt").write_text("mine")
    (out / "greenhouse-002" / "own.pem").write_text("mine")
    (out / "other").mkdir()
    (out / "other" / "config.json").write_text("{}")
    output = generate(write_description(("count = 3", "count = 2")))
    assert output.index("removing") < output.index("1 removed") and "is kept" in output
    assert {path.name for path in (out / "greenhouse-003").iterdir()} == {"notes.txt"}
    assert (out / "greenhouse-002" / "own.pem").exists() and (out / "other" / "config.json").exists()


@pytest.mark.parametrize("names", ({"../../x": ["y"]}, {"a": ["../y"]}, {"a": [7]}, [], "x"))
def test_a_list_of_written_files_that_was_changed_deletes_nothing(
    write_description: WriteDescription, tmp_path: Path, names: object
) -> None:
    generate(write_description())
    (tmp_path / "y").write_text("mine")
    written = tmp_path / "out" / ".umqtt5-fleet.json"
    written.write_text(json.dumps(names))
    assert "is damaged" in generate(write_description(), code=1) and (tmp_path / "y").exists()


def test_the_secrets_of_a_fleet_are_never_replaced(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    path = write_description()
    generate(path)
    private = tmp_path / "fleet.private"
    saved = tmp_path / "saved"
    shutil.copytree(private, saved)
    for name, damage, expected in (
        ("ca.key", None, "ca.key is missing"),
        ("ca.pem", None, "cannot be read"),
        ("passwords.json", "[]", "passwords.json cannot be read"),
        ("state.json", "7", "state.json cannot be read"),
        ("passwords.json", "\xff", "passwords.json cannot be read"),
    ):
        if damage is None:
            (private / name).unlink()
        else:
            (private / name).write_bytes(damage.encode("latin-1"))
        before = contents(private)
        output = generate(path, code=1)
        assert expected in output and "Traceback" not in output, name
        assert contents(private) == before
        shutil.rmtree(private)
        shutil.copytree(saved, private)
    generate(path)


def test_a_folder_that_is_not_the_secrets_folder_of_a_fleet_is_refused(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    (tmp_path / "fleet.private").mkdir()
    (tmp_path / "fleet.private" / "diary.txt").write_text("mine")
    assert "not the secrets folder" in generate(write_description(), code=1)
    assert contents(tmp_path / "fleet.private") == {"diary.txt": b"mine"}


@pytest.mark.parametrize("host", ("../../x", "a/b", "mqtt://b", "a b", "b:1883/x", "", ".x"))
def test_a_broker_host_that_is_not_a_host_writes_nothing(
    write_description: WriteDescription, tmp_path: Path, host: str
) -> None:
    path = write_description()
    text = path.read_text()
    start = text.index("host = ")
    end = text.index("\n", start)
    path.write_text(text[:start] + f"host = {json.dumps(host)}" + text[end:])
    before = contents(tmp_path)
    output = generate(path, code=1)
    assert "broker.host" in output and contents(tmp_path) == before
