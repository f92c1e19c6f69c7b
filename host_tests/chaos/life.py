"""The life of one device: its world, the faults that it meets, and the invariants that are checked meanwhile.

A life is one day long or several. Its seed determines everything in it.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from host_tests.chaos.broker import Broker
from host_tests.chaos.configs import BASE, BOARDS, DEVICE, Setup, make_setup
from host_tests.chaos.controller import Controller
from host_tests.chaos.device import Device, make_flash
from host_tests.chaos.faults import Episode, Fault, make_schedule
from host_tests.chaos.network import Network
from host_tests.chaos.outputs import Output
from host_tests.chaos.packets import Publish
from host_tests.chaos.updates import UpdateServer
from host_tests.chaos.world import DAY, HOUR, MINUTE, SECOND, World
from tools.bundle import image

_FLASH_SIZE = 1 << 20
_REACHABLE = 10 * MINUTE  # after the last fault is healed
_NORMAL = 2 * HOUR  # after which nothing may be left of a fault
_HEAP_LOSS = 2048  # bytes of free heap that a start may lose from its first hours to its last
_EXPECTED_ERRORS = ("chaos:",)  # of versions that fail on purpose


@dataclass
class Finding:
    """A violated invariant; `number` is the number of the first run in which it was seen."""

    seed: int
    day: int
    time: int
    text: str

    def __str__(self) -> str:
        return f"--seed {self.seed} --day {self.day}, at {format_time(self.time)}: {self.text}"


@dataclass
class Result:
    """Figures of one life."""

    seed: int
    day: int
    days: float
    setup: str
    boots: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    messages: int = 0
    connects: int = 0
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0


def format_time(ms: int) -> str:
    days, rest = divmod(ms, DAY)
    return f"{days}d {rest // HOUR:02}:{rest // MINUTE % 60:02}:{rest // SECOND % 60:02}.{rest % 1000:03}"


class Life:
    """A device, its world and its faults. `only` are the numbers of the faults that happen; None for all."""

    def __init__(
        self,
        seed: int,
        day: int,
        days: float,
        folder: Path,
        verbose: bool = False,
        only: Sequence[int] | None = None,
        schedule: list[Episode] | None = None,
        setup: Setup | None = None,
        until: int | None = None,
    ) -> None:
        self.seed, self.day, self.days = seed, day, days
        self.rng = rng = random.Random(f"{seed} {day}")
        self.length = int(days * DAY)
        self.verbose = verbose
        self._only = only
        self._until = min(self.length, until or self.length)
        is_long = days > 1
        self.setup = setup or make_setup(rng, is_long)
        self.board = self.setup.board
        self.schedule = make_schedule(rng, self.length, is_long) if schedule is None else schedule
        self.result = Result(seed, day, days, self.setup.describe())
        self.world = World()
        self.folder = folder
        self._console_at = 0
        self.sensors_fail = ""
        self.next_cut = lambda: None
        self.lost_bookkeeping = False
        self._seen: set[str] = set()
        self._levels = {self.board.digital: 1, self.board.pulse: 1}
        settings = {
            "rp2": self.board.is_rp2,
            "kind": self.setup.filesystem,
            "levels": [],
            "voltages": [[self.board.analog, 1.0]],
            "reads": 0,
            "drivers": ["dht", "neopixel"],
            "seed": rng.getrandbits(20),
            "ticks": rng.choice((0, 0, (1 << 30) - rng.randint(1, 600000), (1 << 29) - 5000)),
            "track": bool(self.setup.config.get("journal")),
        }
        self.device = Device(self.world, folder, settings, self.log)
        self.device.random_bytes = rng.randrange
        self.broker = Broker(self.world)
        broker_config = self.setup.config["broker"]
        if "user" in broker_config:
            self.broker.user = broker_config["user"], broker_config["password"]
        self.broker.on_violation = lambda text: self.find(f"broker: {text}") if not self._garbage_is_active else None
        self.broker.observers.append(self._observe)
        self.broker.on_connected = lambda resumed: self.log(f"connected{' (session resumed)' if resumed else ''}")
        self.network = Network(self.world, self.device, self.broker, random.Random(f"network {seed} {day}"))
        self.outputs = self._make_outputs()
        self.controller = Controller(
            self.world, self.broker, random.Random(f"commands {seed} {day}"), self.outputs, self.find,
            lambda: self.network.unix_start + self.world.now // SECOND,
        )  # fmt: skip
        self.updates = UpdateServer(
            self.world, self.broker, random.Random(f"updates {seed} {day}"), self.board.key, self.find, self.log
        )
        self.device.handlers.update(
            {"p": self._pin, "q": self._pwm, "x": self._pixels, "m": self._sensor, "r": self._report,
             "v": self._version, "a": self._accepted}
        )  # fmt: skip
        self.device.on_start = self._on_start
        self.device.on_end = self._on_end
        self._active: dict[int, Fault] = {}
        self._healed_at = 0
        self._accepted_messages: dict[bytes, int] = {}  # time by message that has not arrived
        self._excused: set[bytes] = set()
        self._heap: list[tuple[int, int]] = []  # (ms since the start, free heap) of this start
        self._config_sum = 0
        self._disturbed_at = 0  # time of the last fault that has begun or ended
        self._status = ""
        self._boot_reads = 0

    # ---- running

    def run(self) -> Result:
        """Run the life, and return its figures and findings."""
        started = time.monotonic()
        image_folder = image.build_image(self.board.key)
        text = json.dumps(self.setup.config)
        self._config_sum = zlib.crc32(text.encode())
        with tempfile.TemporaryDirectory() as temporary:
            source = Path(temporary)
            for path in image_folder.rglob("*"):
                target = source / path.relative_to(image_folder)
                if path.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(path.read_bytes())
            (source / "config.json").write_text(text)
            make_flash(self.device.flash, source, self.setup.filesystem, _FLASH_SIZE)
        self.log(f"{self.result.setup}; ticks {self.device.settings['ticks']}")
        self.log(text)
        self._schedule_all()
        self.device.run(self._until)
        self._finish(started)
        return self.result

    def _finish(self, started: float) -> None:
        result = self.result
        result.seconds = time.monotonic() - started
        result.boots = self.device.boots
        result.commands.update(self.controller.count)
        result.answers = self.controller.answers
        result.connects = self.broker.connects
        result.updates.update(self.updates.count)
        self._flush_console()

    def _schedule_all(self) -> None:
        for episode in self.schedule:
            faults = [f for f in episode.faults if self._only is None or f.number in self._only]
            for fault in faults:
                self.world.at(fault.begins, lambda fault=fault: self._begin(fault))  # type: ignore[misc]
            if faults:
                self.world.at(episode.healed_at, lambda: self._check_later(_REACHABLE))
        if not self.schedule:
            self.world.at(2 * MINUTE, lambda: self._check_later(_REACHABLE))
        self.world.after(MINUTE, self._every_minute)
        self.world.after(HOUR, self._every_hour)
        self._schedule_command()

    def _schedule_command(self) -> None:
        mean = 300 if self.days > 1 else 90

        def send() -> None:
            self.controller.send_random()
            self._schedule_command()

        self.world.after(int(1000 * self.controller.rng.expovariate(1 / mean)) + 100, send)

    def _begin(self, fault: Fault) -> None:
        self.log(f"fault {fault.number}: {fault.name} for {(fault.ends - fault.begins) // 1000} s")
        self.result.faults[fault.name] += 1
        self._active[fault.number] = fault
        self._disturbed_at = self.world.now
        heal = fault.begin(self)

        def end() -> None:
            heal()
            self._active.pop(fault.number, None)
            self._disturbed_at = self.world.now
            self.log(f"healed {fault.number}: {fault.name}")

        self.world.at(fault.ends, end)

    @property
    def _garbage_is_active(self) -> bool:
        return any(fault.name == "garbage" for fault in self._active.values())

    # ---- logging and findings

    def log(self, text: str) -> None:
        if self.verbose:
            self._flush_console()
            print(f"{format_time(self.world.now)} {text}", flush=True)

    def _flush_console(self) -> None:
        if self.verbose and self.device.console.exists():
            with self.device.console.open("rb") as file:
                file.seek(self._console_at)
                data = file.read()
            self._console_at += len(data)
            for line in data.decode(errors="replace").splitlines():
                print(f"    | {line}")

    def find(self, text: str) -> None:
        """Record a finding, once for each kind."""
        kind = re.sub(r"\d+", "0", text)
        if kind in self._seen:
            return
        self._seen.add(kind)
        faults = ", ".join(f"{fault.number} {fault.name}" for fault in self._active.values()) or "no fault"
        self.result.findings.append(Finding(self.seed, self.day, self.world.now, f"{text} [{faults}]"))
        self.log(f"FINDING: {text} [{faults}]")

    # ---- messages of the device

    def _make_outputs(self) -> dict[str, Output]:
        outputs = {}
        for item in self.setup.config["actuators"]:
            outputs[item["name"]] = Output(self.world, item, self.find, self._allowance)
        for output in outputs.values():
            output.others = [outputs[name] for name in output.config.get("interlock", ())]
        self._by_pin = {self.board.outputs[name]: output for name, output in outputs.items()}
        return outputs

    def _allowance(self) -> int:
        hang = self.network.radio_hang_ms
        return hang + (8000 if hang or self.network.dns != "ok" else 0)

    def _drive(self, pin: str, level: int) -> None:
        output = self._by_pin.get(pin)
        if output:
            before = output.on
            output.drive(level)
            if output.on != before:
                self.log(f"{output.name} {'on' if output.on else 'off'}")

    def _pin(self, data: bytes) -> None:
        pin, level = data.decode().split()
        self._drive(pin, int(level))

    def _pwm(self, data: bytes) -> None:
        pin, _, duty = data.decode().split()
        self._drive(pin, int(int(duty) > 0))

    _pixels = _pin

    def _sensor(self, data: bytes) -> bytes:
        if self.sensors_fail == "missing":
            return b"null"
        if self.sensors_fail == "garbage":
            return json.dumps([255, 0, 255, 1, 7, 9]).encode() if data == b"sht" else b"[9, 9, 9, 9, 9]"
        return b"[102, 102, 147, 102, 102, 147]" if data == b"sht" else b"[1, 144, 0, 200, 89]"

    def toggle_input(self, pin: int) -> None:
        self._levels[pin] ^= 1
        self.device.push("P", pin, bytes([self._levels[pin]]))

    def remove_file(self, path: str) -> None:
        if self.device.is_running:
            self.device.order("remove", path)
        else:
            self.device.commands.append(["remove", path])

    def _report(self, data: bytes) -> None:
        free, config_sum, folder = json.loads(data)
        if isinstance(config_sum, str):
            self.find(f"config.json cannot be read: {config_sum}")
        elif config_sum & 0xFFFFFFFF != self._config_sum:
            self.find("config.json has changed")
        age = self.world.now - self.device.booted_at
        if age > 30 * MINUTE:
            self._heap.append((age, free))

    def _version(self, data: bytes) -> None:
        folder, _, version = data.decode().partition(" ")
        self.log(f"runs from {folder}, version {version or 0}")
        if folder in ("a", "b", "/a", "/b"):
            self.updates.check_running(int(version or 0))

    def _accepted(self, data: bytes) -> None:
        if data.startswith(f"{BASE}/sensor/level".encode()):
            self._accepted_messages[data] = self.world.now

    def _observe(self, publish: Publish) -> None:
        self.result.messages += 1
        if publish.qos:
            self._accepted_messages.pop(publish.topic.encode() + b"\0" + publish.payload, None)
        if publish.topic == f"{BASE}/status":
            self._status = publish.payload.decode(errors="replace")
            self.log(f"status {self._status}")
        elif publish.topic == f"{BASE}/crash" and publish.payload:
            lines = publish.payload.decode(errors="replace").strip().splitlines()
            self.log(f"crash: {lines[-1] if lines else ''}")

    # ---- checks

    def _on_start(self, cause: str) -> None:
        self.network.reset()
        for output in self.outputs.values():
            output.release()
            output.boots = self.device.boots
        self._heap.clear()
        self._boot_reads += 1
        self.device.settings["reads"] = self._boot_reads * 40000
        self.device.settings["levels"] = list(self._levels.items())
        self.device.cut_after = self.next_cut()

    def _on_end(self, how: str) -> None:
        word = how.split()[0]
        self.result.ends[word] += 1
        self._check_heap()
        for output in self.outputs.values():
            output.release()
        if word == "over":
            return
        if word in ("cut", "sleep"):
            return
        lines = self.device.last_output()
        self._flush_console()
        if word in ("hang", "crash", "prompt", "soft", "bootloader") or "after a hang" in how:
            if not self._is_bad_version_active:
                last = next((line for line in reversed(lines) if line.strip()), "")
                self.find(f"the program ended by {how}: {last}")
        elif word == "reset":
            self._check_traceback(lines)
        elif word == "watchdog" and not self._is_disturbed:
            self.find(f"the watchdog reset the board although there was no fault")

    def _check_traceback(self, lines: list[str]) -> None:
        """A reset after an exception is a finding, unless a version fails on purpose."""
        for i, line in enumerate(lines):
            if line.startswith("Traceback"):
                rest = [text for text in lines[i + 1 :] if text and not text.startswith("  ")]
                where = [text.strip() for text in lines[i + 1 :] if text.startswith("  File")]
                error = rest[0] if rest else "?"
                if not any(word in error for word in _EXPECTED_ERRORS):
                    self.find(f"crash: {error} at {where[-1] if where else '?'}")

    @property
    def _is_bad_version_active(self) -> bool:
        return any(fault.name.startswith("update") for fault in self._active.values())

    @property
    def _is_disturbed(self) -> bool:
        return bool(self._active) or self.world.now - self._disturbed_at < 15 * MINUTE

    def _check_heap(self) -> None:
        if len(self._heap) < 12:
            return
        half = len(self._heap) // 2
        first = min(free for _, free in self._heap[: len(self._heap) // 4 + 1])
        last = max(free for _, free in self._heap[half:])
        if last < first - _HEAP_LOSS:
            self.find(f"the free heap shrinks from {first} to {last} bytes within {len(self._heap)} hours")

    def _every_hour(self) -> None:
        self.device.order("report")
        for message, accepted_at in list(self._accepted_messages.items()):
            if not self._is_disturbed and self.world.now - accepted_at > HOUR:
                del self._accepted_messages[message]
                if message not in self._excused:
                    self.find(f"an accepted message was lost: {message!r}, accepted at {format_time(accepted_at)}")
        self.world.after(HOUR, self._every_hour)

    def _every_minute(self) -> None:
        heard = [c.heard_at for c in self.broker.connections if c.session and c.session.client_id == DEVICE]
        last = max([self._last_heard, *heard]) if hasattr(self, "_last_heard") else max(heard, default=0)
        self._last_heard = last
        keep_alive = self.setup.config["broker"]["keep_alive"]
        since = max(last, self.device.booted_at + 5 * SECOND)
        if self.device.is_running and self.setup.config["power"]["mode"] == "on":
            for output in self.outputs.values():
                output.check_offline(self.world.now - since, keep_alive)
        if self.world.now - self._healed_at < 12 * MINUTE and not self._active:
            self.controller.send_probe()
        self.world.after(MINUTE, self._every_minute)

    def _check_later(self, limit: int) -> None:
        """Check after `limit` ms that the device has answered since now; after two hours, that all is normal."""
        healed_at = self._healed_at = self.world.now
        power = self.setup.config["power"]
        if power["mode"] != "on":
            limit += 2 * (power["period"] + power["awake"]) * SECOND
        self.log("all faults are healed")

        def check() -> None:
            if self._active or self._disturbed_at > healed_at + SECOND:
                return
            if self.controller.last_answer_at <= healed_at:
                self.find(f"not reachable {limit // MINUTE} minutes after all faults were healed")

        def check_normal() -> None:
            if self._active or self._disturbed_at > healed_at + SECOND:
                return
            if self._status == "safe mode" or self.controller.last_good_answer_at <= healed_at:
                self.find(f"still not normal {_NORMAL // HOUR} hours after all faults were healed: {self._status}")

        self.world.after(limit, check)
        self.world.after(_NORMAL, check_normal)


def run_life(
    seed: int,
    day: int,
    days: float,
    verbose: bool = False,
    only: Sequence[int] | None = None,
    until: int | None = None,
) -> Result:
    """Run one life in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return Life(seed, day, days, Path(folder), verbose, only, until=until).run()


__all__ = ("BOARDS", "Finding", "Life", "Result", "format_time", "run_life")
