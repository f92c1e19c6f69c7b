"""The device: the real firmware in a process of the MicroPython VM, one process per start of the board.

The VM asks the world for everything outside the program: see `modules/chaos_link.py`. A reset, the
watchdog and a power cut kill the process.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from host_tests.chaos.world import MINUTE, SECOND, World
from tools.bundle.compiler import compile_modules
from tools.vm import process

_MODULES = Path(__file__).parent / "modules"
_SHARED_MODULES = Path(__file__).parents[1] / "simulated_hardware" / "modules"
_DRIVERS = ("dht", "neopixel")
_HEADER = struct.Struct("<BBHQ")
_REPLY = struct.Struct("<QQBBH")
_FAR = 1 << 50
_MAX_REPLY = 2048  # bytes, the size of `_events` in `chaos_link`
# bytes, in addition to the heap of the simulated modules. A Pico W has 192 KB, and its objects are 1.4 times
# smaller than those of the 64-bit VM, so a board has more room than this
_HEAP = 224 * 1024
_HANG_CPU = 3.0  # seconds of processor time without a message after which the program hangs
_RESTART = 300  # ms from a reset to the first instruction


class Device:
    """A board with its flash, its RTC memory and its clock.

    `on_message(op, data)` handles what the world has to answer; `log(text)` records what happens.
    """

    def __init__(
        self, world: World, folder: Path, settings: dict[str, Any], log: Callable[[str], None]
    ) -> None:
        self.world = world
        self.folder = folder
        self.flash = folder / "flash"
        self.console = folder / "console.txt"
        self.settings = settings  # what the VM reads at its start, see `chaos_start`
        self.log = log
        self.wifi = False
        self.handlers: dict[str, Callable[[bytes], bytes | None]] = {}
        self.on_start: Callable[[str], None] = lambda cause: None
        self.on_end: Callable[[str], None] = lambda how: None
        self.boots = 0
        self.booted_at = 0
        self.watchdog_ms = 0
        self.cut_after: int | None = None  # messages after which the power fails
        self.flash_error = 0  # errno of all writes, 0 if the flash works
        self.cut_after_writes: int | None = None  # writes to flash after which the power fails
        self.random_bytes: Callable[[int], int] = lambda n: 0
        self.commands: list[list[str]] = []  # commands for the next start
        self.clock = 0  # of the RTC, in ms, minus the time of the world
        self.memory = b""
        self._start_at: int | None = 0  # time of the next start, None if it stays off
        self._cause = "power"
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._input = b""
        self._events: list[bytes] = []
        self._has_news = False
        self._messages = 0
        self._ended = ""
        self._console_at_start = 0

    # ---- the process

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def run(self, end: int) -> None:
        """Run the world and the device until a time."""
        while self.world.now < end:
            if self._process is not None:
                self._serve(end)
            elif self._start_at is not None and self._start_at <= self.world.now:
                self._start()
            else:
                until = end if self._start_at is None else min(end, self._start_at)
                self.world.run_until(until, lambda: self._process is not None)
        self.kill("over")

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._console_at_start = self.console.stat().st_size if self.console.exists() else 0
        environment = {
            **os.environ,
            "MICROPYPATH": f"{_compiled_modules()}{os.pathsep}.frozen",
            "CHAOS_FD": str(theirs.fileno()),
        }
        command = [process.find_executable(), "-X", f"heapsize={_HEAP + measure_own_heap()}", "-c"]
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                [*command, "import chaos_start; chaos_start.run()"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        self._socket = ours
        self._input = b""
        self._events.clear()
        self._messages = 0
        self._ended = ""
        self.boots += 1
        self.booted_at = self.world.now
        self.watchdog_ms = 0 if self._cause != "soft" else self.watchdog_ms
        self.wifi = False
        self.log(f"start {self.boots} ({self._cause})")
        self.on_start(self._cause)

    def kill(self, how: str) -> None:
        """End the run; `how` is the cause, such as "cut"."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        assert self._socket
        self._socket.close()
        self._process = self._socket = None
        self._ended = how
        self.log(f"end: {how}")
        self.on_end(how)

    def cut_power(self, off_ms: int) -> None:
        """Cut the power now, and switch it on again after a time."""
        self.kill("cut")
        self.memory = b""
        self.clock = 0
        self._cause = "power"
        self._start_at = self.world.now + off_ms

    # ---- messages

    def push(self, kind: str, number: int, data: bytes) -> None:
        """Send an event to the device with the next reply."""
        if self._process is not None:
            self._events.append(struct.pack("<BHH", ord(kind), number, len(data)) + data)
            self._has_news = True

    def notify(self) -> None:
        """End the wait of the device, because `wifi` has changed."""
        self._has_news = True

    def order(self, *command: str) -> None:
        """Make the VM carry out a command that changes files, or report."""
        self.push("J", 0, json.dumps(command).encode())

    def _receive(self) -> bool:
        """Read what the VM has sent; False if it has ended or hangs."""
        assert self._socket and self._process
        started = _processor_time(self._process.pid)
        while True:
            if select.select([self._socket], [], [], 1)[0]:
                data = self._socket.recv(1 << 16)
                self._input += data
                return bool(data)
            if _processor_time(self._process.pid) - started > _HANG_CPU:
                self._end_hang()
                return False

    def _end_hang(self) -> None:
        self.log("the program hangs")
        if self.watchdog_ms:
            self.world.run_until(self.world.now + self.watchdog_ms)
            self._end("watchdog after a hang")
        else:
            self._end("hang")

    def _serve(self, end: int) -> None:
        """Handle messages until the process has ended, or until a time."""
        while self._process is not None and self.world.now < end:
            while len(self._input) < 12 or len(self._input) < 12 + _HEADER.unpack_from(self._input)[2]:
                if not self._receive():
                    if self._process is not None:
                        self._end("crash of the VM")
                    return
            op, is_call, size, now = _HEADER.unpack_from(self._input)
            data, self._input = self._input[12 : 12 + size], self._input[12 + size :]
            assert now < _FAR, "the VM has lost the clock"
            if now > self.world.now:
                self.world.run_until(now)
                if self._process is None:
                    return
            self._messages += 1
            if self.cut_after is not None and self._messages >= self.cut_after:
                self.cut_after = None
                self.cut_power(2 * SECOND)
                return
            self._handle(chr(op), is_call, data, end)

    def _handle(self, op: str, is_call: int, data: bytes, end: int) -> None:
        result = None
        if op == "w":
            self._wait(min(int.from_bytes(data, "little"), end))
        elif op == "E":
            self._end(data.decode())
        elif op == "b":
            result = self._boot_settings()
        elif op == "f":
            result = self._allow_write(int.from_bytes(data, "little"))
        elif op == "d":
            self.watchdog_ms = int(data)
        elif op == "k":
            self.clock = int(data)
        elif op == "y":
            self.memory = data
        else:
            result = self.handlers[op](data)
        if is_call and self._process is not None:
            if result is not None:
                self._events.insert(0, struct.pack("<BHH", ord("R"), 0, len(result)) + result)
            self._reply()

    def _wait(self, until: int) -> None:
        if self._has_news:
            return
        while (due := self.world.next_time()) is not None and due <= until:
            self.world.run_next()
            if self._has_news or self._process is None:
                return
        self.world.now = max(self.world.now, until)

    def _reply(self) -> None:
        assert self._socket
        due = self.world.next_time()
        horizon = _FAR if due is None else due - 1
        size = 0
        for event in self._events:  # as many as fit into the buffer of the VM; the others in the next reply
            if size + len(event) > _MAX_REPLY:
                break
            size += len(event)
        data = b"".join(self._events)[:size]
        while size > 0:
            size -= len(self._events.pop(0))
        self._has_news = bool(self._events)
        if self._has_news:
            horizon = 0
        header = _REPLY.pack(self.world.now, max(horizon, 0), self.wifi, 0, len(data))
        try:
            self._socket.sendall(header + data)
        except OSError:
            pass  # the VM has ended; `_receive` notices it

    def _boot_settings(self) -> bytes:
        commands, self.commands = self.commands, []
        settings = {
            **self.settings,
            "flash": str(self.flash),
            "cause": "sleep" if self._cause.startswith("sleep") else self._cause,
            "woken": 4 if self._cause.startswith("sleep") else 0,
            "memory": list(self.memory),
            "commands": commands,
            "clock": self.clock,
            "seed": self.settings["seed"] + self.boots,
            "ticks": (self.settings["ticks"] - self.world.now) & 0x3FFFFFFF,
            "drivers": [name for name in _DRIVERS if name in self.settings["drivers"]],
        }
        return json.dumps(settings).encode()

    def _allow_write(self, size: int) -> bytes:
        if self.flash_error:
            return (0x80000000 | self.flash_error).to_bytes(4, "little")
        if self.cut_after_writes is not None:
            self.cut_after_writes -= 1
            if self.cut_after_writes < 0:
                self.cut_after_writes = None
                if self.settings["kind"] == "fat":  # sectors are written completely or not at all
                    size = 1
                return self.random_bytes(size).to_bytes(4, "little")
        return size.to_bytes(4, "little")

    def _end(self, how: str) -> None:
        """The program has ended by itself."""
        now = self.world.now
        word = how.split()[0]
        if word == "cut":
            self.cut_power(2 * SECOND)
            return
        watchdog_ms = self.watchdog_ms
        self.kill(how)
        self._start_at = now + _RESTART
        self._cause = word
        if word == "sleep":
            self._start_at = now + max(1, int(how.split()[1]))
        elif word == "prompt" and watchdog_ms:  # nobody feeds the watchdog
            self._start_at = now + watchdog_ms
            self._cause = "watchdog"
        elif word not in ("reset", "soft", "watchdog"):  # a person has to switch the power off and on
            self._start_at = now + 30 * MINUTE
            self._cause = "power"

    def output_of_start(self) -> list[str]:
        """Return the lines that the device has printed since its last start."""
        with self.console.open("rb") as file:
            file.seek(self._console_at_start)
            return file.read().decode(errors="replace").splitlines()

    def last_output(self, lines: int = 30) -> list[str]:
        """Return the last lines that the device printed."""
        if not self.console.exists():
            return []
        with self.console.open("rb") as file:
            file.seek(max(0, self.console.stat().st_size - 6000))
            return file.read().decode(errors="replace").splitlines()[-lines:]


