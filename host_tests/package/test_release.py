"""`make release`: what it refuses, what it writes, and that two builds give the same bytes."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from host_tests.package.released_clone import ENTRY, VERSION, Clone
from tools.errors import UserError
from tools.release import artifacts, changelog, mip_index
from tools.release.version import check_version
from tools.text_files import read_toml

CHANGED = ["CHANGELOG.md", "lib/manifest.py", "lib/package.json", "lib/umqtt5/__init__.py", "pyproject.toml"]
DAY = datetime.date(2027, 3, 4)
EPOCH = str(int(datetime.datetime(2027, 3, 4, 5, tzinfo=datetime.timezone.utc).timestamp()))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone") / "project")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, str]:
    """A clone in which `make release` has run, in another year, and its output."""
    clone = Clone(tmp_path_factory.mktemp("released") / "project")
    return clone, clone.run("release", VERSION, SOURCE_DATE_EPOCH=EPOCH)


def read_version(clone: Clone) -> str:
    return str(read_toml(clone.folder / "pyproject.toml")["project"]["version"])


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_dry_run_names_the_files_and_changes_nothing(clone: Clone) -> None:
    output = clone.run("release", VERSION, "--dry-run")
    for name in CHANGED:
        assert f"would write {name}\n" in output
    assert "dist/" in output and "Nothing was written" in output
    assert clone.status() == [] and not (clone.folder / "dist").exists()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.1.0", "not newer than 0.1.0"),
        ("0.0.9", "not newer than 0.1.0. Choose a newer version"),
        ("0.1.0rc1", "not newer than 0.1.0"),
        ("v0.2.0", "expected three numbers"),
        ("0.2", "expected three numbers"),
        ("0.02.0", "expected three numbers"),
        ("0.2.0; rm -rf x", "expected three numbers"),
        ("٠.٢.٠", "expected three numbers"),
    ],
)
def test_a_version_that_is_malformed_or_not_newer_is_refused(clone: Clone, version: str, words: str) -> None:
    assert words in clone.run("release", version, code=1)
    assert clone.status() == []


def test_a_tree_with_changes_or_new_files_is_refused(clone: Clone) -> None:
    (clone.folder / "lib" / "umqtt5" / "new.py").write_text("\n")
    try:
        output = clone.run("release", VERSION, code=1)
    finally:
        (clone.folder / "lib" / "umqtt5" / "new.py").unlink()
    assert "not committed: lib/umqtt5/new.py. Run: git status" in output
    assert clone.status() == []


def test_a_version_with_a_tag_is_refused_and_says_how_to_build_it_again(clone: Clone) -> None:
    clone.git("tag", "v0.3.0")
    try:
        assert "git checkout v0.3.0" in clone.run("release", "0.3.0", code=1)
        assert "not newer than 0.3.0" in clone.run("release", "0.2.9", code=1)
        assert "Nothing was written" in clone.run("release", "0.3.1", "--dry-run")
        assert "this clone has version 0.1.0, not 0.3.0" in clone.run("release", "0.3.0", "--rebuild", code=1)
    finally:
        clone.git("tag", "--delete", "v0.3.0")


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    environment = {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CEILING_DIRECTORIES", environment["GIT_CEILING_DIRECTORIES"])
        with pytest.raises(UserError, match="not a clone made by git"):
            check_version(tmp_path, VERSION, "0.1.0", "")


def test_a_changelog_without_entries_is_refused() -> None:
    with pytest.raises(UserError, match="nothing under"):
        changelog.release_entries("# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-01-01\n", VERSION, DAY)
    with pytest.raises(UserError, match="no heading"):
        changelog.release_entries("# Changelog\n\n## 0.1.0 - 2026-01-01\n", VERSION, DAY)


def test_entries_move_to_the_version_with_its_date_and_the_next_release_finds_them() -> None:
    text = changelog.release_entries("# C\n\n## Unreleased\n\n- a\n\n## 0.1.0 - 2026-01-01\n", VERSION, DAY)
    assert text == "# C\n\n## Unreleased\n\n## 0.2.0 - 2027-03-04\n\n- a\n\n## 0.1.0 - 2026-01-01\n"
    assert changelog.unreleased_entries(text) == ""
    assert changelog.find_date(text, VERSION) == DAY
    assert changelog.find_date(text, "0.2") is None


def test_a_release_writes_one_version_everywhere(released: tuple[Clone, str]) -> None:
    clone, _ = released
    assert clone.status() == sorted([*CHANGED, "firmware/app/node/timestamps.py"])  # another year
    assert read_version(clone) == VERSION
    assert json.loads((clone.folder / "lib" / "package.json").read_text())["version"] == VERSION
    assert f'return "{VERSION}"' in (clone.folder / "lib" / "umqtt5" / "__init__.py").read_text()
    assert f'version="{VERSION}"' in (clone.folder / "lib" / "manifest.py").read_text()
    changes = (clone.folder / "CHANGELOG.md").read_text()
    assert f"## Unreleased\n\n## {VERSION} - {DAY}\n\n{ENTRY}\n" in changes
    build_time = re.search(r"^BUILD_TIME = (\d+)$", (clone.folder / CHANGED_TIME).read_text(), re.MULTILINE)
    assert build_time and datetime.date(2027, 1, 1) == datetime.date.fromtimestamp(int(build_time[1]) + 43200)


CHANGED_TIME = "firmware/app/node/timestamps.py"


def test_a_release_commits_and_tags_nothing_and_prints_the_commands(released: tuple[Clone, str]) -> None:
    clone, output = released
    assert clone.git("tag", "--list") == "" and clone.git("rev-list", "--count", "HEAD").strip() == "1"
    for line in (
        f'git commit -am "Release {VERSION}"',
        f"git tag v{VERSION}",
        f"git push origin HEAD v{VERSION}",
    ):
        assert f"\n  {line}\n" in output
    assert "make publisher REPOSITORY=" in output  # the default address
    assert clone.git("check-ignore", "dist/SHA256SUMS")


def test_the_checksums_cover_the_files_to_attach(released: tuple[Clone, str]) -> None:
    dist = released[0].folder / "dist"
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, capture_output=True)
    assert done.returncode == 0, done.stdout
    listed = {line.split("  ")[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in dist.iterdir() if path.is_file()} - {"SHA256SUMS"}
    assert {Path(name).suffix for name in listed} == {".whl", ".zip", ".romfs"}


def test_two_builds_give_the_same_bytes_in_another_folder_and_at_another_time(
    released: tuple[Clone, str], tmp_path: Path
) -> None:
    clone, _ = released
    first = hashes(clone.folder / "dist")
    other = tmp_path / "elsewhere"
    shutil.copytree(clone.folder, other, symlinks=True, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    for path in other.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (0, 0))
    copy = object.__new__(Clone)
    copy.folder = other
    copy.commit()
    copy.git("tag", f"v{VERSION}")
    # without SOURCE_DATE_EPOCH the files have the date of the release
    for name in ("0", "1"):
        copy.run("release", VERSION, "--rebuild", PYTHONHASHSEED=name, TZ="Asia/Tokyo")
        second = hashes(other / "dist")
        differing = {key for key in first if first[key] != second.get(key)}
        assert differing <= {f"umqtt5-{VERSION}-mpy6.zip", "SHA256SUMS"}  # their time was SOURCE_DATE_EPOCH
        assert first.keys() == second.keys()
    copy.run("release", VERSION, "--rebuild", SOURCE_DATE_EPOCH=EPOCH)
    assert hashes(other / "dist") == first
    assert copy.status() == []


def test_a_release_that_was_committed_but_not_tagged_is_built_again(
    released: tuple[Clone, str], tmp_path: Path
) -> None:
    changes = f"## Unreleased\n\n## {VERSION} - {DAY}\n\n{ENTRY}\n"
    clone = object.__new__(Clone)
    clone.folder = tmp_path
    (tmp_path / "CHANGELOG.md").write_text(changes)
    clone.git("init", "--quiet")
    clone.commit()
    assert check_version(tmp_path, VERSION, VERSION, changes) is False
    assert check_version(tmp_path, "0.2.1", VERSION, changes) is True
    with pytest.raises(UserError, match="unreleased entries"):
        check_version(tmp_path, VERSION, VERSION, changes.replace("Unreleased\n", "Unreleased\n\n- more\n"))


def test_a_build_that_fails_leaves_the_clone_and_the_old_dist_as_they_were(
    clone: Clone, tmp_path: Path
) -> None:
    dist = clone.folder / "dist"
    dist.mkdir()
    (dist / "old").write_text("")
    (tmp_path / "uv.py").write_text("import sys\nsys.exit('no such backend')\n")
    try:
        python_path = f"{tmp_path}{os.pathsep}{clone.folder}"
        output = clone.run("release", VERSION, code=1, PYTHONPATH=python_path)
        assert "uv failed: no such backend. Run: make setup" in output
        assert clone.status() == [] and [path.name for path in dist.iterdir()] == ["old"]
    finally:
        shutil.rmtree(dist)


def test_the_zip_archive_has_the_compiled_library_and_its_package_json(released: tuple[Clone, str]) -> None:
    dist = released[0].folder / "dist"
    with zipfile.ZipFile(dist / f"umqtt5-{VERSION}-mpy6.zip") as archive:
        package = json.loads(archive.read("package.json"))
        assert package["version"] == VERSION
        assert {name for name, _ in package["urls"]} == set(archive.namelist()) - {"package.json"}
        assert VERSION.encode() in archive.read("umqtt5/__init__.mpy")
        assert all(info.date_time == (2027, 3, 4, 5, 0, 0) for info in archive.infolist())


@pytest.mark.parametrize("moment", ["", "12 o'clock", "-1"])
def test_a_source_date_is_a_number_of_seconds(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", moment)
    if moment:
        with pytest.raises(UserError, match="expected seconds since 1970"):
            artifacts.source_date(DAY)
    else:
        assert artifacts.source_date(DAY) == 1804118400


def test_versions_share_an_index_and_the_newest_is_latest(tmp_path: Path) -> None:
    for version, data in (("1.0.0", b"old"), ("1.1.0", b"new")):
        mip_index.write_index(tmp_path, "name", version, {"6": {"a.mpy": data, "same.mpy": b"same"}})
    answers = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "package/6/name").iterdir()}
    assert set(answers) == {"1.0.0", "1.1.0", "latest"}
    assert answers["latest"] == answers["1.1.0"] != answers["1.0.0"]
    for answer in answers.values():
        for _, digest in answer["hashes"]:
            assert (tmp_path / "file" / digest[:2] / digest).is_file()
    assert len(list((tmp_path / "file").rglob("*"))) - len(list((tmp_path / "file").iterdir())) == 3


def test_make_release_without_a_version_says_how() -> None:
    done = subprocess.run(
        ["make", "-n", "release", f"PYTHON={sys.executable}"],
        cwd=Path(artifacts.ROOT),
        env={name: value for name, value in os.environ.items() if "MAKE" not in name},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "VERSION= is missing. Example: VERSION=1.2.3" in done.stderr
