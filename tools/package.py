"""`make package`: the library for `mip`, as source and compiled, and for freezing.

`lib/package.json` and `lib/manifest.py` list the sources and are committed: `mpremote mip install
github:...` reads the one, who builds MicroPython includes the other. A release has the same library
compiled, one package for each version of `.mpy`.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Optional

import tomlkit
import typer
from rich.console import Console

from tools.bundle import compiler, package_tree
from tools.errors import UserError
from tools.paths import BUILD, LIB, ROOT

_NAME = "umqtt5"


def read_version() -> str:
    """The version of all that is here; pyproject.toml is where it is written."""
    return str(tomlkit.parse((ROOT / "pyproject.toml").read_text())["project"]["version"])


def render_lists() -> dict[Path, str]:
    """The files of `lib/` that list its modules, as they have to be."""
    names = [f"{name}.py" for name in sorted(package_tree.LIBRARY.modules)]
    listed = "".join(f'        "{name}",\n' for name in names)
    return {
        LIB / "package.json": _package(f"{_NAME}/{name}" for name in names),
        LIB / "manifest.py": _MANIFEST % (read_version(), _NAME, listed),
    }


_MANIFEST = """\
# Written by `make package`. Include it in a manifest of yours, and the library is frozen.
metadata(description="MQTT 5.0 in fixed memory", version="%s")
package(
    "%s",
    (
%s    ),
    opt=2,
)
"""


def _package(paths: Iterable[str]) -> str:
    """A package.json: each path is where it comes from, beside it, and where it goes."""
    urls = ",\n".join(f'    ["{path}", "{path}"]' for path in paths)
    return f'{{\n  "urls": [\n{urls}\n  ],\n  "deps": [],\n  "version": "{read_version()}"\n}}\n'


def build_release(target: Path) -> list[Path]:
    """Write the compiled package, an archive of it and the SHA-256 of all; returns what was written."""
    with tempfile.TemporaryDirectory() as folder:
        compiler.compile_package(Path(folder))
        files = sorted(Path(folder).rglob("*.mpy"))
        mpy = files[0].read_bytes()[1]
        home = target / f"mpy-{mpy}"
        shutil.rmtree(home, ignore_errors=True)
        (home / _NAME).mkdir(parents=True)
        for path in files:
            target_file = home / path.relative_to(folder)
            target_file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target_file)
    paths = [path.relative_to(home).as_posix() for path in sorted((home / _NAME).rglob("*.mpy"))]
    (home / "package.json").write_text(_package(paths))
    archive = shutil.make_archive(str(target / f"{_NAME}-{read_version()}-mpy{mpy}"), "zip", home)
    written = [Path(archive), *sorted(path for path in home.rglob("*") if path.is_file())]
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(target)}" for p in written]
    (target / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    return written


def main(
    out: Annotated[Optional[Path], typer.Option(help="where the release goes")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="only whether what is committed fits the sources")
    ] = False,
) -> None:
    """The library for mip and for freezing: the lists in lib/ anew, and a compiled release."""
    console = Console(soft_wrap=True)
    for path, wanted in render_lists().items():
        if check and (not path.exists() or path.read_text() != wanted):
            raise UserError(f"lib/{path.name} does not fit the sources: `make package` writes it anew")
        if not check:
            path.write_text(wanted)
    if check:
        console.print("lib/package.json and lib/manifest.py fit the sources")
        return
    target = out or BUILD / "package"
    target.mkdir(parents=True, exist_ok=True)
    written = build_release(target)
    size = sum(path.stat().st_size for path in written if path.suffix == ".mpy")
    console.print(
        f"{target}: {_NAME} {read_version()}, {len(written) - 2} files of {size:,} bytes", highlight=False
    )
