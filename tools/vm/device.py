"""A simulated device: the device application in a process of the MicroPython VM, with a folder as flash."""

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
    """Return a config for the host board, with all sensors that this computer has.

    `period` is the time between readings in seconds.
    """
    endpoint: dict[str, Any] = {"host": broker.host, "port": broker.port}
    if broker.user is not None:
        endpoint["user"] = broker.user
    if broker.password is not None:
        endpoint["password"] = broker.password
    kinds = ["load", "memory_available", "disk_free", "uptime"]
    if any(Path("/sys/class/thermal").glob("thermal_zone*/temp")):
        kinds.append("cpu_temperature")
    return {
        "device": device,
        "prefix": prefix,
        "broker": endpoint,
        "sensors": [{"kind": kind, "period": period} for kind in kinds],
        "actuators": [{"name": pin, "pin": pin} for pin in ("lamp", "relay")],
        "health": 2,
    }


class SimulatedDevice:
    """Device that starts when it is created, and stops at the end of a `with` block or in `stop()`."""

    def __init__(
        self, folder: Path, config: dict[str, Any] | str | None, heap: str = process.DEVICE_HEAP
    ) -> None:
        """Write `config` to config.json in `folder`, and start the device.

        A str is written unchanged, for example to test a malformed config. None writes no file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder  # the file system of the device
        self.console_lines: deque[str] = deque(maxlen=200)  # the last lines of its output
        path = folder / "config.json"
        path.unlink(missing_ok=True)
        if config is not None:
            path.write_text(
                config if isinstance(config, str) else json.dumps(config, indent=2), encoding="utf-8"
            )
        self._process = process.start_device(folder, image.build_image("host"), heap)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        try:
            for line in self._process.stdout:
                self.console_lines.append(line.rstrip())
        except ValueError:
            pass  # `stop` has closed the pipe

    @property
    def pid(self) -> int:
        """The process id of the VM."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def wait(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for the end of the process. Return its exit code.

        Raises subprocess.TimeoutExpired.
        """
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def read_output(self, pin: str) -> str:
        """Return the level of an output, ON or OFF. The host board stores it in a file."""
        path = self.folder / pin
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    def stop(self) -> None:
        """Terminate the process."""
        process.stop_vm(self._process)

    def __enter__(self) -> SimulatedDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
