"""The command `package`: writes the file lists for mip and for freezing, and builds a release for mip.

lib/package.json and lib/manifest.py list the source files and are committed, as is the version in
lib/umqtt5/__init__.py. `mpremote mip install
github:...` reads package.json. A build of MicroPython that freezes the library includes manifest.py.
A release contains the library as .mpy files, in a folder named after their .mpy version.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools.bundle import compiler, package_tree
from tools.console import Console
from tools.errors import UserError
from tools.paths import BUILD, LIB, ROOT
from tools.text_files import read_toml

_NAME = "umqtt5"
_VERSION_LINE = r'^(    if name == "__version__":.*\n        return )"[^"]*"'


def read_version() -> str:
    """Return the version of the project, from pyproject.toml."""
    return str(read_toml(ROOT / "pyproject.toml")["project"]["version"])


def render_lists(version: str | None = None) -> dict[Path, str]:
    """Return the content of the files in lib/ that name the version, by path.

    `version` is by default that of pyproject.toml.
    """
    version = version or read_version()
    names = source_files()
    listed = "".join(f'        "{name.removeprefix(_NAME + "/")}",\n' for name in names)
    return {
        LIB / "package.json": render_package(names, version),
        LIB / "manifest.py": _MANIFEST % (version, _NAME, listed),
        LIB / _NAME / "__init__.py": _set_version(
            (LIB / _NAME / "__init__.py").read_text(encoding="utf-8"), version
        ),
    }


def source_files() -> list[str]:
    """Return the sources of the library that go to a board, relative to lib/.

    It does not read them: `make release` changes their version after this, and then compiles them.
    """
    return [path.relative_to(LIB).as_posix() for path in package_tree.LIBRARY.sources()]


def _set_version(source: str, version: str) -> str:
    """Return the source of the package with this version. Raises ValueError."""
    source, count = re.subn(_VERSION_LINE, rf'\g<1>"{version}"', source, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"lib/{_NAME}/__init__.py: one line must return the version, not {count}")
    return source


_MANIFEST = """\
# Written by `make package`. Include it in the manifest of your board to freeze the library into MicroPython.
metadata(description="MQTT 5.0 client in a fixed amount of memory", version="%s")
package(
    "%s",
    (
%s    ),
    opt=2,
)
"""


def render_package(paths: Iterable[str], version: str) -> str:
    """Return a package.json for mip. Each path is both the source (relative to the file) and the target."""
    urls = ",\n".join(f'    ["{path}", "{path}"]' for path in paths)
    return f'{{\n  "urls": [\n{urls}\n  ],\n  "deps": [],\n  "version": "{version}"\n}}\n'


def build_release(target: Path) -> list[Path]:
    """Write the compiled package, a zip archive of it, and SHA256SUMS. Return the archive and its files."""
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
    (home / "package.json").write_text(render_package(paths, read_version()), encoding="utf-8")
    archive = shutil.make_archive(str(target / f"{_NAME}-{read_version()}-mpy{mpy}"), "zip", home)
    written = [Path(archive), *sorted(path for path in home.rglob("*") if path.is_file())]
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(target)}" for p in written]
    (target / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")
    return written


def main(
    out: Annotated[Optional[Path], typer.Option(help="folder of the release; default: build/package")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="fail if the committed lists are not up to date, write nothing")
    ] = False,
) -> None:
    """Write the version and the file lists into lib/, and build a release."""
    console = Console(soft_wrap=True)
    for path, wanted in render_lists().items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != wanted):
            raise UserError(f"{path.relative_to(ROOT)}: not up to date. Run: make package")
        if not check:
            path.write_text(wanted, encoding="utf-8")
    if check:
        console.print("the version and the lists in lib/ are up to date")
        return
    target = out or BUILD / "package"
    target.mkdir(parents=True, exist_ok=True)
    written = build_release(target)
    size = sum(path.stat().st_size for path in written if path.suffix == ".mpy")
    console.print(f"{target}: {_NAME} {read_version()}, {len(written) - 2} files of {size:,} bytes")
