"""The command line. One command a file; the Makefile only calls this.

A command's module is imported when it is asked for: the demo needs few packages, a board more.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Annotated, Any, Optional

import typer
import typer.main
from rich.console import Console
from typer.core import TyperGroup

from tools.errors import UserError

# command: its module, which has `main`, or `app` where there are commands below it
_COMMANDS = {
    "demo": "tools.demo.command",
    "flash": "tools.flash",
    "deploy": "tools.deploy",
    "provision": "tools.provision",
    "run": "tools.run",
    "repl": "tools.repl",
    "logs": "tools.logs",
    "ls": "tools.ls",
    "erase": "tools.erase",
    "update": "tools.update",
    "decode-traceback": "tools.decode_traceback",
    "fleet": "tools.fleet.command",
    "monitor": "tools.monitor.command",
    "doctor": "tools.doctor.command",
    "package": "tools.package",
    "size": "tools.size",
    "bench": "tools.bench.command",
    "docs-figures": "tools.docs_figures",
    "lint": "tools.lint",
    "conformance": "tools.conformance",
    "mutants": "tools.mutants",
    "stack-frames": "tools.stack_frames",
}


def _load(name: str) -> Any:
    """The command; where its packages are not installed, one that says so."""
    try:
        module = importlib.import_module(_COMMANDS[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tools"):
            raise
        return _single(name, _missing(name, error.name))
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    return _single(name, module.main)


def _single(name: str, function: Callable[..., None]) -> Any:
    one = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    one.command(name)(function)
    return typer.main.get_command(one)


def _missing(name: str, package: str) -> Callable[..., None]:
    text = f"needs the package {package}: `make setup` installs all of them"

    def instead(arguments: Annotated[Optional[list[str]], typer.Argument(hidden=True)] = None) -> None:
        raise UserError(f"{name} {text}")

    instead.__doc__ = text
    return instead


class _Lazily(TyperGroup):
    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(_COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        return _load(cmd_name) if cmd_name in _COMMANDS else None


app = typer.Typer(
    cls=_Lazily,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _tools() -> None:
    """umqtt5's tools. Exit codes: 0 done, 1 it did not come out as it should, 2 wrong use."""


def main() -> None:
    """Run the command; a UserError becomes one line."""
    try:
        app(prog_name="python -m tools")
    except UserError as problem:
        console = Console(stderr=True, soft_wrap=True)
        console.print(str(problem), style="red", markup=False, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
