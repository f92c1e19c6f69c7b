"""The interpreters beside CPython, as tests use them: a failure of theirs fails the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.vm import process as vm


def run_64(arguments: Sequence[str], path: Sequence[Path], timeout: float = 60, heap: str = "2m") -> str:
    """Run the 64-bit VM to its end; returns what it printed."""
    process = vm.start(arguments, path=path, heap=heap)
    try:
        output, _ = process.communicate(timeout=timeout)
    finally:
        vm.stop(process)
    assert process.returncode == 0, output
    return output


def run_32(code: str, folders: Sequence[Path]) -> str:
    """Run `code` in the 32-bit VM; returns what it printed. Skips the test where there is none."""
    if not vm.has_32_bit():
        pytest.skip("the 32-bit VM needs node and npm, which are not here")
    return vm.run_32(code, folders)
