"""The command `demo`: starts a broker and three simulated devices, and shows them in the terminal."""

from __future__ import annotations

import contextlib
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from tools import broker, running_broker
from tools.console import Console
from tools.demo.plain_view import PlainView
from tools.monitor.device_state import DeviceMonitor
from tools.monitor.model import MonitorModel
from tools.options import BROKER_URL_HELP, PasswordFile
from tools.paths import BUILD, ROOT
from tools.vm import process
from tools.vm.device import SimulatedDevice, host_config
from umqtt5 import Client, MQTTError

DEVICE_NAMES = ("kitchen", "cellar", "roof")


def _find_failures(monitor: DeviceMonitor, names: Sequence[str], devices: list[SimulatedDevice]) -> list[str]:
    """Return a line for each device that published no reading, or executed and confirmed no command."""
    failures = []
    for name, device in zip(names, devices):
        state = monitor.devices.get(name)
        if state is None or not state.readings:
            failures.append(f"{name}: no readings received")
            continue
        confirmed = [
            command
            for command in monitor.commands.values()
            if command.device == name
            and command.response
            and command.response.get("ok")
            and command.response.get("state") == state.switches.get(command.switch)
            and device.read_output(command.switch) == state.switches.get(command.switch)
        ]
        if not confirmed:
            failures.append(f"{name}: no command executed and confirmed")
    return failures


class CommandScript:
    """Sends one command to each device, after its second reading. Used if the demo has a time limit."""

    def __init__(self, monitor: DeviceMonitor, names: Sequence[str]) -> None:
        self._monitor = monitor
        self._names = names
        self._commanded: set[str] = set()

    def run(self) -> None:
        """Send the commands that are due. Call it repeatedly."""
        for name in self._names:
            state = self._monitor.devices.get(name)
            if name in self._commanded or state is None or "lamp" not in state.switches:
                continue
            if state.status == "online" and all(len(v) > 1 for v in state.readings.values()):
                self._commanded.add(name)
                payload = "OFF" if state.switches["lamp"] == "ON" else "ON"
                self._monitor.command(name, "lamp", payload)


@contextlib.contextmanager
def _start_devices(
    address: broker.Address, prefix: str, folder: Path, names: Sequence[str], discovery: str | None
) -> Iterator[list[SimulatedDevice]]:
    """Start the devices. `discovery` is the prefix of Home Assistant at which they announce themselves."""
    devices: list[SimulatedDevice] = []
    announced = {"discovery": discovery} if discovery else {}
    try:
        for name in names:
            config = {**host_config(name, address, prefix), **announced}
            devices.append(SimulatedDevice(folder / name, config))
        yield devices
    finally:
        for device in devices:
            device.stop()


def _exit_on_signal(number: int, _: object) -> None:
    raise SystemExit(128 + number)


class DemoSession:
    """The running devices and what happens to them, independent of the view."""

    def __init__(
        self,
        model: MonitorModel,
        names: Sequence[str],
        devices: list[SimulatedDevice],
        seconds: float | None,
    ) -> None:
        self.model = model
        self.names = names
        self.devices = devices
        self._script = CommandScript(model.monitor, names) if seconds else None
        self._alive = set(names)

    def step(self) -> bool:
        """Send the commands that are due, and report devices that ended. Return whether any is left."""
        if self._script:
            self._script.run()
        for name in sorted(self._alive):
            device = self.devices[self.names.index(name)]
            if not device.is_running:
                self._alive.remove(name)
                last = device.console_lines[-1] if device.console_lines else "nothing"
                self.model.monitor.on_event(f"{name}: its process ended. Last output: {last}")
        return bool(self._alive)


def _show_lines(session: DemoSession, console: Console, seconds: float | None) -> int:
    """Print lines until the time is up, or all devices have stopped. Return the exit code."""
    view = PlainView(console)
    monitor = session.model.monitor
    monitor.on_event = view.show_event
    deadline = time.monotonic() + (seconds or 1e9)
    try:
        while time.monotonic() < deadline and session.step():
            monitor.poll(100)
            view.update(monitor)
    except KeyboardInterrupt:
        return 130 if seconds else 0
    return 0


