"""The faults that the world knows, and random schedules of them.

A fault is a function that begins it and returns the function that heals it. Each fault has its own random
numbers, so that a run without some of the other faults repeats it exactly.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tests.chaos.updates import BAD, REFUSED
from host_tests.chaos.world import DAY, HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from host_tests.chaos.life import Life

Heal = Callable[[], None]
_FAULTS: dict[str, Callable[[Life, random.Random], Heal]] = {}
_STATE_FILES = (
    "start_count", "starts", "crash.txt", "slot", "slot.new", "dedup", "backlog", "journal.0", "journal.1",
    "session", "discovery.sent", "discovery.new", "discovery.tmp", "pulse-water", "pulse-water.new",
    "a/version", "b/version", "a/manifest", "b/manifest", "last_time", "clock", "update_counter",
)  # fmt: skip


def _fault(name: str) -> Callable[[Callable[[Life, random.Random], Heal]], object]:
    def add(function: Callable[[Life, random.Random], Heal]) -> object:
        _FAULTS[name] = function
        return function

    return add


def _nothing() -> None:
    pass


def _setting(
    name: str, owner: str, attribute: str, bad: Callable[[random.Random], object], good: object
) -> None:
    """Add a fault that sets an attribute of the network or the broker, and resets it."""

    def begin(life: Life, rng: random.Random) -> Heal:
        target = getattr(life, owner)
        setattr(target, attribute, bad(rng))
        return lambda: setattr(target, attribute, good)

    _FAULTS[name] = begin


_setting("DNS silent", "network", "dns", lambda rng: "silent", "ok")
_setting("DNS fails", "network", "dns", lambda rng: "servfail", "ok")
_setting("NTP silent", "network", "ntp", lambda rng: "silent", "ok")
_setting("NTP lies", "network", "ntp", lambda rng: "lying", "ok")
_setting("link slow", "network", "slow_ms", lambda rng: rng.choice((500, 2000, 9000)), 0)
_setting("link narrow", "network", "window", lambda rng: rng.choice((1, 7, 40)), 4096)
_setting("radio hangs", "network", "radio_hang_ms", lambda rng: rng.choice((1000, 6000, 12000)), 0)
_setting(
    "connect raises",
    "network",
    "connect_error",
    lambda rng: rng.choice(("Wifi Internal Error", "EPERM")),
    None,
)
_setting("login refused", "broker", "refusal", lambda rng: rng.choice((0x86, 0x87)), 0)
_setting("broker busy", "broker", "refusal", lambda rng: rng.choice((0x89, 0x88, 0x97, 0x9F)), 0)


@_fault("Wi-Fi away")
def _wifi_away(life: Life, rng: random.Random) -> Heal:
    life.network.set_access_point(False)
    return lambda: life.network.set_access_point(True)


def _no_join(life: Life, attribute: str, bad: object, good: object) -> Heal:
    """The station loses the network, and cannot join it again."""
    setattr(life.network, attribute, bad)
    life.network.set_access_point(False)
    life.network.set_access_point(True)

    def heal() -> None:
        setattr(life.network, attribute, good)
        life.network.update_wifi()

    return heal


@_fault("Wi-Fi status wrong")
def _wrong_status(life: Life, rng: random.Random) -> Heal:
    return _no_join(life, "wrong_status", rng.choice((-1, -2, 2, 204, 5, 1001, 255)), None)


@_fault("no DHCP")
def _no_dhcp(life: Life, rng: random.Random) -> Heal:
    return _no_join(life, "has_dhcp", False, True)


@_fault("Wi-Fi password wrong")
def _wrong_password(life: Life, rng: random.Random) -> Heal:
    return _no_join(life, "password_is_wrong", True, False)


@_fault("broker down")
def _broker_down(life: Life, rng: random.Random) -> Heal:
    life.broker.stop(rng.random() < 0.5, rng.random() < 0.4)

    def heal() -> None:
        life.broker.is_up = True

    return heal


@_fault("broker restarts")
def _broker_restarts(life: Life, rng: random.Random) -> Heal:
    keep = rng.random() < 0.5
    for i in range(rng.choice((1, 1, 3))):

        def restart() -> None:
            life.broker.stop(keep, False)
            life.broker.is_up = True

        life.world.after(i * 40 * SECOND, restart)
    return _nothing


@_fault("broker closes links")
def _broker_closes(life: Life, rng: random.Random) -> Heal:
    is_active = True
    interval = rng.choice((300, 2000, 20000))

    def close() -> None:
        if is_active:
            life.broker.close_all()
            life.world.after(interval, close)

    close()

    def heal() -> None:
        nonlocal is_active
        is_active = False

    return heal


@_fault("half-open link")
def _half_open(life: Life, rng: random.Random) -> Heal:
    for link in list(life.network.links.values()):
        link.cut_off()
    return _nothing


@_fault("broker unreachable")
def _unreachable(life: Life, rng: random.Random) -> Heal:
    life.network.is_unreachable = True

    def heal() -> None:
        life.network.is_unreachable = False
        for link in list(life.network.links.values()):
            link.resume()

    return heal


@_fault("garbage")
def _garbage(life: Life, rng: random.Random) -> Heal:
    is_active = True

    def send() -> None:
        if not is_active:
            return
        for link in list(life.network.links.values()):
            if link.connection and link.connection.is_open:
                link.connection.has_sent_garbage = True
                link.send_to_device(bytes(rng.randrange(256) for _ in range(rng.choice((1, 5, 60, 700)))))
        life.world.after(rng.choice((1000, 20000)), send)

    send()

    def heal() -> None:
        nonlocal is_active
        is_active = False

    return heal


@_fault("power cut")
def _power_cut(life: Life, rng: random.Random) -> Heal:
    life.device.cut_power(int(2 ** rng.uniform(6, 19)))
    return _nothing


@_fault("power cuts in a row")
def _power_cuts(life: Life, rng: random.Random) -> Heal:
    at = 0
    for _ in range(rng.randint(3, 9)):
        life.world.after(at, lambda: life.device.cut_power(500))
        at += int(2 ** rng.uniform(9, 16))
    return _nothing


@_fault("brown-out loop")
def _brown_out(life: Life, rng: random.Random) -> Heal:
    """The power fails after some steps of each start."""
    life.device.cut_power(500)
    left = [rng.randint(3, 12)]

    def next_start() -> int | None:
        left[0] -= 1
        return rng.choice((rng.randint(2, 60), rng.randint(2, 400))) if left[0] >= 0 else None

    def heal() -> None:
        left[0] = 0
        life.device.cut_after = None

    life.next_cut = next_start
    return heal


@_fault("power cut during a write")
def _cut_at_write(life: Life, rng: random.Random) -> Heal:
    life.device.cut_after_writes = int(2 ** rng.uniform(0, 9))
    return lambda: setattr(life.device, "cut_after_writes", None)


@_fault("flash full")
def _flash_full(life: Life, rng: random.Random) -> Heal:
    life.device.order("fill")
    life.device.notify()

    def heal() -> None:
        life.remove_file("chaos.fill")

    return heal


@_fault("flash read-only")
def _read_only(life: Life, rng: random.Random) -> Heal:
    life.device.flash_error = 30
    return lambda: setattr(life.device, "flash_error", 0)


@_fault("flash fails")
def _flash_fails(life: Life, rng: random.Random) -> Heal:
    life.device.flash_error = 5
    return lambda: setattr(life.device, "flash_error", 0)


@_fault("files damaged")
def _damaged(life: Life, rng: random.Random) -> Heal:
    """Files other than the config and the code are damaged while the power is off."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        how = rng.choice(("garbage", "ff", "empty", "truncated", "folder", "remove"))
        path = rng.choice(_STATE_FILES)
        life.device.commands.append(["damage", path, how])
        life.recorder.log(f"{path} is damaged: {how}")
        if path.startswith("journal."):
            life.invariants.excuse_lost_messages()
    life.device.cut_power(1000)
    return _nothing


