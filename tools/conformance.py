"""The command `conformance`: maps each normative statement of MQTT 5.0 to the tests that verify it.

A test cites a statement, such as `[MQTT-3.3.4-9]`, in its docstring or in a comment inside the function. It
may cite only statements whose violation makes it fail; `make mutants` checks this.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from tools.paths import BUILD, ROOT

FOLDER = Path("host_tests") / "conformance"
OUTCOMES_FILE = BUILD / "outcomes.json"  # results of the last `make test`
PAGE_FILE = Path("docs") / "conformance.md"

_BROKERS = "host_tests/broker/test_brokers.py"  # runs the functions of scenarios.py
_CITATION = re.compile(r"\[(MQTT-[^\]]*)\]")
_SECTIONS = {
    "1.5": "Data types",
    "2.1": "Fixed header",
    "2.2": "Packet identifiers and properties",
    "3.1": "CONNECT",
    "3.2": "CONNACK",
    "3.3": "PUBLISH",
    "3.4": "PUBACK",
    "3.5": "PUBREC",
    "3.6": "PUBREL",
    "3.7": "PUBCOMP",
    "3.8": "SUBSCRIBE",
    "3.10": "UNSUBSCRIBE",
    "3.14": "DISCONNECT",
    "3.15": "AUTH",
    "4.1": "Session state",
    "4.2": "Network connections",
    "4.3": "Quality of service",
    "4.4": "Message delivery retry",
    "4.5": "Message receipt",
    "4.6": "Message ordering",
    "4.7": "Topic names and topic filters",
    "4.8": "Shared subscriptions",
    "4.9": "Flow control",
    "4.12": "Enhanced authentication",
    "4.13": "Error handling",
    "6.0": "WebSocket",
}


@dataclass
class Statement:
    """Normative statement of the standard."""

    identifier: str  # number in the standard, such as MQTT-3.3.4-9
    text: str  # paraphrase of the statement
    applies_to_client: bool
    tests: list[str] = field(default_factory=list)  # pytest ids of the tests that cite it
    exemption: str | None = None  # reason why no test can verify it

    @property
    def section(self) -> str:
        """The section of the standard, such as 3.3."""
        return ".".join(self.identifier.removeprefix("MQTT-").split(".")[:2])


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file of tab-separated values whose first line names the columns."""
    return list(
        csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    )


def load_statements(root: Path) -> tuple[dict[str, Statement], list[str]]:
    """Return the statements with their tests and exemptions, by number, and a line for each error."""
    statements = {
        row["id"]: Statement(row["id"], row["paraphrase"], row["applies_to"] != "server")
        for row in read_tsv(root / FOLDER / "statements.tsv")
    }
    wrong = []
    for row in read_tsv(root / FOLDER / "excuses.tsv"):
        if row["id"] not in statements:
            wrong.append(f"excuses.tsv: unknown statement {row['id']}")
        else:
            statements[row["id"]].exemption = row["why"]
    for path in _files(root):
        where = path.relative_to(root).as_posix()
        for test, line, identifier in find_citations(path):
            if identifier not in statements:
                wrong.append(f"{where}:{line}: unknown statement {identifier}")
            elif test is None:
                wrong.append(f"{where}:{line}: {identifier} is cited outside a test")
            elif f"{where}::{test}" not in statements[identifier].tests:
                statements[identifier].tests.append(f"{where}::{test}")
    for statement in statements.values():
        statement.tests.sort()
        if statement.tests and statement.exemption:
            wrong.append(f"{statement.identifier} has an exemption, but {statement.tests[0]} cites it")
        if statement.applies_to_client and not statement.tests and not statement.exemption:
            wrong.append(f"{statement.identifier} has no test and no exemption: {statement.text}")
    return statements, wrong


def _files(root: Path) -> list[Path]:
    folder = root / "host_tests"
    return sorted([*folder.rglob("test_*.py"), *folder.glob("broker/scenarios.py")])


def find_citations(path: Path) -> Iterator[tuple[str | None, int, str]]:
    """Yield test, line and statement of each citation in a file. A citation outside a test has no test."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    spans = list(_tests(tree, path.name == "scenarios.py"))
    for line, comment in sorted([*_docstrings(tree), *_comments(text)]):
        test = next((name for name, first, last in spans if first <= line <= last), None)
        for identifier in _CITATION.findall(comment):
            yield test, line, identifier


def _tests(tree: ast.Module, scenarios: bool) -> Iterator[tuple[str, int, int]]:
    """Yield name, first and last line of each test. In scenarios.py every function is a test."""
    for outer in tree.body:
        inside = outer.body if isinstance(outer, ast.ClassDef) else [outer]
        for node in inside:
            if isinstance(node, ast.FunctionDef) and (scenarios or node.name.startswith("test_")):
                name = node.name if node is outer else f"{getattr(outer, 'name', '')}::{node.name}"
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                yield name, first, node.end_lineno or first


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            yield node.body[0].lineno, ast.get_docstring(node) or ""


def _comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


# ---- results of the tests


def run_tests(tests: list[str]) -> dict[str, str]:
    """Run tests. Return the outcome of each by its pytest id: passed, failed or skipped."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "outcomes.json"
        plugin = ["-p", "host_tests.outcomes", "--outcomes", str(written)]
        command = [sys.executable, "-m", "pytest", "-q", "-n", "4", *plugin, *tests]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
        if done.returncode:
            typer.echo(done.stdout + done.stderr)
        outcomes: dict[str, str] = (
            json.loads(written.read_text(encoding="utf-8")) if written.is_file() else {}
        )
    return outcomes


