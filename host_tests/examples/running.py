"""Runs a program of examples/ in a folder of its own, and observes what it publishes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import broker
from tools.paths import LIB, ROOT
from tools.vm import process
from umqtt5 import Client, Message

EXAMPLES = ROOT / "examples"
MODULES = ("clock.py", "settings.py")  # modules that the examples import
TIMEOUT = 60  # seconds


def write_project(folder: Path, name: str, **settings: object) -> None:
    """Copy an example and the modules that it imports into `folder`, with these settings."""
    for file in (*MODULES, f"{name}.py"):
        shutil.copy(EXAMPLES / file, folder)
    with (folder / "settings.py").open("a") as file_:
        file_.writelines(f"{key} = {value!r}\n" for key, value in settings.items())


class Example:
    """An example that runs on one interpreter, "vm" or "cpython"; `lines` are those that it printed."""

    def __init__(self, folder: Path, name: str, interpreter: str) -> None:
        self.lines: deque[str] = deque(maxlen=200)
        if interpreter == "vm":
            # as a user starts it: from sources, with the heap that the unix port has
            self._process = process.start_vm([f"{name}.py"], heap="2m", cwd=folder)
        else:
            self._process = subprocess.Popen(
                [sys.executable, "-u", f"{name}.py"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(LIB)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    def __enter__(self) -> Example:
        return self

    def __exit__(self, *_: object) -> None:
        process.stop_vm(self._process)
        self._thread.join(10)

    def wait(self) -> None:
        """Wait until the example has ended."""
        self._process.wait(TIMEOUT)
        self._thread.join(10)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def has_line(self, text: str) -> bool:
        """Return whether a printed line contains `text`."""
        return any(text in line for line in list(self.lines))

    def wait_for_line(self, text: str) -> str:
        """Wait until a printed line contains `text`, and return the line."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            for line in list(self.lines):
                if text in line:
                    return line
            assert self.is_running and time.monotonic() < deadline, (text, list(self.lines))
            time.sleep(0.02)


class Observer:
    """A client that subscribes to all topics; `received` has the messages as (topic, payload).

    `system_filter` selects topics that begin with $, which "#" does not match. iotcore has none, and closes
    the connection after a subscription to them.
    """

    def __init__(self, address: broker.Address, system_filter: str = "") -> None:
        self.received: list[tuple[str, bytes]] = []
        self.client = Client(
            address.host, address.port, user=address.user, password=address.password, rx=8192, outbox=65536
        )
        self.client.subscribe("#", self._handle, qos=1)
        if system_filter:
            self.client.subscribe(system_filter, self._handle, qos=1)
        self.client.connect()
        self.client.poll(200)

    def _handle(self, message: Message) -> None:
        self.received.append((str(message.topic), bytes(message.payload)))

    def publish(self, topic: str, payload: bytes) -> None:
        assert self.client.publish(topic, payload, qos=1, wait=10000)

    def payloads(self, topic: str) -> list[bytes]:
        return [payload for name, payload in self.received if name == topic]

    def wait_until(self, condition: Callable[[], object], running: Example | None = None) -> None:
        """Poll until the condition is true. Raises AssertionError if the example ends before."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            lines = list(running.lines) if running else []
            assert running is None or running.is_running, lines
            assert time.monotonic() < deadline, (self.received[-20:], lines)
            self.client.poll(50)

    def publish_until(
        self, topic: str, payload: bytes, condition: Callable[[], object], running: Example
    ) -> None:
        """Publish again every 2 s until the condition is true: the example may not have subscribed yet."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert running.is_running and time.monotonic() < deadline, (self.received[-20:], running.lines)
            self.publish(topic, payload)
            again_at = time.monotonic() + 2
            while not condition() and time.monotonic() < again_at:
                self.client.poll(50)

    def wait_for(self, topic: str, payload: bytes, running: Example | None = None) -> None:
        self.wait_until(lambda: payload in self.payloads(topic), running)


@contextmanager
def observe(address: broker.Address, system_filter: str = "") -> Iterator[Observer]:
    """Yield an observer that is connected to the broker."""
    observer = Observer(address, system_filter)
    try:
        yield observer
    finally:
        observer.client.disconnect()
