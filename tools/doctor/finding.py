"""What a check finds, and how checks are run: each to its end or to its deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tools.doctor.context import Case

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is what to type or to do where it is not ok."""

    level: str
    what: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A function that looks at one thing, and the seconds that it has."""

    look: Callable[[Case], Iterable[Finding]]
    deadline: float = 20

    @property
    def name(self) -> str:
        return self.look.__name__.replace("_", " ")


def examine(case: Case, checks: Iterable[Check]) -> Iterator[Finding]:
    """Run them one after the other, as they share a port; none keeps the next from being run."""
    for check in checks:
        yield from _run(case, check)


def _run(case: Case, check: Check) -> list[Finding]:
    found: list[Finding] = []

    def look() -> None:
        try:
            found.extend(check.look(case))
        except Exception as error:  # a check that fails is a finding, and not the end
            text = str(error) or type(error).__name__
            found.append(Finding(PROBLEM, check.name, text, "mend that, then `make doctor` again"))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(check.deadline)
    made = list(found)
    if thread.is_alive():
        text = f"no answer within {check.deadline:g} s"
        made.append(Finding(PROBLEM, check.name, text, "pull the cable, plug it in, and do it again"))
    return made
