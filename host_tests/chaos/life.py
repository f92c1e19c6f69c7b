"""The life of one device: its world and the faults that it meets.

A life is one day long or several. Its seed and its first day determine everything in it.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from host_tests.chaos.broker import Broker
from host_tests.chaos.configs import Setup, make_setup
from host_tests.chaos.controller import Controller
from host_tests.chaos.device import Device, make_flash
from host_tests.chaos.faults import HARMLESS, Episode, Fault, make_schedule
from host_tests.chaos.invariants import Invariants
from host_tests.chaos.network import Network
from host_tests.chaos.outputs import Output
from host_tests.chaos.recorder import Recorder, Result
from host_tests.chaos.updates import UpdateServer
from host_tests.chaos.world import DAY, MINUTE, SECOND, World
from tools.bundle import image

_FLASH_SIZE = 848 << 10  # bytes, as on a Pico W, which has the least
_RECOVERY = 5 * MINUTE  # after a fault, before each command must be answered
_COMMAND_INTERVAL, _RARE_COMMAND_INTERVAL = 90, 300  # mean time between commands in seconds


@functools.cache
def build_image(board: str) -> Path:
    """Return the folder with the image of a board, the same for all lives of a run."""
    return image.build_image(board)


class Life:
    """A device, its world and its faults.

    `only` are the numbers of the faults that happen, None for all; the life ends at `until` ms at the latest.
    `setup` and `schedule` replace the random ones.
    """

    def __init__(
        self,
        seed: int,
        day: int,
        days: float,
        folder: Path,
        is_verbose: bool = False,
        only: Sequence[int] | None = None,
        until: int | None = None,
        setup: Setup | None = None,
        schedule: list[Episode] | None = None,
    ) -> None:
        self.rng = random.Random(f"{seed} {day}")
        self.length = min(int(days * DAY), until or int(days * DAY))
        self.is_long = days > 1
        self.setup = setup or make_setup(self.rng, self.is_long)
        self.board = self.setup.board
        if schedule is None:
            schedule = make_schedule(self.rng, int(days * DAY), self.is_long)
        self.schedule = schedule
        self._only = only
        self.world = World()
        self.result = Result(seed, day, days, self.setup.describe())
        self.recorder = Recorder(self.world, self.result, folder / "console.txt", is_verbose)
        self._create_parts(folder, f"{seed} {day}")
        # state that faults change
        self.sensors_fail = ""  # "missing", "garbage" or ""
        self.next_cut: Callable[[], int | None] = lambda: None  # messages after which the next start ends
        self._hindered_at = 0  # time at which the last fault that is not harmless began or ended
        self._driven: dict[str, int] = {}  # level by output pin
        self._levels = {self.board.digital: 1, self.board.pulse: 1}

    def _create_parts(self, folder: Path, name: str) -> None:
        world, recorder = self.world, self.recorder
        self._config_text = json.dumps(self.setup.config)
        self.device = Device(world, folder, self._make_settings(), recorder.log)
        self.device.random_bytes = self.rng.randrange
        self.device.on_start = self._on_start
        self.device.on_end = self._on_end
        self.broker = Broker(world)
        if "user" in self.setup.config["broker"]:
            self.broker.user = self.setup.config["broker"]["user"], self.setup.config["broker"]["password"]
        self.broker.on_connected = lambda resumed: recorder.log(f"connected{' again' if resumed else ''}")
        self.network = Network(world, self.device, self.broker, random.Random(f"network {name}"))
        self.outputs = self._make_outputs()
        self.controller = Controller(
            world,
            self.broker,
            random.Random(f"commands {name}"),
            self.outputs,
            recorder.find,
            lambda: self.network.unix_start + world.now // SECOND,
            self._must_answer,
        )
        self.updates = UpdateServer(
            world, self.broker, random.Random(f"updates {name}"), self.board.key, recorder.find, recorder.log
        )
        handlers = {"p": self._pin, "q": self._pwm, "x": self._pin, "m": self._sensor, "v": self._version}
        self.device.handlers.update(handlers)
        self.invariants = Invariants(self, zlib.crc32(self._config_text.encode()))

    def _make_settings(self) -> dict[str, object]:
        """Return the settings that the VM reads at each start."""
        rng = self.rng
        return {
            "rp2": self.board.is_rp2,
            "kind": self.setup.filesystem,
            "levels": [],
            "driven": [],
            "voltages": [[self.board.analog, 1.0]],
            "reads": 0,
            "drivers": ["dht", "neopixel"],
            "seed": rng.getrandbits(20),
            "ticks": rng.choice((0, 0, (1 << 30) - rng.randint(1, 600000), (1 << 29) - 5000)),
            "track": bool(self.setup.config.get("journal")),
        }

    def _make_outputs(self) -> dict[str, Output]:
        outputs = {}
        for item in self.setup.config["actuators"]:
            outputs[item["name"]] = Output(self.world, item, self.recorder.find, self._allowance)
        for output in outputs.values():
            output.others = [outputs[name] for name in output.config.get("interlock", ())]
        self._by_pin = {self.board.outputs[name]: output for name, output in outputs.items()}
        return outputs

    def _allowance(self) -> int:
        """Return by how many ms a fault may delay the device now."""
        hang = self.network.radio_hang_ms
        return hang + (8000 if hang or self.network.dns != "ok" else 0)

    # ---- running

    def run(self) -> Result:
        """Run the life, and return its figures and findings."""
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as temporary:
            source = Path(temporary) / "image"
            shutil.copytree(build_image(self.board.key), source)
            (source / "config.json").write_text(self._config_text)
            make_flash(self.device.flash, source, self.setup.filesystem, _FLASH_SIZE)
        self.recorder.log(f"{self.result.setup}; ticks {self.device.settings['ticks']}")
        self.recorder.log(self._config_text)
        self._schedule_faults()
        self._schedule_command()
        self.device.run(self.length)
        self.recorder.flush_console()
        result = self.result
        result.boots = self.device.boots
        result.commands.update(self.controller.count)
        result.answers = self.controller.answers
        result.connects = self.broker.connects
        result.updates.update(self.updates.count)
        result.seconds = time.monotonic() - started
        return result

    def _schedule_faults(self) -> None:
        self.world.at(2 * MINUTE, self.invariants.check_later)
        for episode in self.schedule:
            faults = [f for f in episode.faults if self._only is None or f.number in self._only]
            for fault in faults:
                self.world.at(fault.begins, lambda fault=fault: self._begin(fault))  # type: ignore[misc]
            if faults:
                self.world.at(episode.healed_at, self.invariants.check_later)

    def _schedule_command(self) -> None:
        mean = _RARE_COMMAND_INTERVAL if self.is_long else _COMMAND_INTERVAL

        def send() -> None:
            self.controller.send_random()
            self._schedule_command()

        self.world.after(int(SECOND * self.controller.rng.expovariate(1 / mean)) + 100, send)

    def _begin(self, fault: Fault) -> None:
        self.recorder.log(f"fault {fault.number}: {fault.name} for {(fault.ends - fault.begins) // 1000} s")
        self.result.faults[fault.name] += 1
        self.recorder.active_faults[fault.number] = fault.name
        self._disturb(fault)
        heal = fault.begin(self)

        def end() -> None:
            heal()
            self.recorder.active_faults.pop(fault.number, None)
            self._disturb(fault)
            self.recorder.log(f"healed {fault.number}: {fault.name}")

        self.world.at(fault.ends, end)

    def _disturb(self, fault: Fault) -> None:
        """A fault has begun or ended."""
        self.invariants.disturbed_at = self.world.now
        if fault.name not in HARMLESS:
            self._hindered_at = self.world.now

    def _must_answer(self) -> bool:
        """Return whether no fault hinders the device in answering now."""
        is_hindered = any(name not in HARMLESS for name in self.recorder.active_faults.values())
        is_sleepy = self.setup.config["power"]["mode"] != "on"
        return not is_sleepy and not is_hindered and self.world.now - self._hindered_at > _RECOVERY

    # ---- for faults

    def toggle_input(self, pin: int) -> None:
        """Change the level of an input pin."""
        self._levels[pin] ^= 1
        self.device.push("P", pin, bytes([self._levels[pin]]))

    def remove_file(self, path: str) -> None:
        """Remove a file, now or at the next start."""
        if self.device.is_running:
            self.device.order("remove", path)
        else:
            self.device.commands.append(["remove", path])

    # ---- the device

    def _on_start(self, cause: str) -> None:
        self.network.reset()
        if self._keeps_pins(cause):
            self.device.settings["driven"] = list(self._driven.items())
            for output in self.outputs.values():
                output.keep(self.device.boots)
        else:
            self._release_outputs()
            self.device.settings["driven"] = []
            self._driven.clear()
        self.device.settings["reads"] = self.device.boots * 40000  # so that no reading is repeated
        self.device.settings["levels"] = list(self._levels.items())
        self.device.cut_after = self.next_cut()

    def _on_end(self, how: str) -> None:
        self.result.ends[how.split()[0]] += 1
        self.invariants.on_end(how)
        if not self._keeps_pins(how.split()[0]):
            self._release_outputs()

    def _keeps_pins(self, how: str) -> bool:
        """Return whether outputs keep their levels: on an ESP32 over all resets, on an RP2 over soft ones."""
        return how == "soft" or (not self.board.is_rp2 and how in ("reset", "watchdog"))

    def _release_outputs(self) -> None:
        for output in self.outputs.values():
            output.release(self.device.boots)

    def _drive(self, pin: str, level: int) -> None:
        output = self._by_pin.get(pin)
        if output:
            before = output.on
            output.drive(level)
            if output.on != before:
                self.recorder.log(f"{output.name} {'on' if output.on else 'off'}")

    def _pin(self, data: bytes) -> None:
        pin, level = data.decode().split()
        self._driven[pin] = int(level)
        self._drive(pin, int(level))

    def _pwm(self, data: bytes) -> None:
        pin, _, duty = data.decode().split()
        self._drive(pin, int(int(duty) > 0))

    def _sensor(self, data: bytes) -> bytes:
        if self.sensors_fail == "missing":
            return b"null"
        if self.sensors_fail == "garbage":
            return b"[255, 0, 255, 1, 7, 9]" if data == b"sht" else b"[9, 9, 9, 9, 9]"
        return b"[102, 102, 147, 102, 102, 147]" if data == b"sht" else b"[1, 144, 0, 200, 89]"

    def _version(self, data: bytes) -> None:
        folder, _, version = data.decode().partition(" ")
        self.recorder.log(f"runs from {folder}, version {version or 0}")
        if folder in ("a", "b", "/a", "/b"):
            self.updates.check_running(int(version or 0))


def run_life(
    seed: int,
    day: int,
    days: float,
    is_verbose: bool = False,
    only: Sequence[int] | None = None,
    until: int | None = None,
) -> Result:
    """Run one life in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return Life(seed, day, days, Path(folder), is_verbose, only, until).run()
