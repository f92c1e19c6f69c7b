"""Estimates the heap that a config needs, and refuses a config that needs more than the board has.

The heap is fullest at two times: when the config is checked, because the modules that check it are loaded
then, and while the device runs. Both need room for what is allocated for a moment: the text of the config,
messages, the code of rare events such as an error of the network, and the gaps of a fragmented heap. This
room was measured in the 64-bit VM: the smallest heap in which a device runs with all its parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tools.board.definition import Board
from tools.errors import UserError
from tools.heap.table import READING, Figures, load_figures

_CHECK_ROOM = 26000  # bytes that must be free when the config is checked
_CHECK_ROOM_PER_ENTRY = 400  # the same for each sensor and actuator
_RUN_ROOM = 18500  # bytes that must be free while the device runs
# bytes that must be free before the journal is created, `_JOURNAL_FREE` in app/node/node.py, and a rest
_JOURNAL_ROOM = 30000
_BACKLOG_ROOM = 14  # bytes per reading of the backlog, which is one block: a fragmented heap has gaps
_DEFAULT_BACKLOG = 50  # readings that the figure of the first sensor contains
_DEFAULT_DEDUP = 8  # commands that the figure of the board contains
_TIGHT = 0.9  # a config that needs more than this part of the heap causes a warning
_LARGER = 2  # a board that reports so many times the heap of the stock MicroPython has more memory
_MIN_SAVING = 100  # bytes; smaller savings are not listed


@dataclass(frozen=True)
class Saving:
    """A part of the config that can be left out: what to do, and the bytes of heap that this saves."""

    text: str
    bytes: int


@dataclass
class Estimate:
    """Bytes of heap that a config needs, and its parts that can be left out, the largest first."""

    check: int = 0  # held when the config has been checked
    run: int = 0  # held while the device runs
    check_room: int = _CHECK_ROOM
    run_room: int = _RUN_ROOM
    savings: list[Saving] = field(default_factory=list)

    @property
    def need(self) -> int:
        """The heap with which the device runs with all its parts."""
        return max(self.check + self.check_room, self.run + self.run_room)

    def add(self, figure: list[int], count: float = 1) -> int:
        """Add a part `count` times; returns the bytes that it holds while the device runs."""
        self.check += round(figure[0] * count)
        self.run += round(figure[1] * count)
        return round(figure[1] * count)

    def offer(self, saved: int, text: str) -> None:
        """Add a part that can be left out."""
        if saved >= _MIN_SAVING:
            self.savings.append(Saving(text, saved))


@cache
def _figures() -> Figures:
    return load_figures()


def estimate(config: Mapping[str, Any], board: Board) -> Estimate:
    """Estimate the heap for a checked config, which has all defaults. The board must have `memory`."""
    assert board.memory
    figures = _figures()
    found = Estimate()
    found.add(figures["boards"].get(board.key) or max(figures["boards"].values()))
    _add_sensors(found, config, figures)
    _add_actuators(found, config, figures)
    _add_options(found, config, figures["option"])
    _add_broker(found, config, board.memory.tls, figures["option"])
    entries = len(config["sensors"]) + len(config["actuators"])
    found.check_room += _CHECK_ROOM_PER_ENTRY * entries
    found.savings.sort(key=lambda saving: -saving.bytes)
    return found


def _add_sensors(found: Estimate, config: Mapping[str, Any], figures: Figures) -> None:
    kinds = Counter(sensor["kind"] for sensor in config["sensors"])
    if kinds:
        found.add(figures["sensor"]["first"])
    for kind, count in kinds.items():
        name = "dht22" if kind == "dht11" else kind if kind in figures["each_sensor"] else READING
        module = found.add(figures["sensor_module"][name])
        each = found.add(figures["each_sensor"][name], count)
        _offer_entries(found, "sensor", kind, count, module, each)


def _add_actuators(found: Estimate, config: Mapping[str, Any], figures: Figures) -> None:
    kinds = Counter(actuator["kind"] for actuator in config["actuators"])
    if kinds:
        found.add(figures["actuator"]["first"])
    for kind, count in kinds.items():
        module = found.add(figures["actuator_module"][kind])
        each = found.add(figures["each_actuator"][kind], count)
        _offer_entries(found, "actuator", kind, count, module, each)


def _offer_entries(found: Estimate, what: str, kind: str, count: int, module: int, each: int) -> None:
    if count == 1:
        found.offer(module + each, f"the {what} of kind {kind}")
    else:
        found.offer(module + each, f"the {count} {what}s of kind {kind}, {each // count:,} each")


def _add_options(found: Estimate, config: Mapping[str, Any], options: dict[str, list[int]]) -> None:
    entities = len(config["sensors"]) + len(config["actuators"])
    if config["journal"]:
        found.offer(found.add(options["journal"]), "journal")
        found.check_room = max(found.check_room, _JOURNAL_ROOM)
    for name in ("discovery", "tasmota"):
        if config[name]:
            saved = found.add(options[name]) + found.add(options[f"{name}_entity"], entities)
            found.offer(saved, name)
    if config["update"]:
        found.offer(found.add(options["update"]), "update")
    if config["sensors"]:
        _add_backlog(found, config["backlog"], options)
    more = config["dedup_commands"] - _DEFAULT_DEDUP
    found.offer(found.add(options["dedup_command"], more), f"dedup_commands: {_DEFAULT_DEDUP}, the default")
    if config["dedup_on_flash"]:
        found.offer(found.add(options["dedup_on_flash"]), "dedup_on_flash")
    if config["power"]["mode"] != "on":
        found.offer(found.add(options[f"{config['power']['mode']}_sleep"]), 'power.mode: "on"')


def _add_broker(found: Estimate, config: Mapping[str, Any], tls: int, options: dict[str, list[int]]) -> None:
    broker = config["broker"]
    if broker["tls"]:
        certificate = "client_certificate" if broker["tls"]["cert"] else "tls"
        found.offer(found.add(options[certificate]) + tls, "broker.tls, only in a network that you trust")
        found.run_room += tls
    if not broker["host"].replace(".", "").isdigit() and ":" not in broker["host"]:
        found.offer(found.add(options["host_name"]), "the name in broker.host: write an address")


def _add_backlog(found: Estimate, backlog: Mapping[str, Any], options: dict[str, list[int]]) -> None:
    keep = backlog["keep"]
    size = found.add(options["backlog_reading"], keep - _DEFAULT_BACKLOG)
    found.run_room += _BACKLOG_ROOM * max(0, keep - _DEFAULT_BACKLOG)
    found.offer(size, f"backlog.keep: {_DEFAULT_BACKLOG} instead of {keep}")
    if backlog["on_flash"] and keep:
        found.offer(found.add(options["backlog_on_flash"]), "backlog.on_flash")


def choose_heap(board: Board, reported: int | None) -> int | None:
    """Return the heap that a board has reported if it has more memory than others of its kind, such as PSRAM.

    Otherwise returns None: an ESP32 reports its heap before Wi-Fi takes a part of its memory.
    """
    is_larger = reported and board.memory and reported >= _LARGER * board.memory.heap
    return reported if is_larger else None


def check_heap(config: Mapping[str, Any], board: Board, heap: int | None = None) -> str | None:
    """Return a warning if a checked config needs nearly all of the board's heap, otherwise None.

    `heap` is the heap in bytes, if the board has another MicroPython than the stock one. Raises UserError if
    the config needs more.
    """
    if not board.memory:
        return None
    available = heap or board.memory.heap
    found = estimate(config, board)
    if found.need <= available * _TIGHT:
        return None
    numbers = f"needs about {found.need:,} bytes of memory, and {board.name} has {available:,}"
    savings = "; ".join(f"{saving.text}: {saving.bytes:,} bytes" for saving in found.savings) or "nothing"
    if found.need <= available:
        return f"{numbers}. It is nearly full; leaving out saves: {savings}"
    missing = found.need - available
    raise UserError(
        f"config.json: {numbers}. Leave out at least {missing:,} bytes, the largest first: {savings}. "
        "If your MicroPython has more memory, for example PSRAM, give it with --heap, in bytes"
    )
