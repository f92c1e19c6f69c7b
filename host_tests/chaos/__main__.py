"""The command `python -m host_tests.chaos`: runs devices through random faults, and replays single days."""

from host_tests.chaos.command import main

import typer

if __name__ == "__main__":
    typer.run(main)
