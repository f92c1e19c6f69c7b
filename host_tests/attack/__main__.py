"""`python -m host_tests.attack`: attacks the commands of `python -m tools`, and lists what goes wrong."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Optional

import typer

from host_tests.attack.cases import Case, build_cases, run_case
from host_tests.attack.commands import list_commands
from host_tests.attack.terminal import Run
from tools.console import Console
from tools.errors import UserError

_SHOWN = 700  # bytes at the end of the output that are shown with a fault


def main(
    seed: Annotated[int, typer.Option(help="of the order, and of the random boards and brokers")] = 1,
    command: Annotated[Optional[list[str]], typer.Option(help="attack only this command; repeatable")] = None,
    attacker: Annotated[
        Optional[str], typer.Option(help="only board, broker, files, fleet, arguments or interrupt")
    ] = None,
    name: Annotated[str, typer.Option(help="only attacks whose name contains this text")] = "",
    count: Annotated[Optional[int], typer.Option(min=1, help="number of attacks; default: all")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="number of attacks at the same time")] = 2,
    show: Annotated[bool, typer.Option("--show", help="print the output of each command")] = False,
) -> None:
    """Attack each command with a hostile board, broker, file and command line.

    The exit code is 1 after a fault.
    """
    console = Console(soft_wrap=True)
    chosen = [
        case
        for case in build_cases(seed)
        if (not command or case.command.name in command)
        and (not attacker or case.attacker == attacker)
        and name in case.name
    ]
    if not chosen:
        known = ", ".join(one.name for one in list_commands())
        raise UserError(f"no such attack. The commands are {known}")
    random.Random(seed).shuffle(chosen)
    failed = 0
    with ThreadPoolExecutor(jobs) as pool:
        for case, run, faults in pool.map(_run, chosen[:count]):
            failed += bool(faults)
            if show or faults:
                console.print(f"{case}: exit code {run.code} after {run.seconds:.1f} s")
                console.print(repr(run.output[-_SHOWN:]) if faults else run.output.decode(errors="replace"))
            for fault in faults:
                console.print(f"  FAULT {fault}", style="red")
    console.print(f"{len(chosen[:count])} attacks, {failed} with faults, seed {seed}")
    raise typer.Exit(1 if failed else 0)


def _run(case: Case) -> tuple[Case, Run, list[str]]:
    run, faults = run_case(case)
    return case, run, faults


if __name__ == "__main__":
    typer.run(main)
