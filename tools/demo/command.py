"""`make demo`: a broker, three devices that run the real firmware, and a look at them."""

from __future__ import annotations

import contextlib
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from tools import broker
from tools.demo import terminal_view
from tools.monitor.device_state import DeviceMonitor
from tools.paths import BUILD, ROOT
from tools.vm import process
from tools.vm.device import SimulatedDevice, host_config
from umqtt5 import MQTTError

DEVICE_NAMES = ("kitchen", "cellar", "roof")


def _missing(watch: DeviceMonitor, running: list[SimulatedDevice]) -> list[str]:
    """What a run must have shown and has not: telemetry of each, a confirmed command to each."""
    missing = []
    for name, device in zip(DEVICE_NAMES, running):
        state = watch.devices.get(name)
        if state is None or not state.readings:
            missing.append(f"{name}: no telemetry")
            continue
        done = [
            command
            for command in watch.commands.values()
            if command.device == name
            and command.response
            and command.response.get("ok")
            and command.response.get("state") == state.switches.get(command.switch)
            and device.read_output(command.switch) == state.switches.get(command.switch)
        ]
        if not done:
            missing.append(f"{name}: no command carried out and confirmed")
    return missing


class CommandScript:
    """In a run that ends by itself each device gets one command, when it has said enough."""

    def __init__(self, watch: DeviceMonitor) -> None:
        self._watch = watch
        self._asked: set[str] = set()

    def run(self) -> None:
        for name in DEVICE_NAMES:
            state = self._watch.devices.get(name)
            if name in self._asked or state is None or "lamp" not in state.switches:
                continue
            if state.status == "online" and all(len(v) > 1 for v in state.readings.values()):
                self._asked.add(name)
                word = "OFF" if state.switches["lamp"] == "ON" else "ON"
                self._watch.command(name, "lamp", word)


@contextlib.contextmanager
def _started(address: broker.Address, prefix: str, folder: Path) -> Iterator[list[SimulatedDevice]]:
    running: list[SimulatedDevice] = []
    try:
        for name in DEVICE_NAMES:
            running.append(SimulatedDevice(folder / name, host_config(name, address, prefix)))
        yield running
    finally:
        for device in running:
            device.stop()


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _show(
    watch: DeviceMonitor,
    view: terminal_view.View,
    running: list[SimulatedDevice],
    seconds: float | None,
) -> None:
    """Until the time is over, or a person has seen enough."""
    script = CommandScript(watch) if seconds else None
    alive = set(DEVICE_NAMES)
    ends = time.monotonic() + (seconds or 1e9)
    while time.monotonic() < ends and not view.quit_requested:
        watch.poll(100)
        if script:
            script.run()
        view.update(watch)
        for name in sorted(alive):
            device = running[DEVICE_NAMES.index(name)]
            if not device.is_running:
                alive.remove(name)
                last = device.console_lines[-1] if device.console_lines else "nothing"
                view.show_event(f"{name}: its process has ended; it said last: {last}")
        if not alive:
            return


def run(broker_choice: str, seconds: float | None, console: Console) -> int:
    """The demo; returns the exit code."""
    prefix = f"umqtt5-demo-{secrets.token_hex(3)}"  # so that a shared broker keeps runs apart
    BUILD.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(broker.run_broker(broker_choice))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-", dir=BUILD)))
        watch = DeviceMonitor(address, prefix)
        watch.connect()
        stack.callback(watch.close)
        running = stack.enter_context(_started(address, prefix, folder))
        console.print(f"broker {broker_choice} at {address}, topics under {prefix}/", highlight=False)
        lamp = (folder / DEVICE_NAMES[0] / "lamp").relative_to(ROOT)
        console.print(f"a device is a folder: `tail -F {lamp}` watches a lamp", highlight=False)
        with terminal_view.open_view(console, DEVICE_NAMES, running) as view:
            watch.on_event = view.show_event
            try:
                _show(watch, view, running, seconds)
            except KeyboardInterrupt:
                if seconds:
                    raise
        if not seconds:
            return 0
        missing = _missing(watch, running)
    for line in missing:
        console.print(f"[red]{line}")
    if not missing:
        console.print(
            f"telemetry from {len(DEVICE_NAMES)} devices, a command to each carried out and confirmed"
        )
    return 1 if missing else 0


def main(
    broker_choice: Annotated[
        str,
        typer.Option("--broker", help="iotcore, mosquitto, or mqtt://[user:password@]host[:port]"),
    ] = "iotcore",
    seconds: Annotated[
        Optional[float],
        typer.Option(min=5, help="end by itself, and check what was seen; without it, Ctrl-C ends"),
    ] = None,
) -> None:
    """Three devices of the real MicroPython VM, live in the terminal.

    Keys: 1 2 3 switch the lamps, 4 5 6 the relays, q ends. Without a terminal a line such as
    `kitchen lamp ON` on standard input does the same.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    console = Console()
    try:
        code = run(broker_choice, seconds, console)
    except KeyboardInterrupt:
        code = 130
    except (broker.BrokerError, process.VmNotFound) as error:
        console.print(f"[red]{error}", highlight=False)
        code = 1
    except (OSError, MQTTError) as error:
        console.print(f"[red]the broker {broker_choice} does not take us: {error}", highlight=False)
        code = 1
    sys.stdout.flush()
    raise typer.Exit(code)
