"""The Makefile: help, wrong targets and variables, the virtual environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.paths import ROOT

REQUIREMENTS = ROOT / "tools" / "requirements"


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # without the variables of the `make` that runs the tests
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the files that the Makefile needs, without a virtual environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(REQUIREMENTS, tmp_path / "tools" / "requirements")
    shutil.copytree(ROOT / "boards", tmp_path / "boards")
    return tmp_path


def test_help_lists_each_target_in_80_columns() -> None:
    lines = make("help").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    first_words = {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "}
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY"))
    assert first_words == set(phony.split()[1:])


def test_an_unknown_target_or_variable_is_an_error_that_says_what_to_do() -> None:
    done = make("typo")
    assert done.returncode == 2 and "no target typo" in done.stderr and "make help" in done.stderr
    done = make("help", "BORAD=esp32")
    assert done.returncode == 2 and "unknown variable BORAD" in done.stderr


def test_a_missing_board_is_answered_with_the_boards_that_can_be_flashed(checkout: Path) -> None:
    error = make("-n", "flash", folder=checkout).stderr
    assert "BOARD= is missing" in error and "rpi_pico_w" in error and "host" not in error


def test_a_virtual_environment_that_does_not_work_is_made_anew(checkout: Path) -> None:
    venv = checkout / ".venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    (venv / "board").touch()
    assert "made anew" not in make("-n", "ls", folder=checkout).stdout and venv.exists()
    (packages,) = venv.glob("lib/python*/site-packages")
    packages.parent.rename(packages.parent.with_name("python3.2"))  # left behind by another version
    done = make("-n", "ls", folder=checkout)
    assert "made anew" in done.stdout and not venv.exists()
    assert "-m venv" in done.stdout and "pip install" in done.stdout
    venv.mkdir()
    (venv / "pyvenv.cfg").touch()
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to("/nowhere/python3")
    assert "made anew" in make("-n", "ls", folder=checkout).stdout and not venv.exists()


def test_a_folder_that_cannot_be_written_is_named(checkout: Path) -> None:
    # root may write everywhere: so `test -w` is replaced in the copy
    text = (checkout / "Makefile").read_text()
    assert "@test -w . ||" in text
    (checkout / "Makefile").write_text(text.replace("@test -w . ||", "@false ||"))
    done = make("ls", folder=checkout)
    assert done.returncode == 2 and "cannot be written" in done.stdout and not (checkout / ".venv").exists()


@pytest.mark.parametrize("name", sorted(path.name for path in REQUIREMENTS.glob("*.txt")))
def test_each_package_is_pinned_with_hashes(name: str) -> None:
    packages = (REQUIREMENTS / name).read_text().replace("\\\n", " ").splitlines()
    assert packages
    for line in packages:
        assert "==" in line and "--hash=sha256:" in line, line
    assert "--require-hashes" in (ROOT / "Makefile").read_text()


def test_a_python_without_the_packages_is_told_what_to_run() -> None:
    done = subprocess.run([sys.executable, "-S", "-m", "tools"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "make setup" in done.stderr and "Traceback" not in done.stderr


def test_the_sets_of_packages_agree_on_each_version() -> None:
    """They are installed into one environment."""
    versions: dict[str, dict[str, str]] = {}
    for path in REQUIREMENTS.glob("*.txt"):
        for line in path.read_text().splitlines():
            if "==" in line:
                package, _, version = line.partition("==")
                versions.setdefault(package, {})[path.name] = version.split()[0]
    assert {name: found for name, found in versions.items() if len(set(found.values())) > 1} == {}
