"""Runs `device_program` in the VM behind the fault proxy, and exchanges messages with it."""

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
from tools.vm import process
from umqtt5 import Client

_BATCH = 8  # how many messages of each QoS are sent at most between two polls
_AHEAD = 40  # how far, per QoS, the messages sent may run ahead of those received
DEVICE = Path(__file__).with_name("device_program.py")


class DeviceRun:
    """One run of the device program behind a fault proxy.

    A second client, which is connected to the broker directly, receives the messages of the device and sends
    it `count` messages at each QoS. `received` counts the messages from the device by QoS and number.
    `report` contains the values that the device prints when it ends.
    """

    def __init__(self, broker: Address, proxy: Proxy, unique: str, count: int) -> None:
        self._broker = broker
        self._proxy = proxy
        self._unique = unique
        self._count = count
        self.received: list[Counter[int]] = [Counter(), Counter(), Counter()]
        self._highest = [0, 0, 0]
        self.report: dict[str, Any] = {}
        self.lines: list[str] = []  # all lines that the device printed
        self._done = False

    def _on_message(self, message: Any) -> None:
        try:
            qos, number = message.payload.split(b"/")
            self.received[int(qos)][int(number)] += 1
            self._highest[int(qos)] = max(self._highest[int(qos)], int(number))
        except (ValueError, IndexError):
            pass  # corrupted by the network

    def _on_done(self, message: Any) -> None:
        self._done = True

    def run(
        self,
        stop_faults_after: float,
        seconds: float = 60,
        heap: str = "80k",
        report_interval_ms: int = 0,
        progress: Callable[[int], None] | None = None,
        tls_and_path: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        """Run the device to its end, for at most `seconds`.

        The faults stop `stop_faults_after` seconds after the start. The device prints its free heap every
        `report_interval_ms` ms, or not at all if it is 0. `progress` is called with the number of messages
        exchanged so far.
        `tls_and_path` and `options` are passed to the device program.
        """
        client = Client(self._broker.host, self._broker.port, client_id=self._unique + "-peer", outbox=8192)
        client.subscribe(self._unique + "/up/+", self._on_message, qos=2)
        done = client.subscribe(self._unique + "/done", self._on_done, qos=1)
        client.connect()
        while done.reason is None:
            client.poll(20)
        settings = {
            "host": self._proxy.address.host,
            "port": self._proxy.address.port,
            "unique": self._unique,
            "count": self._count,
            "seconds": seconds,
            "report_interval_ms": report_interval_ms,
            "options": options,
            "transport": tls_and_path,
        }
        child = process.start_vm(
            ["-m", "device_program", json.dumps(settings)],
            module_path=[image.build_program(DEVICE)],
            heap=heap,
        )
        try:
            reader = threading.Thread(target=self._read, args=(child,), daemon=True)
            reader.start()
            self._exchange(client, child, stop_faults_after, seconds, progress)
            child.wait(seconds + 20)
            reader.join(10)
        finally:
            process.stop_vm(child)
            client.disconnect()
        assert self.lines[-1:] == ["end"], self.lines
        for line in self.lines:
            word, _, rest = line.partition(" ")
            if word == "report":
                name, _, value = rest.partition(" ")
                self.report[name] = json.loads(value)

    def _read(self, child: subprocess.Popen[str]) -> None:
        """Read the output of the device continuously, because a full pipe would block the device."""
        assert child.stdout
        with contextlib.suppress(ValueError):  # `stop_vm` has closed the pipe
            for line in child.stdout:
                self.lines.append(line.rstrip())

    def _exchange(
        self,
        client: Any,
        child: subprocess.Popen[str],
        stop_faults_after: float,
        seconds: float,
        progress: Callable[[int], None] | None,
    ) -> None:
        start = time.monotonic()
        numbers = [0, 0, 0]
        faults_stopped = stopped = False
        while time.monotonic() - start < seconds and not (stopped and not client.session.outbox.count):
            if child.poll() is not None:
                return
            client.poll(5)
            if not faults_stopped and time.monotonic() - start > stop_faults_after:
                self._proxy.stop_faults()
                faults_stopped = True
            if sum(map(len, self.received)):  # the device publishes after it has subscribed
                for i in range(3 * _BATCH):
                    qos = i % 3
                    number = numbers[qos]
                    if number > self._highest[qos] + _AHEAD and not self._done:
                        continue  # mosquitto sends the whole backlog at once after a reconnect
                    topic = f"{self._unique}/down/{qos}"
                    if number < self._count and client.publish(topic, b"%d/%d" % (qos, number), qos=qos):
                        numbers[qos] += 1
            if self._done and min(numbers) == self._count and not stopped:
                stopped = client.publish(self._unique + "/stop", b"", qos=1) > 0
            if progress:
                progress(sum(map(len, self.received)) + sum(numbers))
