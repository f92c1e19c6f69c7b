"""The invariants of a device: reachable after faults, no lost message, config kept, level heap, no crash.

`outputs.py` checks the outputs, `controller.py` the responses, `updates.py` the versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from host_tests.chaos.configs import BASE
from host_tests.chaos.packets import Publish
from host_tests.chaos.recorder import format_time
from host_tests.chaos.world import HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from host_tests.chaos.life import Life

_REACHABLE = 10 * MINUTE  # after the last fault is healed
_NORMAL = 2 * HOUR  # after which nothing may be left of a fault
_SETTLED = 15 * MINUTE  # after a fault, before a watchdog's reset or a lost message counts
_HEAP_LOSS = 2048  # bytes of free heap that a start may lose from its first hours to its last
_MIN_REPORTS = 12  # reports of the heap, one an hour, before they are compared
_JOURNAL_FAILED = "unsent messages are lost at a restart"
_JOURNAL_WORKS = "journal: flash works again"
_EXPECTED_ERROR = "chaos:"  # of versions that fail on purpose


class Invariants:
    """The checks of one life. `config_sum` is the CRC-32 of its config.json."""

    def __init__(self, life: Life, config_sum: int) -> None:
        self.life, self.world, self.find = life, life.world, life.recorder.find
        self.disturbed_at = 0  # time of the last fault that has begun or ended
        self.healed_at = 0
        self._config_sum = config_sum
        self._waiting: dict[bytes, int] = {}  # time by accepted message that has not arrived
        self._heap: list[int] = []  # free heap after each hour of this start
        self._status = ""
        life.broker.observers.append(self._observe)
        life.broker.on_violation = lambda text: self.find(f"broker: {text}")
        life.device.handlers["r"] = self._report
        life.device.handlers["a"] = self._accepted
        self.world.after(MINUTE, self._every_minute)
        self.world.after(HOUR, self._every_hour)

    @property
    def _is_disturbed(self) -> bool:
        is_recent = self.world.now - self.disturbed_at < _SETTLED
        return bool(self.life.recorder.active_faults) or is_recent

    def _is_active(self, word: str) -> bool:
        return any(name.startswith(word) for name in self.life.recorder.active_faults.values())

    # ---- messages of the device

    def _accepted(self, data: bytes) -> None:
        if data.startswith(f"{BASE}/sensor/level".encode()):  # each of its values is sent once
            self._waiting[data] = self.world.now

    def _observe(self, publish: Publish) -> None:
        if publish.qos:
            self._waiting.pop(publish.topic.encode() + b"\0" + publish.payload, None)
        if publish.topic == f"{BASE}/status":
            self._status = publish.payload.decode(errors="replace")
            self.life.recorder.log(f"status {self._status}")

    def _report(self, data: bytes) -> None:
        free, config_sum, _ = json.loads(data)
        if isinstance(config_sum, str):
            if not self._is_active("flash"):  # the flash may fail at each access meanwhile
                self.find(f"config.json cannot be read: {config_sum}")
        elif config_sum & 0xFFFFFFFF != self._config_sum:
            self.find("config.json has changed")
        if self.world.now - self.life.device.booted_at > 30 * MINUTE:
            self._heap.append(free)

    def excuse_lost_messages(self) -> None:
        """The messages that were accepted until now may be lost, because their files are damaged."""
        self._waiting.clear()

    # ---- the end of a start

    def on_end(self, how: str) -> None:
        """Check how the program has ended."""
        self._check_heap()
        word = how.split()[0]
        output = "\n".join(self.life.device.output_of_start())
        # the device has said that its messages are lost, and did not take that back
        if word != "over" and output.rfind(_JOURNAL_FAILED) > output.rfind(_JOURNAL_WORKS):
            self.excuse_lost_messages()
        if word in ("over", "cut", "sleep"):
            return
        lines = self.life.device.last_output()
        if word == "reset":
            self._check_traceback(lines)
        elif word == "watchdog" and "hang" not in how:
            if not self._is_disturbed:
                self.find("the watchdog reset the board although there was no fault")
        elif not self._is_active("update"):
            last = next((line for line in reversed(lines) if line.strip()), "")
            self.find(f"the program ended by {how}: {last}")

    def _check_traceback(self, lines: list[str]) -> None:
        """Report the exception that has caused a reset, unless a version fails on purpose."""
        where = ""
        for line in lines:
            if line.startswith("Traceback"):
                where = "?"
            elif where and line.startswith("  File"):
                where = line.strip()
            elif where and line:
                # the world's own functions fail if the garbage collector closes a file
                if _EXPECTED_ERROR not in line and "chaos_" not in where:
                    self.find(f"crash: {line} at {where}")
                where = ""

    def _check_heap(self) -> None:
        heap, self._heap = self._heap, []
        if len(heap) < _MIN_REPORTS:
            return
        first = min(heap[: len(heap) // 4 + 1])
        last = max(heap[len(heap) // 2 :])
        if last < first - _HEAP_LOSS:
            self.find(f"the free heap shrinks from {first} to {last} bytes within {len(heap)} hours")

    # ---- at regular times

    def _every_hour(self) -> None:
        self.life.device.order("report")
        if not self._is_disturbed:
            for message, time in list(self._waiting.items()):
                if self.world.now - time > HOUR:
                    del self._waiting[message]
                    self.find(f"an accepted message was lost: {message!r}, accepted at {format_time(time)}")
        self.world.after(HOUR, self._every_hour)

    def _every_minute(self) -> None:
        life = self.life
        config = life.setup.config
        since = max(life.broker.heard_at, life.device.booted_at + 5 * SECOND)
        if life.device.is_running and config["power"]["mode"] == "on":
            for output in life.outputs.values():
                output.check_offline(self.world.now - since, config["broker"]["keep_alive"])
        if self.world.now - self.healed_at < 12 * MINUTE and not life.recorder.active_faults:
            life.controller.send_probe()
        self.world.after(MINUTE, self._every_minute)

    def check_later(self) -> None:
        """All faults are healed: check later that the device can be reached, and that all is normal."""
        self.healed_at = healed_at = self.world.now
        self.life.recorder.log("all faults are healed")
        controller = self.life.controller
        power = self.life.setup.config["power"]
        limit = _REACHABLE
        if power["mode"] != "on":
            limit += 2 * (power["period"] + power["awake"]) * SECOND

        def unless_disturbed(check: Callable[[], None]) -> Callable[[], None]:
            def run() -> None:
                if not self.life.recorder.active_faults and self.disturbed_at <= healed_at + SECOND:
                    check()

            return run

        def check_reachable() -> None:
            if controller.last_answer_at <= healed_at:
                self.find(f"not reachable {limit // MINUTE} minutes after all faults were healed")

        def check_normal() -> None:
            if self._status == "safe mode" or controller.last_good_answer_at <= healed_at:
                self.find(f"not normal {_NORMAL // HOUR} h after all faults were healed: {self._status}")

        self.world.after(limit, unless_disturbed(check_reachable))
        self.world.after(_NORMAL, unless_disturbed(check_normal))


def kind_of(text: str) -> str:
    """Return the text of a finding without its figures and the faults that were active."""
    return re.sub(r"\d+", "0", text.rpartition(" [")[0])
