"""A device in the MicroPython VM that is killed and restarted, and a client that counts its messages."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.broker import Mosquitto
from tools.bundle import image
from tools.vm import process
from umqtt5 import Client

_PROGRAM = Path(__file__).with_name("device_program.py")
_MAX_UNHANDLED = 10  # maximum number of messages sent to the device that it has not handled
_NUMBERS_PER_BOOT = 100_000  # range of message numbers of each boot
_INFLIGHT = 8  # maximum number of unacknowledged messages of the device
_DEADLINE = 60  # seconds after which a device that makes no progress fails the test


class RestartedDevice:
    """The device `name` over all its boots; `folder` is its flash.

    `delivered` has the message numbers received from it by QoS, in order; `sent` is the number of messages
    sent to it. The other attributes are what the device prints (see `device_program`): `accepted` has message
    numbers by QoS, `handled` (boot, number), `acknowledged` the value of `broker_starts` by message number.
    """

    def __init__(self, broker: Mosquitto, folder: Path, name: str, seed: int) -> None:
        self.broker = broker
        self.folder = folder
        self.name = name
        self.random = random.Random(seed)
        self.boot = 0  # number of the boot
        self.delivered: dict[int, list[int]] = {0: [], 1: [], 2: []}
        self.sent = 0
        self.accepted: dict[int, list[int]] = {1: [], 2: []}
        self.handled: list[tuple[int, int]] = []
        self.in_journal: set[int] = set()
        self.released: set[int] = set()
        # mosquitto may repeat a message after PUBREL: docs/decisions/0009-released-identifiers.md
        self.handled_after_release: set[int] = set()
        self.numbers: dict[int, int] = {}  # the last message that was handled with each packet identifier
        # handled again although the journal had recorded them and the broker had not released them
        self.handled_after_journaled: list[int] = []
        self.uncertain: set[int] = set()
        self.acknowledged: dict[int, int] = {}
        # incremented by the test when a broker that was restarted has the subscription of `client` again
        self.broker_starts = 0
        self.opened: list[tuple[int, int, int]] = []  # (restored, torn, damaged) of each boot
        self.connects = 0
        self.lost_links = 0
        self.lines = 0  # number of lines that the device has printed
        self.unexpected_lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._rest = ""
        self.client = self._connect_client()

    def _connect_client(self) -> Any:
        client = Client(
            "127.0.0.1",
            self.broker.address.port,
            client_id=self.name + "-observer",
            outbox=8192,
            inflight=64,
            session_expiry=3600,
            timeout=5000,
        )
        client.max_reconnect_delay = 50
        subscription = client.subscribe(self.name + "/up/+", self._on_message, qos=2)
        client.connect()
        while subscription.reason is None:
            client.poll(10)
        return client

    def _on_message(self, message: Any) -> None:
        self.delivered[int(message.topic[-1])].append(int(message.payload))

    # ---- the device

    def start(self, every: int = 1, publishes: bool = True) -> None:
        """Boot the device. Its journal syncs after each `every` records."""
        self.boot += 1
        settings = {
            "port": self.broker.address.port,
            "name": self.name,
            "first": self.boot * _NUMBERS_PER_BOOT,
            "every": every,
            "publishes": publishes,
        }
        path = [image.build_device_program("host", _PROGRAM), image.build_image("host")]
        self._process = process.start_vm(
            ["-m", "device_program", json.dumps(settings)], module_path=path, cwd=self.folder, heap="192k"
        )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = ""

    def kill(self) -> None:
        assert self._process and self._process.stdout
        self._process.kill()
        self._process.wait()
        os.set_blocking(self._process.stdout.fileno(), True)
        self._read_output()
        self._process.stdout.close()
        self._process = None

    def close(self) -> None:
        if self._process:
            self.kill()
        with contextlib.suppress(OSError):
            self.client.disconnect()

    def run(self, seconds: float, commands: bool = True) -> None:
        """Let the device run for this time, and send messages to it."""
        end = time.monotonic() + seconds
        self._run_while(lambda: time.monotonic() < end, commands)

    def run_lines(self, number: int) -> None:
        """Let the device run until it has printed this number of lines, and send messages to it."""
        end = self.lines + number
        self.run_until(lambda: self.lines >= end)

    def run_until(self, condition: Callable[[], bool], commands: bool = True) -> None:
        """Let the device run until the condition is true. Raises AssertionError if it stays false."""
        deadline = time.monotonic() + _DEADLINE
        self._run_while(lambda: not condition() and time.monotonic() < deadline, commands)
        assert condition(), (self.boot, self.lines, self.unexpected_lines[-20:])

    def run_until_subscribed(self) -> None:
        """Let the device run until a restarted broker has the subscription of `client` again.

        Then all messages that it acknowledged before are in `acknowledged`.
        """
        self.delivered[0].clear()

        def is_subscribed() -> bool:
            self.client.publish(self.name + "/up/0", b"0")
            return bool(self.delivered[0])

        self.run_until(is_subscribed)
        end = len(self.acknowledged) + 2 * _INFLIGHT
        self.run_until(lambda: len(self.acknowledged) >= end)

    def _run_while(self, condition: Callable[[], bool], commands: bool) -> None:
        while condition():
            self.client.poll(1)
            self._read_output()
            # send nothing before the first message of the device, because it may not have subscribed yet
            may_send = commands and (self.delivered[1] or self.delivered[2])
            if may_send and self.sent < len({number for _, number in self.handled}) + _MAX_UNHANDLED:
                if self.client.publish(self.name + "/down", b"%d" % self.sent, qos=2):
                    self.sent += 1

    def _read_output(self) -> None:
        """Read the complete lines that the device has printed; an incomplete line is kept for later."""
        assert self._process and self._process.stdout
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._process.stdout.fileno(), 65536):
                lines = (self._rest + data.decode()).split("\n")
                self._rest = lines.pop()
                for line in lines:
                    self._handle_line(line)

    def _handle_message(self, number: int, packet_id: int) -> None:
        self.numbers[packet_id] = number
        if number in self.released:
            self.handled_after_release.add(number)
        elif number in self.in_journal:
            self.handled_after_journaled.append(number)
        self.handled.append((self.boot, number))

    def _handle_line(self, line: str) -> None:
        word, *rest = line.split(" ")
        self.lines += 1
        if word == "accepted":
            self.accepted[int(rest[0])].append(int(rest[1]))
        elif word == "handled":
            self._handle_message(*map(int, rest))
        elif word == "in_journal":
            self.in_journal.add(int(rest[0]))
        elif word == "stored":  # a device that was killed may not have printed that a message was released
            self.released.update(n for i, n in self.numbers.items() if i not in set(map(int, rest)))
        elif word == "released":
            self.released.add(int(rest[0]))
        elif word == "uncertain":
            self.uncertain.add(int(rest[0]))
        elif word == "acknowledged":
            self.acknowledged[int(rest[0])] = self.broker_starts
        elif word == "open":
            restored, torn, damaged = map(int, rest)
            self.opened.append((restored, torn, damaged))
        elif word == "up":
            self.connects += 1
        elif word == "down":
            self.lost_links += 1
        else:
            self.unexpected_lines.append(line)

    def run_to_completion(self, is_complete: Callable[[], bool]) -> None:
        """Boot a last time, and run until the device is connected and the condition is true."""
        connects = self.connects
        self.start(publishes=False)
        self.run_until(lambda: self.connects > connects and is_complete(), commands=False)
        self.run(0.3, commands=False)  # duplicates arrive in this time
        self.close()

    # ---- results

    def missing(self) -> list[object]:
        """Return the messages that were accepted and not delivered, or sent and not handled."""
        handled = {number for _, number in self.handled}
        up: list[object] = [(qos, number) for qos in (1, 2) for number in sorted(self.lost(qos))]
        return up + [("down", number) for number in range(self.sent) if number not in handled]

    def lost(self, qos: int) -> set[int]:
        """Return the messages that were accepted and not delivered."""
        return set(self.accepted[qos]) - set(self.delivered[qos])

    def duplicates(self, qos: int) -> set[int]:
        """Return the messages that were delivered more than once."""
        return {number for number, times in Counter(self.delivered[qos]).items() if times > 1}

    def out_of_order(self, qos: int) -> list[tuple[int, int]]:
        """Return pairs of successive first deliveries whose second message was published before the first."""
        first = list(dict.fromkeys(self.delivered[qos]))
        return [(a, b) for a, b in zip(first, first[1:]) if a > b]

    def repeated_per_boot(self) -> list[int]:
        """Return, for each boot, how many of its handled messages were handled again in a later boot.

        Messages that the broker has repeated after PUBREL do not count. Raises AssertionError if a message
        was handled twice in one boot.
        """
        assert len(set(self.handled)) == len(self.handled), "handled twice in one boot"
        last = dict(sorted((number, boot) for boot, number in sorted(self.handled)))
        counts = Counter(
            boot
            for boot, number in self.handled
            if last[number] > boot and number not in self.handled_after_release
        )
        return sorted(counts.values())

    def executed(self) -> list[int]:
        """Return the numbers of the commands that the device has executed."""
        path = self.folder / "executed"
        return [int(line) for line in path.read_text().split()] if path.exists() else []
