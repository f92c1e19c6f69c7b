"""The command `release`: checks the clone, writes the version and the changelog, and builds dist/."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tools import package
from tools.console import Console
from tools.paths import BUILD, FIRMWARE, ROOT
from tools.publisher import DEFAULT_REPOSITORY, read_publisher
from tools.release import artifacts, changelog, version
from tools.text_files import read_text, write_text

DIST = ROOT / "dist"
_PROJECT = ROOT / "pyproject.toml"
_CHANGELOG = ROOT / "CHANGELOG.md"
_TIMESTAMPS = FIRMWARE / "app" / "node" / "timestamps.py"


def _today() -> datetime.date:
    """Return the date in UTC, that of SOURCE_DATE_EPOCH if it is set."""
    now = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = (
        datetime.datetime.fromtimestamp(int(now), datetime.timezone.utc)
        if now.isdigit()
        else datetime.datetime.now(datetime.timezone.utc)
    )
    return moment.date()


def render_files(number: str, date: datetime.date) -> dict[Path, str]:
    """Return the new text of each file that names the version or the date. Raises UserError."""
    new_year = datetime.datetime(date.year, 1, 1, tzinfo=datetime.timezone.utc)
    return {
        _PROJECT: _substitute(_PROJECT, r'^version = "[^"]*"$', f'version = "{number}"'),
        _CHANGELOG: changelog.release_entries(read_text(_CHANGELOG), number, date),
        # a clock that shows an earlier time is not set
        _TIMESTAMPS: _substitute(
            _TIMESTAMPS, r"^BUILD_TIME = \d+$", f"BUILD_TIME = {int(new_year.timestamp())}"
        ),
        **package.render_lists(number),
    }


def _substitute(path: Path, pattern: str, line: str) -> str:
    """Return the text of a file with `line` in place of the only line that matches. Raises ValueError."""
    text, count = re.subn(pattern, line, read_text(path), flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{path}: one line must match {pattern}, not {count}")
    return text


def main(
    number: Annotated[str, typer.Argument(metavar="VERSION", help="the version, such as 1.2.3 or 1.2.3rc1")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check, and say what would be done")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="build the files of a version that has a tag again")
    ] = False,
) -> None:
    """Write a version and its changelog into the files of the clone, and build what is published into dist/.

    It commits, tags and uploads nothing: it prints the commands for that.
    """
    console = Console(soft_wrap=True)
    current = package.read_version()
    if rebuild:
        version.check_rebuild(ROOT, number, current)
        changes = False
    else:
        changes = version.check_version(ROOT, number, current, read_text(_CHANGELOG))
    date = _today() if changes else changelog.find_date(read_text(_CHANGELOG), number) or _today()
    new = render_files(number, date) if changes else {}
    old = {path: path.read_text(encoding="utf-8") for path in new}
    if dry_run:
        for path in sorted(path for path, text in new.items() if text != old[path]):
            console.print(f"would write {path.relative_to(ROOT)}")
        console.print(
            f"would build {artifacts.NAME} {number} of {date} into {DIST.name}/. Nothing was written"
        )
        return
    try:
        for path, text in new.items():
            write_text(path, text)
        written = _build(number, artifacts.source_date(date))
    except BaseException:  # also Ctrl-C: the clone stays as it was
        for path, text in old.items():
            write_text(path, text)
        raise
    for path in written:
        if path.parent == DIST:
            console.print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")
    count = sum(path.parent != DIST for path in written)
    console.print(f"{DIST.name}/mip/  package index with {count} files")
    _print_next(console, number, changes)


def _build(number: str, epoch: int) -> list[Path]:
    """Build the files in a temporary folder, then replace dist/ by it. Returns the files."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="release-", dir=BUILD) as name:
        target = Path(name) / "dist"
        target.mkdir()
        written = artifacts.build_all(target, number, epoch)
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.move(target, DIST)
        return [DIST / path.relative_to(target) for path in written]


def _print_next(console: Console, number: str, changes: bool) -> None:
    publisher = read_publisher()
    console.print("\nNext:")
    if changes:
        console.print("  make test                                # then look at: git diff")
        console.print(f'  git commit -am "Release {number}"')
    console.print(f"  git tag v{number}")
    console.print(f"  git push origin HEAD v{number}")
    console.print("  .venv/bin/uv publish dist/*.whl          # to PyPI")
    console.print(f"  attach the files of dist/ to the release at {publisher.repository}")
    console.print(f"  copy dist/mip/ over {publisher.mip_index}/, which keeps the earlier versions")
    if publisher.repository == DEFAULT_REPOSITORY:
        console.print(
            f"\nThe documents name {DEFAULT_REPOSITORY}, the default address. If yours is another one, run "
            "before the commit: make publisher REPOSITORY=https://HOST/OWNER/NAME",
            style="yellow",
        )
