"""All attacks: each command with each hostile thing that it can meet."""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from host_tests.attack import hostile_board, hostile_broker, hostile_files
from host_tests.attack.checks import find_faults
from host_tests.attack.commands import SECRETS, UPDATE_SECRET, Command, list_commands
from host_tests.attack.hostile_text import FORMATS, MARKUP, PATHS, TERMINAL_TEXTS
from host_tests.attack.sandbox import Sandbox, make_sandbox
from host_tests.attack.terminal import Run, run_in_terminal
from host_tests.transports.scripted_servers import serve_connections

# `prepare` returns the values of options; what it enters into the stack ends with the run
Prepare = Callable[[Sandbox, contextlib.ExitStack], dict[str, str]]

_TEXTS = (
    *TERMINAL_TEXTS,
    *PATHS,
    FORMATS,
    MARKUP,
    "",
    " ",
    "-",
    "--",
    "x" * 20000,
    "\udcff",
    "7e999",
    "NaN",
    "-1",
    "99999999999999999999",
    "mqtt://[",
    "mqtt://u:p@h:0x1",
    "mqtts://\u202e.example:1",
    "mqtt://127.0.0.1:1",
)


@dataclass(frozen=True)
class Case:
    """One attack on one command."""

    command: Command
    attacker: str  # board, broker, files, fleet, arguments or interrupt
    name: str
    prepare: Prepare
    interrupt_after: float | None = None
    stdin_is_terminal: bool = True
    keys: tuple[tuple[float, bytes], ...] = ()

    def __str__(self) -> str:
        return f"{self.command.name}: {self.attacker}: {self.name}"


def run_case(case: Case) -> tuple[Run, list[str]]:
    """Run a command under attack. Return the run, and a line for each fault."""
    with tempfile.TemporaryDirectory(prefix="attack-") as folder, contextlib.ExitStack() as stack:
        sandbox = make_sandbox(Path(folder))
        (sandbox.work / "hello.py").write_text("print('hello')\n")
        (sandbox.work / "update.key").write_text(UPDATE_SECRET[:64] + "\n")
        (sandbox.work / "update.key").chmod(0o600)
        (sandbox.work / "fleet.toml").write_text(hostile_files.fleet_description())
        values = case.prepare(sandbox, stack)
        before = sandbox.snapshot()
        line = case.command.build_line(sandbox, values)
        run = run_in_terminal(
            [sys.executable, "-m", "tools", *line],
            sandbox.work,
            sandbox.environment,
            deadline=case.command.deadline,
            interrupt_after=case.interrupt_after,
            keys=case.keys,
            stdin_is_terminal=case.stdin_is_terminal,
        )
        after = sandbox.snapshot()
    faults = find_faults(
        run,
        before,
        after,
        uses_textual=case.command.name in ("demo", "monitor")
        and case.stdin_is_terminal
        and "--web" not in line
        and "--plain" not in line,
        shows_tracebacks_of_boards=case.attacker == "board" and case.command.shows_output_of_a_program,
        secrets=() if case.attacker == "arguments" else (*SECRETS, UPDATE_SECRET[:64]),
    )
    return run, faults


def build_cases(seed: int, random_count: int = 3) -> list[Case]:
    """Return all attacks. `random_count` boards and brokers with random answers are made from `seed`."""
    return [case for command in list_commands() for case in _cases_of(command, seed, random_count)]


def _cases_of(command: Command, seed: int, random_count: int) -> Iterator[Case]:
    if command.has_serial_port:
        yield from _board_cases(command, seed, random_count)
    if command.has("--broker"):
        yield from _broker_cases(command, seed, random_count)
    if command.has("--file") and command.name.startswith("fleet"):
        yield from _fleet_cases(command)
    for one in command.parameters:
        if one.is_path:
            yield from _file_cases(command, one.name)
        elif one.is_text:
            for text in _TEXTS:
                prepare = _values({one.name: text})
                yield Case(
                    command, "arguments", f"{one.name} {text[:40]!r}", prepare, command.interrupt_after
                )
    yield Case(command, "interrupt", "Ctrl-C", _values({}), 1.5)
    yield Case(command, "interrupt", "no terminal", _values({}), command.interrupt_after or 20, False)


def _values(values: dict[str, str]) -> Prepare:
    return lambda sandbox, stack: values


# ---- boards


def _board_cases(command: Command, seed: int, random_count: int) -> Iterator[Case]:
    personas = dict(hostile_board.PERSONAS)
    for number in range(random_count):
        choice = random.Random(f"{seed} {number} board").randrange
        personas[f"random {seed} {number}"] = hostile_board.random_persona(choice)
    for name, persona in personas.items():
        yield Case(command, "board", name, _plug_in(command, persona), command.interrupt_after)


