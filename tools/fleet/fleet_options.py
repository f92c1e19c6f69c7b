"""Options that the commands of `make fleet` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.paths import BUILD

File = Annotated[Path, typer.Option("--file", help="fleet description")]
Out = Annotated[Path, typer.Option("--out", help="folder for the generated files")]
DEFAULT_FILE = Path("fleet.toml")
DEFAULT_OUT = BUILD / "fleet"
