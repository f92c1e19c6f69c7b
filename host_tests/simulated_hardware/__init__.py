"""Simulated hardware of an ESP32 or RP2 board, for the real MicroPython VM.

`modules/` has `machine`, `network`, `esp32` and `rp2`, which behave as MicroPython documents them, and the
drivers `dht`, `onewire`, `ds18x20` and `neopixel`, because no package registry has those of MicroPython.

Files in the folder `sim` of the device stand for everything outside the chip. A test reads and writes them
while the VM runs:

| file | content |
|---|---|
| `pin-4` | the levels so far, `0` or `1`; the last one is the present level. An output writes its level |
| `driven-4` | the levels that an output has driven since the first time, without repetitions |
| `adc-34` | voltage at a pin |
| `pwm-5` | frequency and duty (0 to 65535) of an active PWM |
| `i2c-76` | a device, by its address: JSON with `registers`, `answers` or `stuck` |
| `i2c-76-written` | data written to the device, one line per transfer |
| `dht-4` | data of a DHT sensor, five bytes in hexadecimal; if there is no file, there is no sensor |
| `onewire-4` | JSON: scratchpad of each device (nine bytes in hexadecimal), by ROM code |
| `pulse-4` | result of `time_pulse_us` in microseconds |
| `stream-4` | data of `bitstream` in hexadecimal |
| `wlan` | JSON: ssid, password, up, delay, rssi; faults: see `modules/network.py`, `modules/socket.py` |
| `drives` | what each pin drives from when on: lines `<ticks in ms> <pin> <0, 1, z, or pwm and its values>` |
| `outputs` | outputs that go on driving over a restart |
| `watchdog` | timeout of the running watchdog in ms |
| `temperature` | chip temperature in degrees Celsius |
| `memory`, `memory-0` | RTC memory of an ESP32, backup memory of an RP2 |
| `asleep` | exists during light sleep |
| `woken` | number of the pin that ended a deep sleep |
| `end` | how the board ended last: reset, wdt, bootloader, or asleep=ms |

A reset, a deep sleep, a soft reset and the watchdog end the VM process, and `SimulatedChip` starts it again.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from esp32_mock_bootloader.registers import mac_bytes_for_chip

from tools.bundle.compiler import compile_modules
from tools.vm import process

MODULES = Path(__file__).parent / "modules"

# exit codes of the process
HALTED, BOOTLOADER, RESET, ASLEEP, SOFT_RESET = 2, 3, 4, 5, 6
WATCHDOG = -9

# A board runs boot.py and, if it raised no exception, main.py: ports/rp2/main.c, ports/esp32/main.c. After
# SystemExit both run again, a soft reset. After the end, and after any other exception, the prompt appears.
# `machine` and `network` are loaded first, while the heap is empty, because they take no heap on a real chip.
RUN = """
import machine, network, sys
try:
    import boot, main
except SystemExit:
    import simulated_io
    if simulated_io.read_text("end") is not None:
        raise
    simulated_io.write_text("end", "soft=1")
    sys.exit(6)