def _pytest_argument(test: str) -> str:
    """Return what pytest must run for a test. Functions of scenarios.py are run by another file."""
    return _BROKERS if "scenarios.py" in test else test


def find_outcome(test: str, outcomes: dict[str, str]) -> str:
    """Return the outcome of a test over all its parameters: failed, passed, skipped or not run."""
    if "scenarios.py::" in test:
        name = re.escape(test.partition("::")[2])
        mine = re.compile(
            rf"host_tests/broker/test_brokers\.py::test_(scenario\[.*\b{name}\b.*|{name}(\[.*)?)$"
        )
    else:
        mine = re.compile(rf"{re.escape(test)}(\[.*)?$")
    found = {how for name, how in outcomes.items() if mine.match(name)}
    for how in ("failed", "passed", "skipped"):
        if how in found:
            return how
    return "not run"


def check_outcomes(statements: dict[str, Statement], outcomes: dict[str, str]) -> list[str]:
    """Return a line for each test that failed or did not run, and each statement for which no test passed."""
    wrong = []
    for statement in statements.values():
        if not statement.applies_to_client or not statement.tests:
            continue
        ends = [find_outcome(test, outcomes) for test in statement.tests]
        for test, how in zip(statement.tests, ends):
            if how in ("failed", "not run"):
                wrong.append(f"{statement.identifier}: {test}: {how}")
        if "passed" not in ends:
            wrong.append(f"{statement.identifier}: none of its tests passed")
    return wrong


# ---- output


def build_report(statements: dict[str, Statement]) -> dict[str, dict[str, object]]:
    """Return the content of build/conformance.json: tests and exemption of each statement for clients."""
    return {
        s.identifier: {"tests": s.tests, "exemption": s.exemption}
        for s in statements.values()
        if s.applies_to_client
    }


def render_page(statements: dict[str, Statement]) -> str:
    """Return the content of docs/conformance.md."""
    ours = [s for s in statements.values() if s.applies_to_client]
    shown = [s for s in ours if s.tests]
    tests = {test for s in shown for test in s.tests}
    lines = [
        "# Conformance to MQTT 5.0",
        "",
        f"MQTT 5.0 has {len(statements)} normative statements. {len(ours)} of them apply to a client:",
        f"{len(shown)} are verified by {len(tests)} tests, {len(ours) - len(shown)} have an exemption.",
        "",
        "`make conformance` runs the tests and writes this page. `make mutants` breaks the library at least",
        "once for each statement, and checks that the tests that cite it fail. The statements are",
        "paraphrased.",
    ]
    section = ""
    for s in ours:
        if s.section != section:
            section = s.section
            lines += [
                "",
                f"## {section} {_SECTIONS[section]}",
                "",
                "| statement | paraphrase | tests |",
                "|---|---|---|",
            ]
        lines.append(f"| {s.identifier} | {s.text} | {_links(s)} |")
    return "\n".join(lines) + "\n"


def _links(statement: Statement) -> str:
    if not statement.tests:
        return f"none: {statement.exemption}"
    links = []
    for test in statement.tests:
        path, _, name = test.partition("::")
        links.append(f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})")
    return "<br>".join(links)


def main(
    check: Annotated[
        bool, typer.Option(help="fail if docs/conformance.md is not up to date, do not write it")
    ] = False,
    from_results: Annotated[
        bool, typer.Option(help="use the results of the last `make test`, run nothing")
    ] = False,
) -> None:
    """Run the tests of each statement, and write docs/conformance.md and build/conformance.json."""
    statements, wrong = load_statements(ROOT)
    tests = sorted({test for s in statements.values() if s.applies_to_client for test in s.tests})
    if from_results:
        if not OUTCOMES_FILE.is_file():
            typer.echo(f"{OUTCOMES_FILE.relative_to(ROOT)} is missing. Run: make test")
            raise typer.Exit(1)
        outcomes = json.loads(OUTCOMES_FILE.read_text(encoding="utf-8"))
    else:
        outcomes = run_tests(sorted({_pytest_argument(test) for test in tests}))
    wrong += check_outcomes(statements, outcomes)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "conformance.json").write_text(
        json.dumps(build_report(statements), indent=2) + "\n", encoding="utf-8"
    )
    text, path = render_page(statements), ROOT / PAGE_FILE
    if not check:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        wrong.append(f"{PAGE_FILE} is not up to date. Run: make conformance")
    for line in wrong:
        typer.echo(line)
    ours = [s for s in statements.values() if s.applies_to_client]
    typer.echo(
        f"{len(ours)} statements apply to a client: {sum(bool(s.tests) for s in ours)} are verified by "
        f"{len(tests)} tests, {sum(s.exemption is not None for s in ours)} have an exemption; "
        f"{len(wrong)} errors"
    )
    raise typer.Exit(1 if wrong else 0)
