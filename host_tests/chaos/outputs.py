"""Outputs of the device: each level that a pin drives is checked against the limits in the config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from host_tests.chaos.world import SECOND, World

_TOLERANCE = 2500  # ms; a round of the device takes up to a second
_OVERLAP = 1000  # ms that two interlocked outputs may seem to be on, because of a fade
_RESTART = 20 * SECOND  # from a crash to the first instruction that drives the pin
_REACTION = 45 * SECOND  # after safe_after and the keep-alive


class Output:
    """An output pin with its actuator.

    `allowance` returns the ms by which a fault may delay the device at present, for example a radio that
    hangs.
    """

    def __init__(
        self,
        world: World,
        config: dict[str, Any],
        on_finding: Callable[[str], None],
        allowance: Callable[[], int],
    ) -> None:
        self.world = world
        self.config = config
        self.name = config["name"]
        self.kind = config["kind"]
        self.safe = config.get("safe", "OFF" if self.kind == "valve" else "HOLD")
        self.others: list[Output] = []  # interlocked outputs
        self.is_driven = False  # since the last start
        self.on = False
        self.changes = 0
        self.boots = 0
        self._on_finding = on_finding
        self._allowance = allowance
        self._on_since: int | None = None
        self._off_since: int | None = None
        self._kept_since: int | None = None  # time of the last reset that did not change the pin
        limit = config.get("max_on", 3600 if self.kind == "valve" else 0)
        self._max_on = int(limit * 1000)
        self._min_off = int(config.get("min_off", 0) * 1000)
        self._fade = int(config.get("fade", 0.3) * 1000) if self.kind == "light" else 0

    def release(self, boots: int) -> None:
        """The chip has been reset for the start number `boots`: the pin is an input, so the load is off."""
        self.boots = boots
        self.is_driven = False
        self._kept_since = None
        self.on = False
        self._on_since = self._off_since = None

    def keep(self, boots: int) -> None:
        """The chip has been reset, but the pin keeps its level."""
        self.boots = boots
        self.is_driven = False
        self._kept_since = self.world.now

    def drive(self, level: int) -> None:
        """The pin has become an output with this level, or has changed its level."""
        on = bool(level) != bool(self.config.get("inverted"))
        is_first = not self.is_driven
        self.is_driven = True
        if is_first and on and self.safe == "OFF":
            self._on_finding(f"{self.name}: on at the first drive, but its safe state is OFF")
        is_held = self._kept_since is not None and self.on and not self._max_on
        if is_first and on and self.safe == "HOLD" and self.kind != "servo" and not is_held:
            self._on_finding(f"{self.name}: on at the first drive after a start")
        if on == self.on:
            return
        self.on = on
        self.changes += 1
        now = self.world.now
        if on:
            self._check_switched_on(now)
        else:
            self._on_since = None
            self._off_since = now

    def _check_switched_on(self, now: int) -> None:
        self._on_since = now
        if self._off_since is not None and self.safe != "ON":
            off = now - self._off_since + self._fade
            if off < self._min_off - 50:
                self._on_finding(f"{self.name}: on again after {off} ms, min_off is {self._min_off} ms")
        if self._max_on:
            self.world.after(self._max_on + _TOLERANCE + self._fade, lambda: self._check_max_on(now))
        for other in self.others:
            if other.on:
                self.world.after(_OVERLAP, lambda other=other: self._check_interlock(other, now))  # type: ignore[misc]

    def _check_max_on(self, since: int) -> None:
        if self._on_since != since or self.safe == "ON":
            return
        late = self._allowance()
        if self._kept_since is not None and self._kept_since > since:
            late += _RESTART
        if late and self.world.now - since < self._max_on + _TOLERANCE + self._fade + late:
            self.world.after(late, lambda: self._check_max_on(since))
            return
        self._on_finding(f"{self.name}: on for more than {self._max_on} ms (max_on)")

    def _check_interlock(self, other: Output, since: int) -> None:
        if self._on_since == since and other.on:
            self._on_finding(f"{self.name} and {other.name} are both on (interlock)")

    def check_offline(self, offline_ms: int, keep_alive: int) -> None:
        """Check the safe state of a device that has not been heard for `offline_ms`."""
        due = self.config["safe_after"] * 1000 + keep_alive * 1500 + _REACTION + self._allowance()
        if offline_ms < due or not self.is_driven or self.kind == "servo":
            return
        if self.safe == "OFF" and self.on:
            self._on_finding(f"{self.name}: still on after {offline_ms // 1000} s offline, safe state OFF")
        if self.safe == "ON" and not self.on:
            self._on_finding(f"{self.name}: still off after {offline_ms // 1000} s offline, safe state ON")
