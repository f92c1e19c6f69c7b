"""The wheel of the library, and an environment in which it is installed."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tools.paths import ROOT


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--offline", "--out-dir"]
    subprocess.run([*command, str(folder), str(ROOT)], check=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    executable = folder / "bin" / "python"
    command = [executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True, timeout=120, cwd=folder)
    return executable