@_fault("sensors fail")
def _sensors(life: Life, rng: random.Random) -> Heal:
    life.sensors_fail = rng.choice(("missing", "garbage"))
    return lambda: setattr(life, "sensors_fail", "")


@_fault("inputs bounce")
def _bounce(life: Life, rng: random.Random) -> Heal:
    at = 0
    for _ in range(rng.choice((20, 200))):
        at += int(2 ** rng.uniform(0, 12))
        life.world.after(at, lambda: life.toggle_input(rng.choice((life.board.digital, life.board.pulse))))
    return _nothing


@_fault("update fails")
def _bad_update(life: Life, rng: random.Random) -> Heal:
    life.updates.offer(rng.choice(BAD))
    return _nothing


@_fault("update must be refused")
def _refused_update(life: Life, rng: random.Random) -> Heal:
    life.updates.offer(rng.choice(REFUSED))
    return _nothing


@_fault("update")
def _good_update(life: Life, rng: random.Random) -> Heal:
    life.updates.offer("good")
    return _nothing


@_fault("sleepy week")
def _nothing_happens(life: Life, rng: random.Random) -> Heal:
    return _nothing


NAMES = [name for name in _FAULTS if name != "sleepy week"]
# faults that must not keep the device from answering
HARMLESS = {
    "DNS silent", "DNS fails", "NTP silent", "NTP lies", "flash full", "flash read-only", "flash fails",
    "sensors fail", "inputs bounce", "update must be refused",
}  # fmt: skip
# ms until faults are over that have their own duration
DURATIONS = {
    "broker restarts": 2 * MINUTE,
    "half-open link": 4 * MINUTE,  # until the keep-alive finds it
    "power cut": 9 * MINUTE,
    "power cuts in a row": 10 * MINUTE,
    "brown-out loop": 2 * MINUTE,
    "power cut during a write": 30 * MINUTE,
    "inputs bounce": 7 * MINUTE,
    "update fails": 50 * MINUTE,
    "update must be refused": 5 * MINUTE,
    "update": 6 * MINUTE,
}


