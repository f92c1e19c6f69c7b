"""`make interop EXAMPLES=1000`: run the tests of this folder with more examples, different in each run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from tools import npm

INTEROP = Path(__file__).parent


def main(
    examples: Annotated[int, typer.Option(help="number of random examples per test", min=1)] = 1000,
) -> None:
    """Check the client's packets with other codecs, and theirs with the client."""
    why = npm.install(INTEROP)
    if why:
        typer.echo(f"the codec mqtt-packet is skipped: {why}")
    environment = dict(os.environ, EXAMPLES=str(examples))
    # no timeout, because shrinking a failing example may take long
    command = [sys.executable, "-m", "pytest", "-n", "auto", "--timeout", "0", str(INTEROP)]
    raise typer.Exit(subprocess.run(command, env=environment).returncode)


if __name__ == "__main__":
    typer.run(main)
