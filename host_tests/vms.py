"""The interpreters beside CPython: the 64-bit VM, and the 32-bit one under Node."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import vm

HERE = Path(__file__).parent
NODE_MODULES = HERE / "vm" / "node_modules"

NO_32_BIT = "the 32-bit VM needs node and npm, which are not here"


def has_32_bit() -> bool:
    return shutil.which("node") is not None and NODE_MODULES.is_dir()


def run_64(arguments: Sequence[str], path: Sequence[Path], timeout: float = 60, heap: str = "2m") -> str:
    """Run the 64-bit VM to its end; returns what it printed. Fails the test where it failed."""
    process = vm.start(arguments, path=path, heap=heap)
    try:
        output, _ = process.communicate(timeout=timeout)
    finally:
        vm.stop(process)
    assert process.returncode == 0, output
    return output


def run_32(code: str, folders: Sequence[Path]) -> str:
    """Run `code` in the 32-bit VM with the files of these folders; returns what it printed."""
    if not has_32_bit():
        pytest.skip(NO_32_BIT)
    command = ["node", str(HERE / "vm" / "run32.mjs"), ",".join(map(str, folders)), code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout
