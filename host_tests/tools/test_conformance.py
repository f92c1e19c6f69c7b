"""Conformance: statements of the standard, tests that cite them, and mutants that those tests must detect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import conformance, mutants
from tools.conformance import Statement
from tools.paths import ROOT

STATEMENTS = """\
id	applies_to	paraphrase
MQTT-1.5.4-1	both	Text is UTF-8.
MQTT-3.1.0-1	client	CONNECT comes first.
MQTT-3.1.0-2	server	And once.
MQTT-6.0.0-3	client	The subprotocol.
"""
EXCUSES = "id\twhy\nMQTT-6.0.0-3\tThere is none.\n"
TESTS = '''\
def test_text():
    """A docstring. [MQTT-1.5.4-1]"""


def test_first():  # [MQTT-3.1.0-1], [MQTT-3.1.0-2]
    said = "[MQTT-9.9.9-9]"  # and [MQTT-1.5.4-1]
    assert said


class TestBoth:
    def test_both(self):
        # [MQTT-3.1.0-1]
        pass
'''


def checkout(root: Path, tests: str = TESTS, excuses: str = EXCUSES) -> Path:
    """Create a tree with four statements, these tests and these exemptions."""
    folder = root / "host_tests" / "conformance"
    folder.mkdir(parents=True)
    (folder / "statements.tsv").write_text(STATEMENTS)
    (folder / "excuses.tsv").write_text(excuses)
    (root / "host_tests" / "test_x.py").write_text(tests)
    return root


def test_each_citation_belongs_to_the_test_function_around_it(tmp_path: Path) -> None:
    statements, errors = conformance.load_statements(checkout(tmp_path))
    assert errors == []
    prefix = "host_tests/test_x.py::test_"
    assert statements["MQTT-1.5.4-1"].tests == [prefix + "first", prefix + "text"]
    both = ["host_tests/test_x.py::TestBoth::test_both", prefix + "first"]
    assert conformance.build_report(statements) == {
        "MQTT-1.5.4-1": {"tests": [prefix + "first", prefix + "text"], "exemption": None},
        "MQTT-3.1.0-1": {"tests": both, "exemption": None},
        "MQTT-6.0.0-3": {"tests": [], "exemption": "There is none."},
    }


@pytest.mark.parametrize(
    ("tests", "excuses", "expected"),
    [
        (
            TESTS.replace("3.1.0-1", "3.1.0-9"),
            EXCUSES,
            "host_tests/test_x.py:5: unknown statement MQTT-3.1.0-9",
        ),
        (
            TESTS.replace("-1]", "-1, -2]"),
            EXCUSES,
            "host_tests/test_x.py:2: unknown statement MQTT-1.5.4-1, -2",
        ),
        (TESTS + "# [MQTT-3.1.0-1]\n", EXCUSES, "MQTT-3.1.0-1 is cited outside a test"),
        (
            TESTS,
            EXCUSES + "MQTT-1.5.4-1\tno\n",
            "MQTT-1.5.4-1 has an exemption, but host_tests/test_x.py::",
        ),
        (TESTS, EXCUSES + "MQTT-7.0.0-1\tno\n", "excuses.tsv: unknown statement MQTT-7.0.0-1"),
        (TESTS, "id\twhy\n", "MQTT-6.0.0-3 has no test and no exemption: The subprotocol."),
        ("", EXCUSES, "MQTT-3.1.0-1 has no test and no exemption: CONNECT comes first."),
    ],
)
def test_each_error_in_statements_citations_and_exemptions_is_reported(
    tests: str, excuses: str, expected: str, tmp_path: Path
) -> None:
    _, errors = conformance.load_statements(checkout(tmp_path, tests, excuses))
    assert any(expected in line for line in errors), errors


def test_a_citation_in_a_scenario_has_the_outcome_of_the_tests_that_run_it(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.py"
    path.write_text("def a_flood(host):\n    pass  # [MQTT-1.5.4-1]\n")
    assert list(conformance.find_citations(path)) == [("a_flood", 2, "MQTT-1.5.4-1")]
    run_by = "host_tests/broker/test_brokers.py::test_scenario"
    test = "host_tests/broker/scenarios.py::a_flood"
    assert conformance.find_outcome(test, {f"{run_by}[mosquitto-a_flood-vm]": "passed"}) == "passed"
    assert conformance.find_outcome(test, {f"{run_by}[mosquitto-not_a_flood-vm]": "passed"}) == "not run"
    assert (
        conformance.find_outcome(test, {"host_tests/broker/test_brokers.py::test_a_flood[vm]": "failed"})
        == "failed"
    )


def check_outcomes(**outcomes: str) -> list[str]:
    """Return the errors for a statement that the tests a and b cite."""
    statement = Statement("MQTT-3.1.0-1", "CONNECT comes first.", True, ["t.py::test_a", "t.py::test_b"])
    named = {f"t.py::test_{name}": outcome for name, outcome in outcomes.items()}
    return conformance.check_outcomes({statement.identifier: statement}, named)


def test_each_citing_test_must_run_without_failing_and_one_must_pass() -> None:
    assert check_outcomes(a="passed", b="passed") == []
    assert check_outcomes(a="passed", b="skipped") == []
    assert check_outcomes(a="passed") == ["MQTT-3.1.0-1: t.py::test_b: not run"]
    assert check_outcomes(a="passed", b="failed") == ["MQTT-3.1.0-1: t.py::test_b: failed"]
    assert check_outcomes(a="skipped", b="skipped") == ["MQTT-3.1.0-1: none of its tests passed"]


def test_a_test_with_parameters_has_one_combined_outcome() -> None:
    outcomes = {"t.py::test_a[1]": "passed", "t.py::test_a[2]": "skipped", "t.py::test_ab": "failed"}
    assert conformance.find_outcome("t.py::test_a", outcomes) == "passed"
    assert conformance.find_outcome("t.py::test_a", {**outcomes, "t.py::test_a[3]": "failed"}) == "failed"


def test_the_outcomes_plugin_records_each_test_with_and_without_workers(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def broken():\n    yield\n    raise ValueError\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "def test_late(broken): pass\n"
        "@pytest.mark.skip\n"
        "def test_not(): pass\n"
    )
    written = tmp_path / "outcomes.json"
    for workers in ("0", "2"):
        command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "--rootdir", str(tmp_path)]
        plugin = ["-p", "host_tests.outcomes", "--outcomes", str(written), str(tmp_path)]
        subprocess.run(command + plugin, cwd=ROOT, capture_output=True)
        outcomes = {
            name.partition("::")[2]: outcome for name, outcome in json.loads(written.read_text()).items()
        }
        expected = {"test_good": "passed", "test_bad": "failed", "test_late": "failed", "test_not": "skipped"}
        assert outcomes == expected
        written.unlink()


# ---- this checkout


def test_each_statement_has_a_test_or_an_exemption_and_the_page_is_up_to_date() -> None:
    statements, errors = conformance.load_statements(ROOT)
    assert errors == []
    assert len(statements) == 251 and len(conformance.build_report(statements)) == 134
    assert (ROOT / conformance.PAGE_FILE).read_text() == conformance.render_page(statements), (
        "run: make conformance"
    )


def test_each_statement_has_a_mutant_that_applies_to_the_source() -> None:
    statements, _ = conformance.load_statements(ROOT)
    broken = set()
    for mutant in mutants.load_mutants():
        mutant.mutated_source(ROOT)
        broken |= set(mutant.breaks)
    assert broken == {s.identifier for s in statements.values() if s.applies_to_client and not s.exemption}


def test_mutants_that_no_test_detects_are_reported() -> None:
    detected, undetected = {"mutant": "x", "failed": ["test_a"]}, {"mutant": "y", "failed": []}
    citing = {"A": ["test_a"], "B": ["test_a", "test_b"], "C": ["test_a"], "D": ["test_a"]}
    results = {"A": [detected], "B": [detected], "C": [detected, undetected], "D": []}
    assert list(mutants.check_results(citing, results)) == [  # type: ignore[arg-type]
        "B: test_b cites it, but no mutant makes it fail",
        "C: no test that cites it fails with y",
        "D: no mutant violates it",
    ]


def test_the_mutants_command_reports_a_detected_mutant() -> None:
    command = [sys.executable, "-m", "tools", "mutants", "MQTT-3.3.2-10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 mutants of 1 statements; 0 errors" in done.stdout, done.stdout
