"""The command line `python -m tools COMMAND`: maps each command to the module that implements it.

A module is imported when its command runs, because the commands need different packages. The targets of
the Makefile call these commands.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, Optional

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # before and after `main`, which handles Ctrl-C, it ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

try:
    import typer
    import typer.main
    from typer.core import TyperGroup
except ModuleNotFoundError as missing:
    sys.exit(
        f"{sys.executable} has no package {missing.name}. Run: make setup\n"
        "Then use .venv/bin/python -m tools, or the targets that `make help` lists."
    )

from tools import deadlines, exit_codes
from tools.console import Console, EscapingConsole, escape_controls
from tools.errors import UserError

# command: its module, which has a function `main` or, for a command with subcommands, an `app`
_COMMANDS = {
    "demo": "tools.demo.command",
    "broker": "tools.broker_command",
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
    "password": "tools.password",
    "monitor": "tools.monitor.command",
    "doctor": "tools.doctor.command",
    "package": "tools.package",
    "release": "tools.release.command",
    "publisher": "tools.publisher",
    "size": "tools.size",
    "measure-heap": "tools.heap.figures",
    "bench": "tools.bench.command",
    "docs-figures": "tools.docs_figures",
    "lint": "tools.lint",
    "conformance": "tools.conformance",
    "mutants": "tools.mutants",
    "stack-frames": "tools.stack_frames",
}


def _load(name: str) -> Any:
    """Return the command, or a command that reports the missing package."""
    try:
        module = importlib.import_module(_COMMANDS[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tools"):
            raise
        return _to_command(name, _report_missing(name, error.name))
    if hasattr(module, "app"):
        group: Any = typer.main.get_command(module.app)
        group.name = name  # the list of commands shows it
        group.epilog = exit_codes.EPILOG
        for command in group.commands.values():
            command.epilog = exit_codes.EPILOG
        return group
    return _to_command(name, module.main)


def _to_command(name: str, function: Callable[..., None]) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name, epilog=exit_codes.EPILOG)(function)
    return typer.main.get_command(app)


def _report_missing(name: str, package: str) -> Callable[..., None]:
    text = f"needs the Python package {package}. Run: make setup"

    def report(arguments: Annotated[Optional[list[str]], typer.Argument(hidden=True)] = None) -> None:
        raise UserError(f"{name} {text}")

    report.__doc__ = text
    return report


class _LazyGroup(TyperGroup):
    """Command group that imports the module of a command when the command is used."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(_COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        return _load(cmd_name) if cmd_name in _COMMANDS else None


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=exit_codes.EPILOG,
)


@app.callback()
def _tools(ctx: typer.Context) -> None:
    """Tools for umqtt5."""
    deadlines.begin(ctx.invoked_subcommand)


def main() -> None:
    """Run the command in sys.argv. Print the text of a UserError as one line."""
    if any(word != escape_controls(word) for word in sys.argv):
        _escape_usage_errors()
    before = signal.getsignal(signal.SIGINT)
    deadlines.watch()
    try:
        if not all(map(_is_utf8, sys.argv)):
            raise UserError("an argument is not UTF-8. Rename the file, or type the argument again")
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        app(prog_name="python -m tools")
    except UserError as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader of the output has ended, such as `head`
        # so that Python can flush it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a file or folder that no command expects to fail
        name = error.filename if isinstance(error.filename, str) else ""
        _fail(f"{name or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGINT, before)


def _is_utf8(word: str) -> bool:
    """Return False if an argument has bytes that are not UTF-8: Python decodes them to surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape_usage_errors() -> None:
    """Make typer escape the control characters in its errors, which quote the arguments."""
    from typer import rich_utils  # only here, because it takes long

    setattr(rich_utils, "Console", EscapingConsole)  # noqa: B010


def _fail(message: str) -> NoReturn:
    console = Console(stderr=True, soft_wrap=True)
    console.print(message, style="red")
    sys.exit(1)


if __name__ == "__main__":
    main()
