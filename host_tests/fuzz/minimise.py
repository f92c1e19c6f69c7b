"""A case that fails, made small, and as a file from which it is played again."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from host_tests.fuzz.fuzz_case import Case, run_case
from tools.paths import BUILD

_MOST = 3000  # cases that are tried


def failure(case: Case) -> str | None:
    """What a case raises, and where; None where all is well."""
    try:
        run_case(case)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        # without what differs from stream to stream
        kind = str(error).split(":")[0] if isinstance(error, AssertionError) else ""
        where = f"{Path(last.filename).name}, {last.name}: {last.line}"
        return f"{type(error).__name__} in {where} {kind[:40]}".strip()
    return None


def _smaller(case: Case) -> Iterator[Case]:
    """The case with a part left out: chunks first, then bytes."""
    chunks = case.chunks
    for at in range(len(chunks)):
        yield Case(case.profile, case.piece, chunks[:at] + chunks[at + 1 :])
    for at, chunk in enumerate(chunks):
        size = len(chunk) // 2
        while size:
            for begin in range(0, len(chunk), size):
                rest = chunk[:begin] + chunk[begin + size :]
                yield Case(case.profile, case.piece, chunks[:at] + (rest,) + chunks[at + 1 :])
            size //= 2
    if case.piece != 1000:
        yield Case(case.profile, 1000, chunks)
    if case.profile != "plain":
        yield Case("plain", case.piece, chunks)


def minimise(case: Case) -> Case:
    """The smallest case found that fails in the same way."""
    wanted = failure(case)
    tried = 0
    again = True
    while again and tried < _MOST:
        again = False
        for smaller in _smaller(case):
            tried += 1
            if failure(smaller) == wanted:
                case, again = smaller, True
                break
    return case


def save(case: Case, number: int, why: str) -> Path:
    """Write a case below build/fuzz."""
    path = BUILD / "fuzz" / f"{number}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"# stream {number}: {why}", f"{case.profile} {case.piece}"]
    path.write_text("\n".join([*lines, *(chunk.hex() for chunk in case.chunks)]) + "\n")
    return path


def load(path: Path) -> Case:
    """Raises ValueError where the file is none of ours."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    try:
        profile, piece = lines[0].split()
        return Case(profile, int(piece), tuple(bytes.fromhex(line) for line in lines[1:]))
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} is no saved stream: {error}") from error
