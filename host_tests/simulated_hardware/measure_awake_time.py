"""Measure how long a sleeping device is awake in each cycle.

Run it with `python -m host_tests.simulated_hardware.measure_awake_time`.

The device runs in the real VM with simulated hardware, and mosquitto runs on this computer. The times of a
real radio, flash and processor are not included. A real device reports its own time as `awake` in its health.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from host_tests.device.observer import observe
from host_tests.simulated_hardware.test_board import simulated_device
from tools import broker
from tools.board import definition

_LINGER = 0.1  # seconds


def measure(key: str, mode: str, address: broker.Address, cycles: int, console: Console) -> list[float]:
    """Return the time awake in ms of each of `cycles` cycles, as the device reports it."""
    awake_ms: dict[float, float] = {}  # by cycle number
    power = {"mode": mode, "period": 1, "linger": _LINGER}
    with tempfile.TemporaryDirectory() as folder, observe(address) as observer:
        sensors = [{"kind": "chip_temperature"}, {"kind": "heap_free"}]
        with simulated_device(key, Path(folder), address, sensors, power=power):
            for n in track(range(1, cycles + 1), f"{key}, {mode}", console=console):
                observer.wait_until(lambda n=n: (observer.dut.health.get("cycles") or 0) >= n, 60)
                awake_ms[observer.dut.health["cycles"]] = observer.dut.health["awake"]
    return list(awake_ms.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cycles", type=int, default=10)
    cycles = parser.parse_args().cycles
    console = Console(stderr=True)
    table = Table("board", "sleep", "ms awake, median", "longest")
    with broker.Mosquitto("set_tcp_nodelay true") as running:
        for key in ("esp32", "rpi_pico_w"):
            for mode in ("light", "deep"):
                ms = measure(key, mode, running.address, cycles, console)
                figures = f"{statistics.median(ms):.0f}", f"{max(ms):.0f}"
                table.add_row(definition.load_board(key).name, mode, *figures)
    Console().print(table)
    Console().print(f"Each time includes {_LINGER * 1000:.0f} ms of waiting for commands (power.linger).")


if __name__ == "__main__":
    main()
