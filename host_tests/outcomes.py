"""A pytest plugin: `-p host_tests.outcomes --outcomes FILE` writes how each test ended, as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

_WORSE = ("passed", "skipped", "failed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, help="write {test: passed, skipped or failed} to this file")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--outcomes")
    if path and not hasattr(config, "workerinput"):  # in the process that hears of all tests
        config.pluginmanager.register(_Recorder(path))


class _Recorder:
    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set-up, call and tear-down are told one by one: the worst of them counts."""
        before = self._outcomes.get(report.nodeid, "passed")
        self._outcomes[report.nodeid] = max(before, report.outcome, key=_WORSE.index)

    def pytest_sessionfinish(self) -> None:
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self._outcomes, indent=1, sort_keys=True) + "\n")
