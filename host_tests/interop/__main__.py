"""`make interop EXAMPLES=1000`: the tests of this folder with more examples, and with others each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from tools import npm

INTEROP = Path(__file__).parent


def main(examples: Annotated[int, typer.Option(help="for each test", min=1)] = 1000) -> None:
    """Our packets before the codecs, and theirs before us."""
    why = npm.install(INTEROP)
    if why:
        typer.echo(f"without the codec mqtt-packet: {why}")
    environment = dict(os.environ, EXAMPLES=str(examples))
    # a failure is made small, which may take longer than a test may otherwise
    command = [sys.executable, "-m", "pytest", "-n", "auto", "--timeout", "0", str(INTEROP)]
    raise typer.Exit(subprocess.run(command, env=environment).returncode)


if __name__ == "__main__":
    typer.run(main)
