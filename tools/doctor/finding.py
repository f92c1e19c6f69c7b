"""What a check finds, and how checks are run: each to its end or to its deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tools.doctor.context import CheckContext

OK, WARNING, ERROR = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is what to type or to do where it is not ok."""

    level: str
    subject: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A function that looks at one thing, and the seconds that it has."""

    function: Callable[[CheckContext], Iterable[Finding]]
    deadline: float = 20

    @property
    def name(self) -> str:
        return self.function.__name__.removeprefix("check_").replace("_", " ")


def run_checks(case: CheckContext, checks: Iterable[Check]) -> Iterator[Finding]:
    """Run them one after the other, as they share a port; none keeps the next from being run."""
    for check in checks:
        yield from _run(case, check)


def _run(case: CheckContext, check: Check) -> list[Finding]:
    found: list[Finding] = []

    def look() -> None:
        try:
            found.extend(check.function(case))
        except Exception as error:  # a check that fails is a finding, and not the end
            text = str(error) or type(error).__name__
            found.append(Finding(ERROR, check.name, text, "mend that, then `make doctor` again"))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(check.deadline)
    made = list(found)
    if thread.is_alive():
        text = f"no answer within {check.deadline:g} s"
        made.append(Finding(ERROR, check.name, text, "pull the cable, plug it in, and do it again"))
    return made