@dataclass(frozen=True)
class Fault:
    """A fault in a schedule, with its times in ms since the start of the world."""

    number: int
    name: str
    begins: int
    ends: int
    seed: int

    def begin(self, life: Life) -> Heal:
        return _FAULTS[self.name](life, random.Random(self.seed))


@dataclass(frozen=True)
class Episode:
    """Faults that overlap; after `healed_at` the network, the power and the flash work."""

    faults: tuple[Fault, ...]
    healed_at: int
    ends: int


def make_schedule(rng: random.Random, length: int, is_quiet: bool) -> list[Episode]:
    """Return random episodes for a time of `length` ms; `is_quiet`: with days between them."""
    episodes: list[Episode] = []
    now = rng.randint(5, 30) * MINUTE
    number = 0
    while True:
        faults = []
        begins = now
        for _ in range(rng.choices((1, 2, 3, 5), (5, 4, 2, 1))[0]):
            name = rng.choice(NAMES)
            lasts = DURATIONS.get(name, int(1000 * 2 ** rng.uniform(2, 13)))
            faults.append(Fault(number, name, begins, begins + lasts, rng.getrandbits(40)))
            number += 1
            begins += int(1000 * 2 ** rng.uniform(0, 9))
        healed_at = max(fault.ends for fault in faults)
        pause = rng.uniform(0.5, 4) * DAY if is_quiet else rng.choice((15, 30, 60, 180)) * MINUTE
        ends = healed_at + 11 * MINUTE + int(pause)
        if ends > length - 5 * MINUTE:
            return episodes
        episodes.append(Episode(tuple(faults), healed_at, ends))
        now = ends
    raise AssertionError(HOUR)
