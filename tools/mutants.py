"""`make mutants`: breaks the library on purpose, and sees the tests fail that cite the statement.

Each entry of `host_tests/conformance/mutants.toml` replaces a piece of a file of lib/umqtt5, in a
copy of the checkout, and names the statements that are broken by it.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Annotated, TypedDict

import tomlkit
import typer
from rich.progress import track

from tools import conformance
from tools.paths import BUILD, ROOT

_COPIED = ("lib", "firmware", "boards", "tools", "host_tests", "pyproject.toml")
_AT_ONCE = 2


class MutantResult(TypedDict):
    """What a mutant did to one statement."""

    mutant: str
    failed: list[str]  # of the tests that cite it


@dataclass
class Mutant:
    """A change of one file that breaks some statements."""

    breaks: list[str]
    file: str
    old: str
    new: str

    def __str__(self) -> str:
        old, new = self.old.splitlines(), self.new.splitlines()
        # the first line that differs says most
        gone = next((line.strip() for line in old if line not in new), "")
        come = next((line.strip() for line in new if line not in old), "")
        return f"{self.file}: {gone or '...'} -> {come or 'nothing'}"

    def mutated_source(self, tree: Path) -> str:
        """The text of the changed file. Raises ValueError where it can't be changed so."""
        text = (tree / "lib" / "umqtt5" / self.file).read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"mutants.toml: {self}: `old` is there {text.count(self.old)} times")
        text = text.replace(self.old, self.new)
        try:
            ast.parse(text)
        except SyntaxError as error:
            raise ValueError(f"{self}: {error}")
        return text


def load_mutants() -> list[Mutant]:
    table = tomlkit.parse((ROOT / conformance.FOLDER / "mutants.toml").read_text()).unwrap()
    return [Mutant(**row) for row in table["mutant"]]


class CheckoutPool:
    """Copies of the checkout, one for each that runs at the same time."""

    def __init__(self, folder: Path) -> None:
        self._free: Queue[Path] = Queue()
        for i in range(_AT_ONCE):
            tree = folder / str(i)
            tree.mkdir()
            for name in _COPIED:
                source = ROOT / name
                copy = shutil.copytree if source.is_dir() else shutil.copy
                copy(source, tree / name)
            self._free.put(tree)

    @contextmanager
    def borrow(self) -> Iterator[Path]:
        tree = self._free.get()
        try:
            yield tree
        finally:
            self._free.put(tree)


def run_tests(tree: Path, tests: list[str]) -> dict[str, str]:
    """Run tests in a copy; returns how each ended."""
    written = tree / "outcomes.json"
    written.unlink(missing_ok=True)
    options = ["-q", "-n", "0", "--timeout", "20", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "-p", "host_tests.outcomes", "--outcomes", written]
    # a .pyc of the same second and size would hide a change
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(tree))
    done = subprocess.run(
        [*map(str, command), *tests], cwd=tree, env=environment, capture_output=True, text=True
    )
    if done.returncode not in (0, 1):  # nothing was run: an import that fails shows nothing
        raise RuntimeError(done.stdout + done.stderr)
    outcomes: dict[str, str] = json.loads(written.read_text())
    return {test: conformance.find_outcome(test, outcomes) for test in tests}


def find_failing_tests(trees: CheckoutPool, mutant: Mutant, citing: dict[str, list[str]]) -> set[str]:
    """The tests that fail because of this mutant."""
    tests = sorted({test for identifier in mutant.breaks for test in citing[identifier]})
    if not tests:
        return set()
    with trees.borrow() as tree:
        path = tree / "lib" / "umqtt5" / mutant.file
        before = path.read_text()
        path.write_text(mutant.mutated_source(tree))
        try:
            outcomes = run_tests(tree, tests)
        finally:
            path.write_text(before)
    return {test for test, how in outcomes.items() if how == "failed"}


def check_results(citing: dict[str, list[str]], found: dict[str, list[MutantResult]]) -> Iterator[str]:
    """What is wrong: mutants that no test sees, tests that see none, statements without mutants."""
    for identifier, tests in citing.items():
        mutants = found.get(identifier, [])
        if tests and not mutants:
            yield f"{identifier}: nothing breaks it"
            continue
        for one in mutants:
            if not one["failed"]:
                yield f"{identifier}: no test that cites it fails with {one['mutant']}"
        for test in tests:
            if not any(test in one["failed"] for one in mutants):
                yield f"{identifier}: {test} cites it, and never fails"


def main(
    only: Annotated[list[str] | None, typer.Argument(help="Only these statements, MQTT-3.3.4-9.")] = None,
) -> None:
    """Break the library for each statement, see the tests that cite it fail; all in build/mutants.json."""
    statements, wrong = conformance.load_statements(ROOT)
    citing = {
        s.identifier: [test for test in s.tests if "scenarios.py" not in test]
        for s in statements.values()
        if s.applies_to_client and (not only or s.identifier in only)
    }
    mutants = load_mutants()
    for mutant in mutants:
        mutant.breaks = [identifier for identifier in mutant.breaks if identifier in citing]
    mutants = [mutant for mutant in mutants if mutant.breaks]
    found: dict[str, list[MutantResult]] = defaultdict(list)
    try:
        for mutant in mutants:  # all, before the first takes its time
            mutant.mutated_source(ROOT)
    except ValueError as error:
        typer.echo(error)
        raise typer.Exit(1)
    with tempfile.TemporaryDirectory() as folder:
        trees = CheckoutPool(Path(folder))
        with trees.borrow() as tree:
            ends = run_tests(tree, sorted({test for tests in citing.values() for test in tests}))
        # what fails without a mutant shows nothing
        wrong += [f"{test}: {how} before anything is broken" for test, how in ends.items() if how != "passed"]
        citing = {name: [test for test in tests if ends[test] == "passed"] for name, tests in citing.items()}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            results = pool.map(lambda mutant: find_failing_tests(trees, mutant, citing), mutants)
            for mutant, tests in zip(mutants, track(results, "breaking", total=len(mutants))):
                for identifier in mutant.breaks:
                    failed = sorted(tests & set(citing[identifier]))
                    found[identifier].append({"mutant": str(mutant), "failed": failed})
    wrong += check_results(citing, found)
    if not only:
        BUILD.mkdir(exist_ok=True)
        (BUILD / "mutants.json").write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    for line in wrong:
        typer.echo(line)
    tried = len({identifier for mutant in mutants for identifier in mutant.breaks})
    typer.echo(f"{len(mutants)} mutants of {tried} statements; {len(wrong) or 'nothing'} wrong")
    raise typer.Exit(1 if wrong else 0)
