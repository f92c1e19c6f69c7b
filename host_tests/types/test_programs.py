"""README, docs and examples are free of errors in mypy and pyright, both strict; wrong calls are reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from host_tests.types.checkers import run_mypy, run_pyright
from host_tests.types.programs import NOT_FOR_MICROPYTHON, collect_programs, write_programs
from tools.paths import ROOT

CASES = ROOT / "host_tests" / "types" / "cases"
CHECKERS = {"mypy": run_mypy, "pyright": run_pyright}

each_checker = pytest.mark.parametrize("checker", CHECKERS)
each_interpreter = pytest.mark.parametrize("micropython", [False, True], ids=["cpython", "micropython"])


@each_checker
@each_interpreter
def test_the_programs_in_readme_docs_and_examples_have_no_errors(
    checker: str, micropython: bool, tmp_path: Path
) -> None:
    assert write_programs(tmp_path, micropython) > 30
    assert CHECKERS[checker](tmp_path, micropython) == []


def test_each_exception_is_a_program() -> None:
    assert NOT_FOR_MICROPYTHON.keys() <= collect_programs().keys()


@each_checker
@each_interpreter
def test_right_calls_have_the_types_that_the_documentation_says(
    checker: str, micropython: bool, tmp_path: Path
) -> None:
    copy_case(tmp_path, "right_calls.py")
    assert CHECKERS[checker](tmp_path, micropython) == []


@each_checker
@each_interpreter
def test_each_wrong_call_is_reported(checker: str, micropython: bool, tmp_path: Path) -> None:
    lines = copy_case(tmp_path, "wrong_calls.py").splitlines()
    expected = [i for i, line in enumerate(lines, 1) if line.endswith("# wrong")]
    assert len(expected) > 30
    reported = {report.line for report in CHECKERS[checker](tmp_path, micropython)}
    assert sorted(reported) == expected


def copy_case(folder: Path, name: str) -> str:
    (folder / "programs").mkdir()
    shutil.copy(CASES / name, folder / "programs")
    return (CASES / name).read_text()