def _remove_from_homeassistant(address: broker.Address, discovery: str, names: Sequence[str]) -> None:
    """Remove the devices from Home Assistant: it would show them as unavailable for ever."""
    client = Client(
        address.host,
        address.port,
        user=address.user,
        password=address.password,
        ssl=address.ssl_context(),
    )
    with contextlib.suppress(OSError, MQTTError):  # the broker has ended
        client.connect()
        for name in names:
            client.publish(f"{discovery}/device/{name}/config", b"", qos=1, retain=True, wait=5000)
        client.disconnect()


_NEXT_STEPS = """
Next:
  make broker PORT=1883                      # a broker to try your own programs with
  make run FILE=examples/sensor_loop.py      # a first program, on a board or in the MicroPython VM
  make flash BOARD=esp32                     # the same device application on a board"""


def run(
    broker_choice: str,
    seconds: float | None,
    console: Console,
    password_file: Path | None = None,
    plain: bool = False,
    discovery: str | None = None,
) -> int:
    """Run the demo for `seconds`, or until the user quits. Return the exit code."""
    prefix = f"umqtt5-demo-{secrets.token_hex(3)}"  # a shared broker may serve several runs
    # in Home Assistant the devices are beside those of the user, which may have the same names
    names = [f"demo-{name}" for name in DEVICE_NAMES] if discovery else list(DEVICE_NAMES)
    BUILD.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(
            broker.run_broker(broker_choice, lambda url: running_broker.resolve_url(url, password_file))
        )
        is_ours = broker_choice in ("iotcore", "mosquitto")
        announced = address if is_ours else replace(address, password=None)
        stack.enter_context(running_broker.announce("make demo", announced, prefix))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-", dir=BUILD)))
        model = MonitorModel(address, prefix, [], shared_broker=False)
        model.monitor.connect()
        stack.callback(model.close)
        if discovery and not is_ours:
            stack.callback(_remove_from_homeassistant, address, discovery, names)
        devices = stack.enter_context(_start_devices(address, prefix, folder, names, discovery))
        console.print(f"broker at {address}, topics under {prefix}/")
        lamp = (folder / names[0] / "lamp").relative_to(ROOT)
        console.print("the outputs of a device are files. To watch a lamp:")
        console.print(f"    tail -F {lamp}", soft_wrap=True)
        session = DemoSession(model, names, devices, seconds)
        if plain or not (console.is_terminal and sys.stdin.isatty()):
            code = _show_lines(session, console, seconds)
        else:
            from tools.demo.cards import DemoApp  # only here, because it takes long

            code = DemoApp(model, names, devices, session.step, seconds).run_until_end()
        if code or not seconds:
            return code
        failures = _find_failures(model.monitor, names, devices)
    for line in failures:
        console.print(line, style="red")
    if not failures:
        console.print(f"{len(names)} devices published readings; each executed and confirmed a command")
    return 1 if failures else 0


def main(
    broker_choice: Annotated[
        str,
        typer.Option("--broker", help=f"iotcore, mosquitto, or {BROKER_URL_HELP}"),
    ] = "iotcore",
    password_file: PasswordFile = None,
    seconds: Annotated[
        Optional[float],
        typer.Option(min=5, help="end after this time, and check the result; default: until Ctrl-C"),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="print lines also in a terminal")] = False,
    homeassistant: Annotated[
        bool,
        typer.Option(
            "--homeassistant", help="announce the devices to the Home Assistant that uses this broker"
        ),
    ] = False,
) -> None:
    """Run three simulated devices and a broker, and show them live.

    Keys: 1 2 3 switch the lamps, 4 5 6 the relays, q quits. With --plain, or without a terminal, write lines
    such as `kitchen lamp ON` to standard input.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit_on_signal)
    console = Console()
    try:
        discovery = "homeassistant" if homeassistant else None
        code = run(broker_choice, seconds, console, password_file, plain, discovery)
        console.print(_NEXT_STEPS, soft_wrap=True, highlight=False)
    except KeyboardInterrupt:
        code = 130
    except (broker.BrokerError, process.VmNotFound, OSError, MQTTError) as error:
        is_connection_error = isinstance(error, (OSError, MQTTError))
        text = f"cannot connect to the broker: {error}" if is_connection_error else str(error)
        console.print(text, style="red", soft_wrap=True)
        code = 1
    sys.stdout.flush()
    raise typer.Exit(code)
