"""The interpreters beside CPython, as tests use them: a failure of theirs fails the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.vm import process


def run_64(arguments: Sequence[str], path: Sequence[Path], timeout: float = 60, heap: str = "2m") -> str:
    """Run the 64-bit VM to its end; returns what it printed."""
    child = process.start_vm(arguments, module_path=path, heap=heap)
    try:
        output, _ = child.communicate(timeout=timeout)
    finally:
        process.stop_vm(child)
    assert child.returncode == 0, output
    return output


def run_32(code: str, folders: Sequence[Path]) -> str:
    """Run `code` in the 32-bit VM; returns what it printed. Skips the test where there is none."""
    if not process.has_vm_32():
        pytest.skip("the 32-bit VM needs node and npm, which are not here")
    return process.run_vm_32(code, folders)