def _plug_in(command: Command, persona: hostile_board.Persona) -> Prepare:
    def prepare(sandbox: Sandbox, stack: contextlib.ExitStack) -> dict[str, str]:
        port = sandbox.work / "port"
        stack.enter_context(hostile_board.plugged_in(persona, port))
        values = {"--port": str(port)}
        if command.has("--firmware"):
            from host_tests.board.rig import fake_firmware

            (sandbox.work / "firmware.bin").write_bytes(fake_firmware("esp32"))
            values["--firmware"] = "firmware.bin"
        if command.name == "doctor":
            values["--board"] = "esp32"
        return values

    return prepare


# ---- brokers


def _broker_cases(command: Command, seed: int, random_count: int) -> Iterator[Case]:
    personas = dict(hostile_broker.PERSONAS)
    for number in range(random_count):
        choice = random.Random(f"{seed} {number} broker").randrange
        personas[f"random {seed} {number}"] = hostile_broker.random_persona(choice)
    for name, persona in personas.items():
        for scheme in ("mqtt", "mqtts"):
            if scheme == "mqtts" and name not in (
                "hostile messages",
                "silence",
                "an HTTP server",
                "a TLS server",
            ):
                continue
            prepare = _serve(persona, scheme)
            yield Case(command, "broker", f"{name}, {scheme}", prepare, command.interrupt_after)
            if command.name == "monitor":
                lines = Case(command, "broker", f"{name}, {scheme}, lines", prepare, 5, False)
                yield lines
    if command.has("--web"):
        prepare = _serve(hostile_broker.PERSONAS["hostile messages"], "mqtt", {"--web": ""})
        yield Case(command, "broker", "hostile messages, page", prepare, 4)


def _serve(persona: hostile_broker.Persona, scheme: str, more: dict[str, str] | None = None) -> Prepare:
    def prepare(sandbox: Sandbox, stack: contextlib.ExitStack) -> dict[str, str]:
        address = stack.enter_context(serve_connections(persona))
        # the password is in the environment: see `Sandbox.environment`
        url = f"{scheme}://somebody@{address.host}:{address.port}"
        return {"--broker": url, **(more or {})}

    return prepare


# ---- files


def _file_cases(command: Command, parameter: str) -> Iterator[Case]:
    for kind, make in hostile_files.KINDS.items():

        def prepare(
            sandbox: Sandbox, stack: contextlib.ExitStack, make: hostile_files.Make = make
        ) -> dict[str, str]:
            return {parameter: str(make(sandbox, "hostile"))}

        yield Case(command, "files", f"{parameter} {kind}", prepare, command.interrupt_after)


def _fleet_cases(command: Command) -> Iterator[Case]:
    after = command.interrupt_after
    for name, text in hostile_files.FLEETS.items():
        yield Case(command, "fleet", f"fleet.toml: {name}", _write_description(command, text), after)
    for file in ("out/.umqtt5-fleet.json", "fleet.private/passwords.json", "fleet.private/state.json"):
        for name, data in hostile_files.LISTS.items():
            yield Case(command, "fleet", f"{file} {name}", _write_list(command, file, data), after)
    for place in _PLACES:
        for kind in _PLACE_KINDS:
            yield Case(command, "fleet", f"{place} {kind}", _put(command, place, kind), after)


_PLACE_KINDS = (
    "is a symlink to a folder of the user",
    "is a symlink to a file of the user",
    "is a symlink to nothing",
    "is a FIFO",
    "is a folder",
)
# what the commands for fleets write or read; each may be a symlink or a FIFO
_PLACES = (
    "out",
    "fleet.private",
    "out/dev-1",
    "out/broker",
    "out/dashboard",
    "out/.umqtt5-fleet.json",
    "out/broker/passwords",
    "out/dev-1/config.json",
    "out/dev-1/config.json.new",
    "fleet.private/ca.key",
    "fleet.private/ca.pem",
    "fleet.private/clients",
    "fleet.private/servers",
    "fleet.private/passwords.json",
    "fleet.private/.gitignore",
    "fleet.toml",
)


def _fleet_values(command: Command) -> dict[str, str]:
    values = {"--file": "fleet.toml"}
    if command.has("--out"):
        values["--out"] = "out"
    return values


def _write_description(command: Command, text: str) -> Prepare:
    def prepare(sandbox: Sandbox, stack: contextlib.ExitStack) -> dict[str, str]:
        (sandbox.work / "fleet.toml").write_text(text, errors="replace")
        return _fleet_values(command)

    return prepare


def _write_list(command: Command, file: str, data: bytes) -> Prepare:
    def prepare(sandbox: Sandbox, stack: contextlib.ExitStack) -> dict[str, str]:
        path = sandbox.work / file
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        (path.parent / "link").symlink_to(sandbox.outside)
        return _fleet_values(command)

    return prepare


def _put(command: Command, place: str, kind: str) -> Prepare:
    def prepare(sandbox: Sandbox, stack: contextlib.ExitStack) -> dict[str, str]:
        path = sandbox.work / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if path.name != ".umqtt5-fleet.json" and place.startswith("out/"):
            (sandbox.work / "out" / ".umqtt5-fleet.json").write_text('{"dev-1": ["config.json"]}')
        hostile_files.KINDS[kind](sandbox, place)
        return _fleet_values(command)

    return prepare
