"""The command `python -m host_tests.chaos`: runs devices through random faults, and replays single days."""

import typer

from host_tests.chaos.command import main

if __name__ == "__main__":
    typer.run(main)
