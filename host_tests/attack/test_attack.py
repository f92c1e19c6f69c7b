"""A sample of the attacks of `make attack`: each command meets each kind of attacker that it can meet."""

from __future__ import annotations

import random
import re
from collections import defaultdict

import pytest

from host_tests.attack import hostile_board, hostile_broker
from host_tests.attack.cases import Case, build_cases, run_case
from host_tests.attack.commands import list_commands
from tools.exit_codes import EPILOG, EXIT_CODES
from tools.paths import ROOT

_SEED = 1
# attacks that found a fault, by command; the sample always has them
_FOUND = {
    "run": ("traceback with escape sequences",),
    "doctor": ("traceback with escape sequences",),
    "fleet generate": ("out/dev-1 is a symlink to a folder of the user",),
}


def _sample() -> list[Case]:
    """Return one attack of each kind on each command, and those that have found a fault."""
    groups = defaultdict(list)
    chosen = []
    for case in build_cases(_SEED, random_count=1):
        if case.name in _FOUND.get(case.command.name, ()):
            chosen.append(case)
        elif case.attacker == "interrupt" or not case.command.is_for_development:
            groups[case.command.name, case.attacker].append(case)
    choice = random.Random(_SEED).choice
    return [*chosen, *(choice(cases) for cases in groups.values())]


@pytest.mark.parametrize("case", _sample(), ids=str)
def test_a_command_withstands_an_attack(case: Case) -> None:
    run, faults = run_case(case)
    assert not faults, (faults, run.output[-2000:])


def test_each_command_is_attacked_through_each_of_its_options() -> None:
    attacks = defaultdict(set)
    for case in build_cases(_SEED):
        attacks[case.command.name].add(case.attacker)
    for command in list_commands():
        wanted = {"interrupt"}
        wanted |= {"board"} if command.has_serial_port else set()
        wanted |= {"broker"} if command.has("--broker") else set()
        for one in command.parameters:
            wanted |= {"files"} if one.is_path else {"arguments"} if one.is_text else set()
        assert wanted <= attacks[command.name], command.name


def test_all_commands_of_the_application_are_listed() -> None:
    from tools.__main__ import _COMMANDS

    assert {command.name.split()[0] for command in list_commands()} == set(_COMMANDS)


@pytest.mark.parametrize("seed", range(3))
def test_random_attackers_are_the_same_for_the_same_seed(seed: int) -> None:
    personas = [hostile_board.random_persona(random.Random(seed).randrange) for _ in range(2)]
    assert personas[0] == personas[1]
    assert callable(hostile_broker.random_persona(random.Random(seed).randrange))


def test_the_documentation_and_the_help_list_the_exit_codes() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = {int(code): text for code, text in re.findall(r"^\| (\d+) \| (.*) \|$", page, re.M)}
    assert rows == EXIT_CODES
    for command in list_commands():
        assert command.definition.epilog == EPILOG, command.name
