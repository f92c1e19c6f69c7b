"""Devices on this computer: a folder each for their flash, a process each of the real VM."""

from __future__ import annotations

import json
import threading
from collections import deque
from pathlib import Path
from typing import Any

from tools.broker import Address
from tools.bundle import image
from tools.vm import process


def host_config(device: str, broker: Address, prefix: str, period: float = 1) -> dict[str, Any]:
    """A config for the host board with every reading that this computer has."""
    where: dict[str, Any] = {"host": broker.host, "port": broker.port}
    if broker.user is not None:
        where["user"] = broker.user
    if broker.password is not None:
        where["password"] = broker.password
    kinds = ["load", "memory_available", "disk_free", "uptime"]
    if any(Path("/sys/class/thermal").glob("thermal_zone*/temp")):
        kinds.append("cpu_temperature")
    return {
        "device": device,
        "prefix": prefix,
        "broker": where,
        "sensors": [{"kind": kind, "period": period} for kind in kinds],
        "actuators": [{"name": pin, "pin": pin} for pin in ("lamp", "relay")],
        "health": 2,
    }


class SimulatedDevice:
    """One device. `lines` are the last that it printed on its console."""

    def __init__(self, folder: Path, config: dict[str, Any] | str | None, heap: str = "128k") -> None:
        """`settings` becomes its `config.json`: a str as it stands, None for no file."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.console_lines: deque[str] = deque(maxlen=200)
        path = folder / "config.json"
        path.unlink(missing_ok=True)
        if config is not None:
            path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
        self._process = process.start_device(folder, image.build_image("host"), heap)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        try:
            for line in self._process.stdout:
                self.console_lines.append(line.rstrip())
        except ValueError:
            pass  # closed by `stop`

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout: float) -> int:
        """Wait for its end; returns its exit code. Raises subprocess.TimeoutExpired."""
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def read_output(self, pin: str) -> str:
        """The level of an output, as the device keeps it: ON or OFF."""
        path = self.folder / pin
        return path.read_text().strip() if path.exists() else ""

    def stop(self) -> None:
        process.stop_vm(self._process)

    def __enter__(self) -> SimulatedDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