def _processor_time(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return time.process_time()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _compiled_modules() -> Path:
    """Return the folder of the compiled modules that stand for the world in the VM."""
    paths = [*sorted(_MODULES.glob("*.py")), *[_SHARED_MODULES / f"{name}.py" for name in _DRIVERS]]
    return compile_modules("chaos", {path.stem: path.read_text() for path in paths})


_own_heap: list[int] = []


def measure_own_heap() -> int:
    """Return the heap that the modules of the world take in the VM, and room for their messages."""
    if not _own_heap:
        names = "chaos_net, machine, chaos_start, random, json, " + ", ".join(_DRIVERS)
        program = "import gc; gc.collect(); before = gc.mem_alloc()\n"
        program += f"import {names}; gc.collect(); print(gc.mem_alloc() - before)"
        environment = {
            **os.environ,
            "MICROPYPATH": f"{_compiled_modules()}{os.pathsep}.frozen",
            "CHAOS_FD": "0",
        }
        command = [process.find_executable(), "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        _own_heap.append(int(done.stdout) + 8192)
    return _own_heap[0]


def make_flash(path: Path, image: Path, kind: str, size: int) -> None:
    """Create a flash image with the files in the folder `image`."""
    path.write_bytes(b"\xff" * size)
    environment = {
        **os.environ,
        "MICROPYPATH": f"{_compiled_modules()}{os.pathsep}.frozen",
        "CHAOS_FD": "0",
        "CHAOS_FLASH": str(path),
        "CHAOS_KIND": kind,
        "CHAOS_IMAGE": str(image),
    }
    command = [
        process.find_executable(),
        "-X",
        "heapsize=2m",
        "-c",
        "import chaos_start; chaos_start.make_flash()",
    ]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
