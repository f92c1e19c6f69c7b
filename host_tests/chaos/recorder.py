"""The figures and findings of a life, and the log of a replay."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from host_tests.chaos.world import DAY, HOUR, MINUTE, SECOND, World


@dataclass
class Finding:
    """A violated invariant, with the number of the life and the time in it."""

    seed: int
    day: int
    time: int
    text: str

    def __str__(self) -> str:
        return f"--seed {self.seed} --day {self.day}, at {format_time(self.time)}: {self.text}"


@dataclass
class Result:
    """Figures of one life."""

    seed: int
    day: int
    days: float
    setup: str
    boots: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    messages: int = 0
    connects: int = 0
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0


def format_time(ms: int) -> str:
    days, rest = divmod(ms, DAY)
    return f"{days}d {rest // HOUR:02}:{rest // MINUTE % 60:02}:{rest // SECOND % 60:02}.{rest % 1000:03}"


class Recorder:
    """Records findings, once for each kind. `is_verbose`: also prints what happens, and the console."""

    def __init__(self, world: World, result: Result, console: Path, is_verbose: bool) -> None:
        self.world, self.result = world, result
        self.active_faults: dict[int, str] = {}  # names by number
        self._is_verbose = is_verbose
        self._console = console
        self._console_at = 0
        self._seen: set[str] = set()

    def log(self, text: str) -> None:
        if self._is_verbose:
            self.flush_console()
            print(f"{format_time(self.world.now)} {text}", flush=True)

    def flush_console(self) -> None:
        """Print what the device has printed since the last call."""
        if self._is_verbose and self._console.exists():
            with self._console.open("rb") as file:
                file.seek(self._console_at)
                data = file.read()
            self._console_at += len(data)
            for line in data.decode(errors="replace").splitlines():
                print(f"    | {line}")

    def find(self, text: str) -> None:
        """Record a finding."""
        kind = re.sub(r"\d+", "0", text)
        if kind in self._seen:
            return
        self._seen.add(kind)
        faults = ", ".join(f"{number} {name}" for number, name in self.active_faults.items()) or "no fault"
        finding = Finding(self.result.seed, self.result.day, self.world.now, f"{text} [{faults}]")
        self.result.findings.append(finding)
        self.log(f"FINDING: {finding.text}")
