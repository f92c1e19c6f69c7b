"""`make deploy`: the library and the application onto a board, only what has changed.

What is there is told by the hashes of the board's own files, never by what an earlier run has
noted: so a run that was cut off is mended by the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from tools.board import definition, mpremote, serial_ports
from tools.board.serial_console import show_startup
from tools.bundle import image
from tools.errors import UserError
from tools.progress import progress_bar

_INVENTORY = Path(mpremote.__file__).parent / "on_board" / "file_hashes.py"
# what `slot.py` and the updates over the air leave; while it is there, what lies beside it does not run
_CHOICE = ("slot", "slot.new")
_UPDATES = ("a", "b")


@dataclass
class SyncPlan:
    """What is to be done so that a board holds an image: paths on the board."""

    to_copy: list[str] = field(default_factory=list)
    to_remove: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 by path of the files of an image."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_board_hashes(port: str, wanted: dict[str, str], mpy: int) -> dict[str, str]:
    """SHA-256 by path of what the board holds in the folders of an image, and of their like.

    A module as `.py` shadows the `.mpy` of its name, so both are looked for. Raises UserError where
    the board can't load this version of `.mpy`.
    """
    roots = {path.split("/")[0] for path in wanted}
    roots |= {f"{Path(root).stem}.{suffix}" for root in roots if "." in root for suffix in ("py", "mpy")}
    roots |= {*_CHOICE, *_UPDATES}
    said = mpremote.run(port, "exec", f"ROOTS={sorted(roots)!r}", "run", str(_INVENTORY))
    lines = said.splitlines()
    loads = [int(line[4:]) for line in lines if line.startswith("mpy ")]
    if loads != [mpy]:
        what = f"loads .mpy version {loads[0]}" if loads else "does not say which .mpy it loads"
        raise UserError(f"{port}: its MicroPython {what}, these files are version {mpy}: `make flash` it")
    found = [json.loads(line[5:]) for line in lines if line.startswith("file ")]
    return {path: digest for path, digest in found}


def plan_sync(wanted: dict[str, str], found: dict[str, str]) -> SyncPlan:
    """What differs. Whatever else lies in the image's folders does not belong there.

    An update that came over the air goes too, the choice of it first: cut off in the midst, what came
    by the cable runs.
    """
    made = SyncPlan(to_remove=sorted(set(found) - set(wanted), key=lambda path: (path not in _CHOICE, path)))
    for path, digest in wanted.items():
        (made.unchanged if found.get(path) == digest else made.to_copy).append(path)
    return made


def apply_plan(
    port: str, folder: Path, made: SyncPlan, on_progress: Callable[[str], None] = lambda path: None
) -> None:
    """Carry it out: remove, make folders, copy; `each` is told what comes next."""
    parents = {parent.as_posix() for path in made.to_copy for parent in Path(path).parents} - {"."}
    first = ["import os"]
    first += [f"os.remove({path!r})" for path in made.to_remove]
    for path in sorted(parents):
        first.append(f"try:\n os.mkdir({path!r})\nexcept OSError:\n pass")
    # main.py last: what it imports is there when it is
    order = sorted(made.to_copy, key=lambda path: (path == "main.py", path))
    copies = [word for path in order for word in ("cp", str(folder / path), f":{path}", "+")][:-1]
    mpremote.run(
        port,
        *("exec", "\n".join(first)),
        *copies,
        on_line=lambda line: on_progress(line.rsplit(" :", 1)[-1]) if line.startswith("cp ") else None,
    )


def deploy(port: str, target: definition.Board, console: Console) -> SyncPlan:
    """Bring a board to what the sources say, and verify it. Does not start it. Raises UserError."""
    with console.status("compiling"):
        folder = image.build_image(target.key)
    wanted = hash_files(folder)
    mpy = next(folder.rglob("*.mpy")).read_bytes()[1]
    with console.status(f"{port}: looking at what is there"):
        made = plan_sync(wanted, read_board_hashes(port, wanted, mpy))
    if made.to_copy or made.to_remove:
        with progress_bar(console) as progress:
            task = progress.add_task("copying", total=len(made.to_copy))

            def each(path: str) -> None:
                progress.update(task, advance=1, description=path)

            apply_plan(port, folder, made, each)
        with console.status(f"{port}: verifying"):
            left = plan_sync(wanted, read_board_hashes(port, wanted, mpy))
        if left.to_copy or left.to_remove:
            raise UserError(
                f"{port}: {', '.join(left.to_copy + left.to_remove)}: not as it was sent; do it again"
            )
    console.print(
        f"{port}: {len(made.to_copy)} files copied, {len(made.to_remove)} removed, {len(made.unchanged)} were there",
        highlight=False,
    )
    if any(path in _CHOICE for path in made.to_remove):
        console.print(f"{port}: the update that came over the air is removed: these files run")
    return made


def main(
    board_key: Annotated[str, typer.Option("--board", help="a folder of boards/")],
    port: Annotated[Optional[str], typer.Option(help="the serial port; found where there is one")] = None,
    start: Annotated[bool, typer.Option(help="start the application, and show its first lines")] = True,
) -> None:
    """Library and application, compiled, onto a board: only what has changed, with hashes verified."""
    console = Console(soft_wrap=True)
    target = definition.load_board(board_key)
    chosen = serial_ports.choose_port(port, target)
    deploy(chosen, target, console)
    if start:
        show_startup(chosen, console)
