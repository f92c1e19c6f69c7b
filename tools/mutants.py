"""The command `mutants`: mutation tests. Breaks the library, and checks that tests fail.

Each entry of `host_tests/conformance/mutants.toml` replaces text in a file of lib/umqtt5, in a copy of the
checkout, and names the statements of the standard that this violates. Every test that cites one of them must
fail for at least one mutant, and every mutant must make a test fail.
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

import typer
from rich.progress import track

from tools import conformance
from tools.paths import BUILD, ROOT
from tools.text_files import read_toml

_COPIED = (  # what a copy of the checkout contains
    "lib",
    "firmware",
    "boards",
    "tools",
    "host_tests",
    "pyproject.toml",
)
_PARALLEL = 2  # mutants tested at the same time


class MutantResult(TypedDict):
    """The tests of one statement that fail with one mutant."""

    mutant: str
    failed: list[str]  # pytest ids


@dataclass
class Mutant:
    """Change of one file that violates some statements."""

    breaks: list[str]  # statements that it violates
    file: str  # path in lib/umqtt5
    old: str  # text that occurs once in the file
    new: str

    def __str__(self) -> str:
        old, new = self.old.splitlines(), self.new.splitlines()
        # the first line that differs
        removed = next((line.strip() for line in old if line not in new), "")
        added = next((line.strip() for line in new if line not in old), "")
        return f"{self.file}: {removed or '...'} -> {added or 'nothing'}"

    def mutated_source(self, tree: Path) -> str:
        """Return the text of the mutated file. Raises ValueError if the change is invalid."""
        text = (tree / "lib" / "umqtt5" / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"mutants.toml: {self}: `old` occurs {text.count(self.old)} times, expected once"
            )
        text = text.replace(self.old, self.new)
        try:
            ast.parse(text)
        except SyntaxError as error:
            raise ValueError(f"{self}: {error}")
        return text


def load_mutants() -> list[Mutant]:
    """Return the mutants of mutants.toml."""
    table = read_toml(ROOT / conformance.FOLDER / "mutants.toml")
    return [Mutant(**row) for row in table["mutant"]]


class CheckoutPool:
    """Copies of the checkout, one for each mutant that is tested at the same time."""

    def __init__(self, folder: Path) -> None:
        self._free: Queue[Path] = Queue()
        for i in range(_PARALLEL):
            tree = folder / str(i)
            tree.mkdir()
            for name in _COPIED:
                source = ROOT / name
                copy = shutil.copytree if source.is_dir() else shutil.copy
                copy(source, tree / name)
            self._free.put(tree)

    @contextmanager
    def borrow(self) -> Iterator[Path]:
        """Wait for a free copy, and give it back at the end of the `with` block."""
        tree = self._free.get()
        try:
            yield tree
        finally:
            self._free.put(tree)


def run_tests(tree: Path, tests: list[str]) -> dict[str, str]:
    """Run tests in a copy of the checkout. Return the outcome of each."""
    written = tree / "outcomes.json"
    written.unlink(missing_ok=True)
    options = ["-q", "-n", "0", "--timeout", "20", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "-p", "host_tests.outcomes", "--outcomes", written]
    # otherwise Python would use the .pyc file of the original source if size and time (in seconds) are equal
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(tree))
    done = subprocess.run(
        [*map(str, command), *tests], cwd=tree, env=environment, capture_output=True, encoding="utf-8"
    )
    if done.returncode not in (0, 1):  # the tests did not run, for example because of an import error
        raise RuntimeError(done.stdout + done.stderr)
    outcomes: dict[str, str] = json.loads(written.read_text(encoding="utf-8"))
    return {test: conformance.find_outcome(test, outcomes) for test in tests}


def find_failing_tests(trees: CheckoutPool, mutant: Mutant, citing: dict[str, list[str]]) -> set[str]:
    """Return the tests that fail with this mutant."""
    tests = sorted({test for identifier in mutant.breaks for test in citing[identifier]})
    if not tests:
        return set()
    with trees.borrow() as tree:
        path = tree / "lib" / "umqtt5" / mutant.file
        before = path.read_text(encoding="utf-8")
        path.write_text(mutant.mutated_source(tree), encoding="utf-8")
        try:
            outcomes = run_tests(tree, tests)
        finally:
            path.write_text(before, encoding="utf-8")
    return {test for test, how in outcomes.items() if how == "failed"}


def check_results(citing: dict[str, list[str]], found: dict[str, list[MutantResult]]) -> Iterator[str]:
    """Yield an error for each undetected mutant, test that never fails, and statement without mutants."""
    for identifier, tests in citing.items():
        mutants = found.get(identifier, [])
        if tests and not mutants:
            yield f"{identifier}: no mutant violates it"
            continue
        for one in mutants:
            if not one["failed"]:
                yield f"{identifier}: no test that cites it fails with {one['mutant']}"
        for test in tests:
            if not any(test in one["failed"] for one in mutants):
                yield f"{identifier}: {test} cites it, but no mutant makes it fail"


def main(
    only: Annotated[
        list[str] | None, typer.Argument(help="only these statements, such as MQTT-3.3.4-9")
    ] = None,
) -> None:
    """Break the library at least once for each statement, and check that the tests that cite it fail.

    Without arguments, the results are also written to build/mutants.json.
    """
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
        for mutant in mutants:  # report an error in mutants.toml before the tests start
            mutant.mutated_source(ROOT)
    except ValueError as error:
        typer.echo(error)
        raise typer.Exit(1)
    with tempfile.TemporaryDirectory() as folder:
        trees = CheckoutPool(Path(folder))
        with trees.borrow() as tree:
            ends = run_tests(tree, sorted({test for tests in citing.values() for test in tests}))
        # a test that fails without a mutant proves nothing
        wrong += [f"{test}: {how} without a mutant" for test, how in ends.items() if how != "passed"]
        citing = {name: [test for test in tests if ends[test] == "passed"] for name, tests in citing.items()}
        with ThreadPoolExecutor(_PARALLEL) as pool:
            results = pool.map(lambda mutant: find_failing_tests(trees, mutant, citing), mutants)
            for mutant, tests in zip(mutants, track(results, "testing mutants", total=len(mutants))):
                for identifier in mutant.breaks:
                    failed = sorted(tests & set(citing[identifier]))
                    found[identifier].append({"mutant": str(mutant), "failed": failed})
    wrong += check_results(citing, found)
    if not only:
        BUILD.mkdir(exist_ok=True)
        (BUILD / "mutants.json").write_text(
            json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
    for line in wrong:
        typer.echo(line)
    tried = len({identifier for mutant in mutants for identifier in mutant.breaks})
    typer.echo(f"{len(mutants)} mutants of {tried} statements; {len(wrong)} errors")
    raise typer.Exit(1 if wrong else 0)
