"""The command `deploy`: copies the changed files of the library and the application to a board.

The changed files are found by comparing hashes with the files on the board, not from a record on this
computer. So the next run completes a run that was interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.board import definition, identity, mpremote, serial_ports
from tools.board.definition import Board
from tools.board.serial_console import show_startup
from tools.bundle import image
from tools.console import Console
from tools.deadlines import COMPARE, COPY_ALL, LONG_EXECUTE
from tools.device_config.config import CONFIG_FILE, validate
from tools.device_config.device import read_config
from tools.errors import UserError
from tools.heap.estimate import choose_heap
from tools.options import BoardKey, Port, Start
from tools.progress import progress_bar

_HASH_SCRIPT = Path(mpremote.__file__).parent / "on_board" / "file_hashes.py"
# files and folders of updates over the air (firmware/slot.py). The files of `deploy` run only if no update
# is selected
_SLOT_SELECTION = ("slot.new", "slot")  # in this order: without `slot` the device uses `slot.new`
_SLOT_FOLDERS = ("a", "b")
_BASE_REMOVED = "base_removed"  # exists if an update has removed the files of `deploy`
_NONCE = "update_nonce"  # offers that were sent before the deployment are not valid after it


@dataclass
class SyncPlan:
    """Difference between the files of an image and the files on a board, as paths on the board."""

    to_copy: list[str] = field(default_factory=list)
    to_remove: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    heap: int | None = None  # heap of the board in bytes, if it has reported one


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of an image, by path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_board_hashes(
    port: str,
    wanted: dict[str, str],
    mpy: int,
    board: Board,
    on_progress: Callable[[str], None] = lambda line: None,
) -> dict[str, str]:
    """Return the SHA-256 of each file on the board, by path: see `read_board`."""
    return read_board(port, wanted, mpy, board, on_progress)[0]


def read_board(
    port: str,
    wanted: dict[str, str],
    mpy: int,
    board: Board,
    on_progress: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, str], int | None]:
    """Return the SHA-256 of each file on the board, by path, and the heap in bytes if the board reports it.

    The files are those in the folders that an image and updates use. For each `.mpy` file in the root folder,
    a `.py` file of the same name is included, because MicroPython imports the `.py` file instead. Calls
    `on_progress` after each file. Raises UserError if the port does not lead to such a board, or if that
    cannot load .mpy files of version `mpy`.
    """
    roots = {path.split("/")[0] for path in wanted}
    roots |= {f"{Path(root).stem}.{suffix}" for root in roots if "." in root for suffix in ("py", "mpy")}
    roots |= {*_SLOT_SELECTION, *_SLOT_FOLDERS, _NONCE, _BASE_REMOVED}
    scripts = ("run", str(identity.SCRIPT), "run", str(_HASH_SCRIPT))
    output = mpremote.run(
        port,
        *("exec", f"ROOTS={sorted(roots)!r}", *scripts),
        timeout=COMPARE,
        execute=LONG_EXECUTE,
        doing="comparing the files",
        on_line=lambda line: on_progress(line) if line.startswith("file ") else None,
    )
    heap = identity.check_output(output, port, board)
    lines = output.splitlines()
    loads = [int(line[4:]) for line in lines if line.startswith("mpy ")]
    if loads != [mpy]:
        version = f"loads .mpy files of version {loads[0]}" if loads else "does not report its .mpy version"
        raise UserError(
            f"{port}: MicroPython on the board {version}, but these files have version {mpy}. "
            "To install the right MicroPython: make flash"
        )
    found = [json.loads(line[5:]) for line in lines if line.startswith("file ")]
    return {path: digest for path, digest in found}, heap


def plan_sync(wanted: dict[str, str], found: dict[str, str]) -> SyncPlan:
    """Compare the hashes of an image with those of a board. Files that are not in the image are removed.

    An update that came over the air is removed, too. The file that selects its slot is removed first, so
    that an interrupted deployment does not leave an incomplete update selected.
    """
    obsolete = set(found) - set(wanted)
    selection = [path for path in _SLOT_SELECTION if path in obsolete]
    plan = SyncPlan(to_remove=selection + sorted(obsolete - set(selection)))
    for path, digest in wanted.items():
        (plan.unchanged if found.get(path) == digest else plan.to_copy).append(path)
    return plan


def apply_plan(
    port: str, folder: Path, plan: SyncPlan, on_progress: Callable[[str], None] = lambda path: None
) -> None:
    """Remove and copy the files of a plan. Calls `on_progress(path)` when the copy of a file begins."""
    parents = {parent.as_posix() for path in plan.to_copy for parent in Path(path).parents} - {"."}
    statements = ["import os"]
    for path in plan.to_remove:
        statements += [f"os.remove({path!r})", "feed_watchdog()"]
    for path in sorted(parents):
        statements.append(f"try:\n os.mkdir({path!r})\nexcept OSError:\n pass")
    # main.py last, because it imports the other files
    order = sorted(plan.to_copy, key=lambda path: (path == "main.py", path))
    copies = [word for path in order for word in ("cp", str(folder / path), f":{path}", "+")][:-1]
    mpremote.run(
        port,
        *("exec", "\n".join(statements)),
        *copies,
        timeout=COPY_ALL,
        execute=LONG_EXECUTE,
        doing="copying the files",
        on_line=lambda line: on_progress(line.rsplit(" :", 1)[-1]) if line.startswith("cp ") else None,
    )


@contextlib.contextmanager
def _counting(console: Console, text: str) -> Iterator[Callable[[str], None]]:
    """Show a text and the number of files so far. Yields the function to call after each file."""
    number = 0
    with console.status(text) as status:

        def count(line: str) -> None:
            nonlocal number
            number += 1
            status.update(f"{text}: {number}")

        yield count


def deploy(port: str, board: Board, console: Console) -> SyncPlan:
    """Copy what has changed, and verify the result. Does not start the application. Raises UserError."""
    with console.status("compiling"):
        folder = image.build_image(board.key)
    wanted = hash_files(folder)
    mpy = next(folder.rglob("*.mpy")).read_bytes()[1]
    with _counting(console, f"{port}: comparing the files") as count:
        found, heap = read_board(port, wanted, mpy, board, count)
    plan = plan_sync(wanted, found)
    plan.heap = heap
    if plan.to_copy or plan.to_remove:
        with progress_bar(console) as progress:
            task = progress.add_task("copying", total=len(plan.to_copy))
            apply_plan(port, folder, plan, lambda path: progress.update(task, advance=1, description=path))
        with _counting(console, f"{port}: verifying") as count:
            left = plan_sync(wanted, read_board_hashes(port, wanted, mpy, board, count))
        if left.to_copy or left.to_remove:
            different = ", ".join(left.to_copy + left.to_remove)
            raise UserError(f"{port}: verification failed: {different} differ from the image. Try again")
    counts = (len(plan.to_copy), len(plan.to_remove), len(plan.unchanged))
    console.print(f"{port}: %d files copied, %d removed, %d unchanged" % counts)
    if any(path in _SLOT_SELECTION for path in plan.to_remove):
        console.print(f"{port}: an update over the air was removed; the deployed files run now")
    return plan


def _find_config_problem(port: str, board: Board, heap: int | None) -> str | None:
    """Return why the deployed version may not run with the config on the board, None if it does."""
    try:
        device = read_config(port)
        if device is None:
            return None
        warning = validate(device.config, device.files, board, heap)
    except UserError as error:
        return str(error)
    return warning and f"{CONFIG_FILE}: {warning}"


def main(board_key: BoardKey, port: Port = None, start: Start = True) -> None:
    """Compile library and application, copy the changed files to a board, and verify their hashes."""
    console = Console(soft_wrap=True)
    board = definition.load_board(board_key)
    chosen = serial_ports.choose_port(port, board)
    plan = deploy(chosen, board, console)
    if problem := _find_config_problem(chosen, board, choose_heap(board, plan.heap)):
        console.print(f"{chosen}: {problem}", highlight=False, markup=False, style="yellow")
    if start:
        show_startup(chosen, console)
