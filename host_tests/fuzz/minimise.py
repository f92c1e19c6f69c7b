"""Minimise a fuzz case that fails, save it to a file and load it again."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from host_tests.fuzz.fuzz_case import Case, run_case
from tools.paths import BUILD

_MAX_TRIES = 3000  # after this number of tries, no further round starts


def failure(case: Case) -> str | None:
    """Run a case and return the type and the place of the exception that it raised, or None."""
    try:
        run_case(case)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        # leave out the text that differs between streams
        kind = str(error).split(":")[0] if isinstance(error, AssertionError) else ""
        where = f"{Path(last.filename).name}, {last.name}: {last.line}"
        return f"{type(error).__name__} in {where} {kind[:40]}".strip()
    return None


def _smaller(case: Case) -> Iterator[Case]:
    """Yield the case with one part removed: first chunks, then bytes of a chunk, then the settings."""
    chunks = case.chunks
    for index in range(len(chunks)):
        yield Case(case.profile, case.read_size, chunks[:index] + chunks[index + 1 :])
    for index, chunk in enumerate(chunks):
        size = len(chunk) // 2
        while size:
            for start in range(0, len(chunk), size):
                rest = chunk[:start] + chunk[start + size :]
                yield Case(case.profile, case.read_size, chunks[:index] + (rest,) + chunks[index + 1 :])
            size //= 2
    if case.read_size != 1000:
        yield Case(case.profile, 1000, chunks)
    if case.profile != "plain":
        yield Case("plain", case.read_size, chunks)


def minimise(case: Case) -> Case:
    """Return the smallest case found that fails in the same way."""
    wanted = failure(case)
    tries = 0
    shrunk = True
    while shrunk and tries < _MAX_TRIES:
        shrunk = False
        for smaller in _smaller(case):
            tries += 1
            if failure(smaller) == wanted:
                case, shrunk = smaller, True
                break
    return case


def save(case: Case, number: int, why: str) -> Path:
    """Write a case to a file in build/fuzz and return its path."""
    path = BUILD / "fuzz" / f"{number}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"# stream {number}: {why}", f"{case.profile} {case.read_size}"]
    path.write_text("\n".join([*lines, *(chunk.hex() for chunk in case.chunks)]) + "\n")
    return path


def load(path: Path) -> Case:
    """Read a case that `save` wrote. Raises ValueError for any other file."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    try:
        profile, read_size = lines[0].split()
        return Case(profile, int(read_size), tuple(bytes.fromhex(line) for line in lines[1:]))
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} is not a saved stream: {error}") from error
