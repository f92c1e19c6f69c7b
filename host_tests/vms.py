"""Run programs in the MicroPython VMs (64-bit unix port, 32-bit WebAssembly). A failure fails the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.vm import process


def run_64(arguments: Sequence[str], path: Sequence[Path], timeout: float = 60, heap: str = "2m") -> str:
    """Run the 64-bit VM to its end and return its output. Raises AssertionError if its exit code is not 0.

    `arguments` are those of the interpreter, `path` is its module path, `heap` its heap size.
    """
    child = process.start_vm(arguments, module_path=path, heap=heap)
    try:
        output, _ = child.communicate(timeout=timeout)
    finally:
        process.stop_vm(child)
    assert child.returncode == 0, output
    return output


def run_32(code: str, folders: Sequence[Path]) -> str:
    """Run `code` in the 32-bit VM and return its output. Skips the test if that VM is not installed.

    `folders` contain the modules that the code may import.
    """
    if not process.has_vm_32():
        pytest.skip("the 32-bit VM needs node and npm, which are not installed")
    return process.run_vm_32(code, folders)
