"""The commands of `python -m tools`, read from its typer application, and command lines that run them.

A new command is attacked without a change here: its options say what can be attacked.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import typer.main

from host_tests.attack.sandbox import BROKER_SECRET, Sandbox
from tools.__main__ import app

WIFI_SECRET = "never-print-this-wifi-password"
UPDATE_SECRET = "5ec2e7" * 11
SECRETS = (BROKER_SECRET, WIFI_SECRET, UPDATE_SECRET)

# options that let a command end soon, or take it as far as possible
_EXTRA = {
    "demo": ["--seconds", "5"],
    "deploy": ["--no-start"],
    "erase": ["--files-only", "--yes"],
    "flash": ["--no-ask", "--no-start", "--set", "device=dut", "--set", f"wifi.password={WIFI_SECRET}"],
    "fleet init": ["--file", "new.toml"],
    "fleet run": ["--count", "2", "--seconds", "1"],
    "logs": ["--seconds", "2", "--restart"],
    "provision": ["--no-ask", "--no-start", "--set", "device=dut", "--set", f"wifi.password={WIFI_SECRET}"],
    "update": ["dut", "--timeout", "4", "--key", "update.key"],
}
# seconds in which a command ends, whatever it talks to; the rest has _DEFAULT_DEADLINE
_DEADLINES = {"flash": 180.0, "doctor": 240.0, "deploy": 90.0, "provision": 90.0, "fleet run": 180.0}
_DEFAULT_DEADLINE = 75.0
# commands that run until Ctrl-C: seconds until it is pressed
_ENDLESS = {"password": 4.0, "repl": 4.0, "run": 8.0, "monitor": 5.0, "fleet flash": 8.0, "broker": 5.0}
# commands that start a broker by default
_OWN_BROKER = {"demo", "fleet run"}
# commands for development: they work on the checkout, and take minutes
_LONG = {
    "package",
    "release",
    "publisher",
    "size",
    "bench",
    "docs-figures",
    "lint",
    "conformance",
    "mutants",
    "stack-frames",
}


@dataclass(frozen=True)
class Parameter:
    """An option or an argument of a command."""

    name: str  # the option, such as --port; for an argument, its name
    is_option: bool
    is_flag: bool
    is_required: bool
    is_path: bool
    is_text: bool


@dataclass(frozen=True)
class Command:
    """A command without subcommands. `name` has the words of the command line, such as `fleet init`."""

    name: str
    definition: Any

    @cached_property
    def parameters(self) -> list[Parameter]:
        """Its options and arguments, without --help."""
        hints = typing.get_type_hints(inspect.unwrap(self.definition.callback))
        found = []
        for one in self.definition.params:
            types = {hints.get(one.name), *typing.get_args(hints.get(one.name))}
            option = one.param_type_name == "option"
            found.append(
                Parameter(
                    one.opts[0] if option else one.name,
                    option,
                    bool(getattr(one, "is_flag", False)),
                    bool(one.required),
                    Path in types,
                    str in types or list[str] in types,
                )
            )
        return [one for one in found if one.name != "--help"]

    def has(self, option: str) -> bool:
        """Return whether the command has this option."""
        return any(one.name == option for one in self.parameters)

    @property
    def deadline(self) -> float:
        """Seconds in which the command ends."""
        return _DEADLINES.get(self.name, _DEFAULT_DEADLINE)

    @property
    def interrupt_after(self) -> float | None:
        """Seconds until Ctrl-C ends a command that otherwise runs until then."""
        return 3.0 if self.name in _LONG else _ENDLESS.get(self.name)

    @property
    def is_for_development(self) -> bool:
        """Whether the command works on the checkout, and takes minutes."""
        return self.name in _LONG

    @property
    def shows_output_of_a_program(self) -> bool:
        """Whether the command shows what a program on a board prints, which may be a traceback."""
        return self.has_serial_port and not self.has("--broker")

    @property
    def has_serial_port(self) -> bool:
        """Whether `--port` names a serial port, not a number."""
        return any(one.name == "--port" and one.is_text for one in self.parameters)

    def _default(self, parameter: Parameter) -> str | None:
        """Return the value of a parameter that is not attacked.

        No command may find a real board or a real broker of this computer.
        """
        if parameter.name == "--port" and parameter.is_text:
            return "no-port"
        if parameter.name == "--broker" and self.name not in _OWN_BROKER:
            return "mqtt://127.0.0.1:1"
        if parameter.is_required:
            return "esp32" if parameter.name == "--board" else "hello.py"
        return None

    def build_line(self, sandbox: Sandbox, values: Mapping[str, str]) -> list[str]:
        """Return the arguments of a run with these values. Adds what the command requires."""
        words = self.name.split()
        extra = list(_EXTRA.get(self.name, ()))
        positional = []
        for one in self.parameters:
            value = values.get(one.name, self._default(one))
            if value is None:
                continue
            if one.is_option:
                extra = _without(extra, one.name) if one.name != "--set" else extra
                extra += [one.name] if one.is_flag else [one.name, value]
            else:
                positional.append(value)
        if positional and self.name == "update":
            extra = extra[1:]
        return [*words, *extra, *(["--", *positional] if positional else [])]


def _without(words: list[str], option: str) -> list[str]:
    """Return the words without an option and its value."""
    if option not in words:
        return words
    at = words.index(option)
    return words[:at] + words[at + 2 :]


def list_commands() -> list[Command]:
    """Return all commands of `python -m tools`."""
    return list(_walk(typer.main.get_command(app), ""))


def _walk(definition: Any, name: str) -> Iterator[Command]:
    if hasattr(definition, "list_commands"):
        for one in definition.list_commands(None):
            yield from _walk(definition.get_command(None, one), f"{name} {one}".strip())
    else:
        yield Command(name, definition)
