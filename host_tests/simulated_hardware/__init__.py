"""A board without the board: `modules/` has `machine`, `network`, `esp32`, `rp2` for the real VM,
which behave as their documentation says, and the drivers `dht`, `onewire`, `ds18x20`, `neopixel`
that MicroPython ships and no registry has.

What is outside of the chip are files in a folder of the device's, `sim`, which a test writes
and reads while the VM runs:

| file | what |
|---|---|
| `pin-4` | levels as they came, `0` and `1`; the last is there now. An output writes its level |
| `adc-34` | volts at a pin |
| `pwm-5` | frequency and duty of 65535, of a PWM that runs |
| `i2c-76` | a device by its address: JSON with `registers`, `answers` or `stuck` |
| `i2c-76-written` | what was written to it, a line each |
| `dht-4` | five bytes, hexadecimal; no file: no device |
| `onewire-4` | JSON: nine bytes by ROM code |
| `pulse-4`, `stream-4` | of `time_pulse_us`, by `bitstream` |
| `wlan` | JSON: ssid, password, up, delay, rssi |
| `temperature` | of the chip, in degrees Celsius |
| `memory` | RTC memory |
| `asleep` | there while it sleeps lightly |
| `woken` | the pin that has ended a deep sleep |
| `end` | how the board ended last: reset, wdt, bootloader, or asleep=ms |

What ends a board ends the process, and `SimulatedChip` starts it again as the power would.
"""

from __future__ import annotations

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

from tools.vm import process

MODULES = Path(__file__).parent / "modules"

# exit codes of the process
HALTED, BOOTLOADER, RESET, ASLEEP = 2, 3, 4, 5
WATCHDOG = -9


class SimulatedIO:
    """The folder `sim` of a device, as a test uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).exists()

    def __getitem__(self, name: str) -> str:
        """What is in a file; "" where there is none."""
        try:
            return (self.folder / name).read_text().strip()
        except OSError:
            return ""

    def __setitem__(self, name: str, content: str | float | Mapping[str, Any]) -> None:
        """Write a file; the VM finds the old content or the new."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f"{name}+"
        new.write_text(json.dumps(content) if isinstance(content, Mapping) else str(content))
        os.replace(new, self.folder / name)

    def __delitem__(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def pulses(self, pin: int, count: int) -> None:
        """So many times low and high again."""
        levels = self[f"pin-{pin}"] or "1"
        self[f"pin-{pin}"] = levels + "01" * count


def unique_id(chip: str) -> bytes:
    """The MAC that the ROM bootloader tells of a chip of Espressif's; of another 8 bytes."""
    return bytes(mac_bytes_for_chip(chip)) if chip.startswith("esp") else bytes.fromhex("e6614103e7452d2f")


# the 128 KB of a device, and what the modules that stand in take of the VM's heap: a chip has them in C
HEAP = "168k"


class SimulatedChip:
    """A VM with the simulated hardware, in `folder`, that runs `arguments` and starts again as a board would.

    `lines` are what it printed, `exit_codes` the exit codes that it had. It stays off after `HALTED` and
    `BOOTLOADER`. After `deepsleep` it starts again when the time is over or a pin wakes it, or at once
    and again and again where `sleep_factor` is 0.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str] = ("-c", "import boot, main"),
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
        self.requested_sleeps_ms: list[int] = []  # ms that it asked for
        self.asleep = False  # deeply
        self._sleep_factor = sleep_factor
        self._off = threading.Event()
        given = {"SIM_CHIP": chip, "UNIQUE_ID": unique_id(chip).hex(), **(environment or {})}
        self._start: Callable[[], subprocess.Popen[str]] = lambda: process.start_vm(
            arguments, module_path=[*path, MODULES], heap=heap, cwd=folder, environment=given
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
            if code == -9:  # ended in an interrupt, or by the watchdog
                codes = {"reset": RESET, "asleep": ASLEEP, "wdt": WATCHDOG}
                code = next((codes[how] for how in codes if how in end), code)
            self.exit_codes.append(code)
            if code == ASLEEP:
                ms = int(end["asleep"])
                self.requested_sleeps_ms.append(ms)
                self.asleep = True
                if not self._sleep(ms, end.get("wake", "")):
                    return
                self.asleep = False
            elif code not in (RESET, WATCHDOG):
                return
            self._process = self._start()

    def _sleep(self, ms: int, wake: str) -> bool:
        """For `ms`, or until a pin ends it; False where it does not wake any more."""
        ends = time.monotonic() + ms / 1000 * self._sleep_factor if ms else float("inf")
        if not wake:
            return bool(ms) and not self._off.wait(ends - time.monotonic())
        pin, levels, seen = wake.split(":")
        while time.monotonic() < ends:
            if seen == "-1" or set(levels) & set(self.io[f"pin-{pin}"][int(seen) :]):
                self.io["woken"] = pin
                break
            if self._off.wait(0.01):
                return False
        return True

    @property
    def is_running(self) -> bool:
        """False where it waits for a person."""
        return self._thread.is_alive()

    def wait(self, timeout: float = 30) -> int:
        """Wait until it stays off; returns its last exit code."""
        self._thread.join(timeout)
        assert not self.is_running, list(self.lines)
        return self.exit_codes[-1]

    def wait_until(self, condition: Callable[[], object], timeout: float = 30) -> None:
        """Poll until the condition holds; fails where it does not."""
        ends = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < ends, list(self.lines)
            time.sleep(0.02)

    def wait_for_line(self, text: str, timeout: float = 30) -> str:
        """Wait until it prints a line with this text; returns it."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [line for line in list(self.lines) if text in line]
            return bool(found)

        self.wait_until(look, timeout)
        return found[0]

    def interrupt(self) -> None:
        """Ctrl-C at the console."""
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
