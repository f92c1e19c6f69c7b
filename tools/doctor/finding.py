"""The findings of `make doctor`, and the runner of its checks, which gives each check a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tools.doctor.context import CheckContext

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class Finding:
    """A result of a check, printed as one line."""

    level: str  # OK, WARNING or ERROR
    subject: str  # the thing that was checked
    message: str
    remedy: str = ""  # a command to type or an action to take, unless the level is OK


@dataclass(frozen=True)
class Check:
    """A function that examines one thing, and its time limit."""

    function: Callable[[CheckContext], Iterable[Finding]]
    deadline: float = 20  # seconds

    @property
    def name(self) -> str:
        """The name of the check, as a finding shows it."""
        return self.function.__name__.removeprefix("check_").replace("_", " ")


def run_checks(context: CheckContext, checks: Iterable[Check]) -> Iterator[Finding]:
    """Run the checks one after the other, because they share the serial port.

    A check that fails or exceeds its time limit yields a finding of level ERROR, and the next check runs.
    """
    for check in checks:
        yield from _run(context, check)


def _run(context: CheckContext, check: Check) -> list[Finding]:
    found: list[Finding] = []

    def collect() -> None:
        try:
            found.extend(check.function(context))
        except Exception as error:  # a failure of one check must not end the program
            message = str(error) or type(error).__name__
            found.append(Finding(ERROR, check.name, message, "fix this, then run `make doctor` again"))

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(check.deadline)
    result = list(found)  # the thread may still be running
    if thread.is_alive():
        message = f"no answer within {check.deadline:g} s"
        remedy = "unplug the board, plug it in, and run `make doctor` again"
        result.append(Finding(ERROR, check.name, message, remedy))
    return result