"""


class SimulatedIO:
    """The files in the folder `sim` of a device, as a mapping from names to text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).exists()

    def __getitem__(self, name: str) -> str:
        """Return the text in a file, or "" if the file does not exist."""
        try:
            return (self.folder / name).read_text().strip()
        except OSError:
            return ""

    def __setitem__(self, name: str, content: str | float | Mapping[str, Any]) -> None:
        """Write a file atomically, so that the VM reads either the old or the new content."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f"{name}+"
        new.write_text(json.dumps(content) if isinstance(content, Mapping) else str(content))
        os.replace(new, self.folder / name)

    def __delitem__(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def drives(self, pin: int | str) -> list[str]:
        """Return what a pin has driven since the first start, `-` for each restart that released it."""
        found: list[str] = []
        for line in self["drives"].splitlines():
            _, name, *driven = line.split()
            if name == str(pin):
                found.append(" ".join(driven))
            elif name == "start" and driven == ["z"] and found:
                found.append("-")
        return found

    def pulses(self, pin: int, count: int) -> None:
        """Set a pin low and high again, `count` times."""
        levels = self[f"pin-{pin}"] or "1"
        self[f"pin-{pin}"] = levels + "01" * count


def unique_id(chip: str) -> bytes:
    """Return the MAC address that the ROM bootloader of an ESP chip reports; for other chips, 8 bytes."""
    return bytes(mac_bytes_for_chip(chip)) if chip.startswith("esp") else bytes.fromhex("e6614103e7452d2f")


@functools.cache
def compiled_modules() -> Path:
    """Return the folder of the compiled modules: they take less heap than source, and do not fragment it."""
    sources = {path.stem: path.read_text() for path in sorted(MODULES.glob("*.py"))}
    return compile_modules("simulated_hardware", sources)


# 176 KB as the other tests of a device, and 64 KB for the simulated modules and the texts that they read
HEAP = "240k"
START = ("-c", RUN)


class SimulatedChip:
    """A VM with the simulated hardware, which runs `arguments` in `folder` and restarts as a board does.

    `lines` are the lines that it printed, `exit_codes` the exit codes of its processes so far. After
    `BOOTLOADER` it stays off. After a deep sleep it restarts if the time is over or a pin wakes it;
    `sleep_factor` scales the time. After the end of boot.py and main.py the board is at its prompt, where it
    stays, unless a watchdog runs, which resets it.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str] = START,
        *,
        path: Sequence[Path] = (),
        chip: str = "esp32",
        heap: str = HEAP,
        sleep_factor: float = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.io = SimulatedIO(folder / "sim")
        self.lines: deque[str] = deque(maxlen=400)
        self.exit_codes: list[int] = []
        self.requested_sleeps_ms: list[int] = []  # durations passed to `deepsleep`
        self.asleep = False  # whether it is in deep sleep
        self._sleep_factor = sleep_factor
        self._has_prompt = RUN in arguments
        self._off = threading.Event()
        variables = {"SIM_CHIP": chip, "UNIQUE_ID": unique_id(chip).hex(), **(environment or {})}
        self._start: Callable[[], subprocess.Popen[str]] = lambda: process.start_vm(
            arguments, module_path=[*path, compiled_modules()], heap=heap, cwd=folder, environment=variables
        )
        self._process = self._start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            assert self._process.stdout
            for line in self._process.stdout:
                self.lines.append(line.rstrip())
            code = self._process.wait()
            self._process.stdout.close()
            if self._off.is_set():
                return
            end = dict(item.split("=") for item in self.io["end"].split())
            if code == -9:  # killed by the watchdog, or by itself in an interrupt handler
                codes = {"reset": RESET, "asleep": ASLEEP, "wdt": WATCHDOG}
                code = next((codes[cause] for cause in codes if cause in end), code)
            self.exit_codes.append(code)
            if code == ASLEEP:
                ms = int(end["asleep"])
                self.requested_sleeps_ms.append(ms)
                self.asleep = True
                if not self._sleep(ms, end.get("wake", "")):
                    return
                self.asleep = False
            elif code not in (RESET, WATCHDOG, SOFT_RESET):
                timeout = self.io["watchdog"] if self._has_prompt and code != BOOTLOADER else ""
                if not timeout or self._off.wait(int(timeout) / 1000):
                    return
                self.io["end"] = "wdt=1"  # nobody feeds it at the prompt
                self.exit_codes.append(WATCHDOG)
            self._process = self._start()

    def _sleep(self, ms: int, wake: str) -> bool:
        """Sleep for `ms`, -1 for ever, or until a pin wakes the chip; return False if it will not wake."""
        deadline = time.monotonic() + ms / 1000 * self._sleep_factor if ms >= 0 else float("inf")
        if not wake:
            return ms >= 0 and not self._off.wait(max(0, deadline - time.monotonic()))
        pin, levels, seen = wake.split(":")
        while time.monotonic() < deadline:
            if seen == "-1" or set(levels) & set(self.io[f"pin-{pin}"][int(seen) :]):
                self.io["woken"] = pin
                break
            if self._off.wait(0.01):
                return False
        return True

    @property
    def is_running(self) -> bool:
        """True if the chip is running or asleep, False if it stays off."""
        return self._thread.is_alive()

    def wait(self, timeout: float = 30) -> int:
        """Wait until the chip stays off, and return its last exit code."""
        self._thread.join(timeout)
        assert not self.is_running, list(self.lines)
        return self.exit_codes[-1]

    def wait_until(self, condition: Callable[[], object], timeout: float = 30) -> None:
        """Wait until the condition is true. Raises AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, list(self.lines)
            time.sleep(0.02)

    def wait_for_line(self, text: str, timeout: float = 30) -> str:
        """Wait until a printed line contains `text`, and return the line."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [line for line in list(self.lines) if text in line]
            return bool(found)

        self.wait_until(look, timeout)
        return found[0]

    def interrupt(self) -> None:
        """Press Ctrl-C on the console."""
        self._process.send_signal(signal.SIGINT)

    def power_off(self) -> None:
        self._off.set()
        while self._thread.is_alive():
            self._process.kill()
            self._thread.join(0.2)

    def __enter__(self) -> SimulatedChip:
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()
