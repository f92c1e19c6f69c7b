"""A device in the real VM that is killed and started again, and somebody on the desktop who counts."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tools.broker import Mosquitto
from tools.bundle import image
from tools.vm import process
from umqtt5 import Client

_PROGRAM = Path(__file__).with_name("device_program.py")
_AHEAD = 10  # messages to the device that may be under way
_A_LIFE = 100_000  # numbers of messages


class RestartedDevice:
    """The device `name` over all its starts; `folder` is its flash.

    `delivered` has the message numbers received from it by QoS, in order; `sent` is the number of messages
    sent to it. The device reports (see `device_program`) `accepted`, `handled` as (life, number),
    `in_journal`, `uncertain`, and `ended` as time by number.
    """

    def __init__(self, broker: Mosquitto, folder: Path, name: str, seed: int) -> None:
        self.broker = broker
        self.folder = folder
        self.name = name
        self.random = random.Random(seed)
        self.number = 0
        self.delivered: dict[int, list[int]] = {1: [], 2: []}
        self.sent = 0
        self.accepted: dict[int, list[int]] = {1: [], 2: []}
        self.handled: list[tuple[int, int]] = []
        self.in_journal: set[int] = set()
        self.handled_after_journaled: list[int] = []  # handled again after that
        self.uncertain: set[int] = set()
        self.ended: dict[int, float] = {}
        self.opened: list[tuple[int, int, int]] = []  # restored, torn, damaged
        self.connects = 0
        self.unexpected_lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._rest = ""
        self.client = self._desk()

    def _desk(self) -> Any:
        desk = Client(
            "127.0.0.1",
            self.broker.address.port,
            client_id=self.name + "-desk",
            outbox=8192,
            inflight=64,
            session_expiry=3600,
            timeout=5000,
        )
        desk.max_reconnect_delay = 50
        asked = desk.subscribe(self.name + "/up/+", self._came, qos=2)
        desk.connect()
        while asked.reason is None:
            desk.poll(10)
        return desk

    def _came(self, message: Any) -> None:
        self.delivered[int(message.topic[-1])].append(int(message.payload))

    # ---- the device

    def start(self, every: int = 1, publishes: bool = True) -> None:
        self.number += 1
        settings = {
            "port": self.broker.address.port,
            "name": self.name,
            "first": self.number * _A_LIFE,
            "every": every,
            "publishes": publishes,
        }
        path = [image.build_device_program("host", _PROGRAM), image.build_image("host")]
        self._process = process.start_vm(
            ["-m", "device_program", json.dumps(settings)], module_path=path, cwd=self.folder
        )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = ""

    def kill(self) -> None:
        assert self._process and self._process.stdout
        self._process.kill()
        self._process.wait()
        os.set_blocking(self._process.stdout.fileno(), True)
        self._listen()
        self._process.stdout.close()
        self._process = None

    def close(self) -> None:
        if self._process:
            self.kill()
        with contextlib.suppress(OSError):
            self.client.disconnect()

    def run(self, seconds: float, commands: bool = True) -> None:
        """Let it live for so long, and send it messages."""
        ends = time.monotonic() + seconds
        while True:
            left = ends - time.monotonic()
            self.client.poll(max(0, min(5, int(left * 1000))))
            self._listen()
            if left <= 0:
                return
            # before something has come from it, nobody has subscribed
            heard = commands and any(self.delivered.values())
            if heard and self.sent < len({number for _, number in self.handled}) + _AHEAD:
                if self.client.publish(self.name + "/down", b"%d" % self.sent, qos=2):
                    self.sent += 1

    def _listen(self) -> None:
        """Take what the device has said; a line that was cut off was not said."""
        assert self._process and self._process.stdout
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._process.stdout.fileno(), 65536):
                lines = (self._rest + data.decode()).split("\n")
                self._rest = lines.pop()
                for line in lines:
                    self._said(line)

    def _said(self, line: str) -> None:
        word, *rest = line.split(" ")
        if word == "accepted":
            self.accepted[int(rest[0])].append(int(rest[1]))
        elif word == "handled":
            self.handled.append((self.number, int(rest[0])))
            if int(rest[0]) in self.in_journal:
                self.handled_after_journaled.append(int(rest[0]))
        elif word == "in_journal":
            self.in_journal.add(int(rest[0]))
        elif word == "uncertain":
            self.uncertain.add(int(rest[0]))
        elif word == "ended":
            if rest[0] != "?":
                self.ended[int(rest[0])] = time.monotonic()
        elif word == "open":
            restored, torn, damaged = map(int, rest)
            self.opened.append((restored, torn, damaged))
        elif word == "up":
            self.connects += 1
        elif word != "down":
            self.unexpected_lines.append(line)

    def run_to_completion(self, excused: int = 0, seconds: float = 30) -> None:
        """A last life in which all comes to its end; so many messages may never come."""
        self.start(publishes=False)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and len(self.missing()) > excused:
            self.run(0.05, commands=False)
        self.run(0.3, commands=False)  # what comes twice comes now
        self.close()

    # ---- the judge

    def missing(self) -> list[object]:
        """What was accepted and has not come, what was sent and not handled."""
        handled = {number for _, number in self.handled}
        up: list[object] = [(qos, one) for qos in (1, 2) for one in sorted(self.lost(qos))]
        return up + [("down", number) for number in range(self.sent) if number not in handled]

    def lost(self, qos: int) -> set[int]:
        return set(self.accepted[qos]) - set(self.delivered[qos])

    def doubled(self, qos: int) -> set[int]:
        return {number for number, times in Counter(self.delivered[qos]).items() if times > 1}

    def out_of_order(self, qos: int) -> list[tuple[int, int]]:
        """Neighbours among the first arrivals of which the second was published before the first."""
        first = list(dict.fromkeys(self.delivered[qos]))
        return [(a, b) for a, b in zip(first, first[1:]) if a > b]

    def repeated_per_life(self) -> list[int]:
        """How many messages of each life were handled in a later one once more; none twice in one life."""
        assert len(set(self.handled)) == len(self.handled), "twice in one life"
        last = dict(sorted((number, life) for life, number in sorted(self.handled)))
        counts = Counter(life for life, number in self.handled if last[number] > life)
        return sorted(counts.values())

    def executed(self) -> list[int]:
        """What the application has carried out."""
        path = self.folder / "executed"
        return [int(line) for line in path.read_text().split()] if path.exists() else []
