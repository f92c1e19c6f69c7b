"""The side of the broker that no fault reaches: watches what the device sends, sends what it expects."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from host_tests.faults.proxy import Proxy
from tools.broker import Address
from tools.bundle import image
from tools.vm import process as vm
from umqtt5 import Client

_AT_ONCE = 8  # messages of each QoS between two polls
_AHEAD = 40  # messages that may wait in the broker, by QoS
DEVICE = Path(__file__).with_name("device_program.py")


class Run:
    """One device behind a proxy, to its end. `up` counts what came from it, `report` is its own word."""

    def __init__(self, broker: Address, proxy: Proxy, unique: str, count: int) -> None:
        self._broker = broker
        self._proxy = proxy
        self._unique = unique
        self._count = count
        self.up: list[Counter[int]] = [Counter(), Counter(), Counter()]
        self._highest = [0, 0, 0]
        self.report: dict[str, Any] = {}
        self.lines: list[str] = []  # what the device has said besides
        self._done = False

    def _came(self, message: Any) -> None:
        try:
            qos, number = message.payload.split(b"/")
            self.up[int(qos)][int(number)] += 1
            self._highest[int(qos)] = max(self._highest[int(qos)], int(number))
        except (ValueError, IndexError):
            pass  # altered on its way

    def _told(self, message: Any) -> None:
        self._done = True

    def play(
        self,
        heal_after: float,
        seconds: float = 60,
        heap: str = "64k",
        every: int = 0,
        progress: Callable[[int], None] | None = None,
        over: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        """Let the device run; the faults end `heal_after` seconds after its start.

        `every` ms it tells its free heap; `progress` is told how many messages have come.
        """
        client = Client(self._broker.host, self._broker.port, client_id=self._unique + "-desk", outbox=8192)
        client.subscribe(self._unique + "/up/+", self._came, qos=2)
        done = client.subscribe(self._unique + "/done", self._told, qos=1)
        client.connect()
        while done.reason is None:
            client.poll(20)
        settings = {
            "host": self._proxy.address.host,
            "port": self._proxy.address.port,
            "unique": self._unique,
            "count": self._count,
            "seconds": seconds,
            "every": every,
            "options": options,
            "over": over,
        }
        process = vm.start(
            ["-m", "device_program", json.dumps(settings)], path=[image.cached_program(DEVICE)], heap=heap
        )
        try:
            reader = threading.Thread(target=self._read, args=(process,), daemon=True)
            reader.start()
            self._talk(client, process, heal_after, seconds, progress)
            process.wait(seconds + 20)
            reader.join(10)
        finally:
            vm.stop(process)
            client.disconnect()
        assert self.lines[-1:] == ["end"], self.lines
        for line in self.lines:
            word, _, rest = line.partition(" ")
            if word == "report":
                name, _, value = rest.partition(" ")
                self.report[name] = json.loads(value)

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Take what the device says: a pipe that is full would hold it up."""
        assert process.stdout
        with contextlib.suppress(ValueError):  # closed by `stop`
            for line in process.stdout:
                self.lines.append(line.rstrip())

    def _talk(
        self,
        client: Any,
        process: subprocess.Popen[str],
        heal_after: float,
        seconds: float,
        progress: Callable[[int], None] | None,
    ) -> None:
        start = time.monotonic()
        numbers = [0, 0, 0]
        healed = stopped = False
        while time.monotonic() - start < seconds and not (stopped and not client.session.outbox.count):
            if process.poll() is not None:
                return
            client.poll(5)
            if not healed and time.monotonic() - start > heal_after:
                self._proxy.heal()
                healed = True
            if sum(map(len, self.up)):  # its subscriptions are made
                for i in range(3 * _AT_ONCE):
                    qos = i % 3
                    number = numbers[qos]
                    if number > self._highest[qos] + _AHEAD and not self._done:
                        continue  # mosquitto would give a client that comes back all of it at once
                    topic = f"{self._unique}/down/{qos}"
                    if number < self._count and client.publish(topic, b"%d/%d" % (qos, number), qos=qos):
                        numbers[qos] += 1
            if self._done and min(numbers) == self._count and not stopped:
                stopped = client.publish(self._unique + "/stop", b"", qos=1) > 0
            if progress:
                progress(sum(map(len, self.up)) + sum(numbers))
