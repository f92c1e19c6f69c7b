"""What a check has found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """`remedy` says what to do or to type; an ok one has none."""

    level: str
    what: str
    text: str
    remedy: str = ""


Check = Callable[[], Iterable[Finding]]


def examine(checks: Iterable[Check]) -> Iterator[Finding]:
    """All checks, one after the other: one that breaks does not stop the others."""
    for check in checks:
        try:
            yield from check()
        except Exception as error:  # a check must never take the others with it
            name = getattr(check, "__name__", str(check)).replace("_", " ")
            yield Finding(WARNING, name, f"could not be checked: {type(error).__name__}: {error}")
