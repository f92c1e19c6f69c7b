"""pytest plugin that writes the outcome of each test as JSON: `-p host_tests.outcomes --outcomes FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

_FROM_BEST_TO_WORST = ("passed", "skipped", "failed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--outcomes", type=Path, help="file for the outcomes: passed, skipped or failed, by test"
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--outcomes")
    if path and not hasattr(
        config, "workerinput"
    ):  # not in a worker of pytest-xdist, which sees only some tests
        config.pluginmanager.register(_Recorder(path))


class _Recorder:
    """Collects the outcomes and writes the file at the end of the session."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store the worst outcome of set-up, call and tear-down, which are reported one by one."""
        before = self._outcomes.get(report.nodeid, "passed")
        self._outcomes[report.nodeid] = max(before, report.outcome, key=_FROM_BEST_TO_WORST.index)

    def pytest_sessionfinish(self) -> None:
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self._outcomes, indent=1, sort_keys=True) + "\n")
