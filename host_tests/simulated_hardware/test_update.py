"""Over-the-air updates of a simulated ESP32 with its own flash, in the real VM, with a broker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from host_tests.device.observer import PREFIX, Observer, observe
from host_tests.simulated_hardware import RESET, SimulatedChip
from tools import broker
from tools.bundle import image
from tools.update import Update, UpdateSender, build_update
from tools.update_offer import Offer, sign_offer

KEY = "0f" * 32
BASE = f"{PREFIX}/dut"


@contextmanager
def device(folder: Path, address: broker.Address) -> Iterator[SimulatedChip]:
    """Run a board that has the application in its own flash."""
    if not folder.exists():
        shutil.copytree(image.build_image("esp32"), folder)
    settings = {
        "device": "dut",
        "prefix": PREFIX,
        "broker": {"host": address.host, "port": address.port},
        "wifi": {"ssid": "home"},
        "sensors": [{"kind": "chip_temperature"}],
        "actuators": [{"name": "lamp", "pin": "lamp"}],
        "health": 0.5,
        "ntp": [],
        "watchdog": False,
        "update": {"key": KEY, "confirm": 1},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    with SimulatedChip(folder) as running:
        yield running


@pytest.fixture
def observer(mosquitto: broker.Address) -> Iterator[Observer]:
    with observe(mosquitto) as started:
        yield started


def build_changed_update(folder: Path, version: int, old: str, new: str) -> Update:
    """Build an update in which one module differs, which every device runs."""
    shutil.rmtree(folder, ignore_errors=True)
    files = image.collect_sources("esp32")
    assert files["app/node.py"].count(old) == 1
    image.compile_image({**files, "app/node.py": files["app/node.py"].replace(old, new)}, folder)
    return build_update(folder, version)


def build_colour_update(folder: Path, version: int, colour: str = "red") -> Update:
    """Build an update whose health message has a colour."""
    return build_changed_update(
        folder, version, "'heap_free': free,", f"'heap_free': free, 'colour': '{colour}',"
    )


def send(
    address: broker.Address,
    update: Update,
    timeout: float = 60,
    build_offer: Callable[[str], Offer] | None = None,
    force: bool = False,
) -> UpdateSender:
    """Send an update; `build_offer` replaces the function that returns the offer for a nonce."""
    build_offer = build_offer or (lambda nonce: update.build_offer("dut", KEY, "esp32", nonce, force))
    sender = UpdateSender(address, BASE, update, build_offer)
    sender.done = sender.send(timeout)  # type: ignore[attr-defined]
    return sender


def is_installed(state: dict[str, Any], version: int) -> bool:
    return (state["version"], state["state"]) == (version, "installed") and "rolled_back" not in state


def test_an_update_is_sent_installed_and_confirmed_in_the_other_slot(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with device(tmp_path / "flash", mosquitto) as running:
        observer.wait_until(lambda: observer.dut.health)
        assert "colour" not in observer.dut.health
        update = build_colour_update(tmp_path / "new", 7)
        sender = send(mosquitto, update)
        assert is_installed(sender.state, 7)
        # only the manifest and the changed file were transferred
        changed = update.names.index("app/node.mpy")
        assert sender.sent_bytes == len(update.files[0]) + len(update.files[changed])
        observer.wait_until(lambda: observer.dut.health.get("colour") == "red")
        assert running.exit_codes == [RESET]
        # the next update goes to the other slot; unchanged files are copied from this one
        sender = send(mosquitto, build_colour_update(tmp_path / "newer", 8, "green"))
        assert is_installed(sender.state, 8)
        observer.wait_until(lambda: observer.dut.health.get("colour") == "green")
        assert (tmp_path / "flash" / "slot").read_text() == "b a -\n"
    assert sender.done  # type: ignore[attr-defined]


@pytest.mark.parametrize("crash", ["on import", "while it runs"])
def test_a_version_that_crashes_is_rolled_back_and_refused_afterwards(
    crash: str, mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    with device(tmp_path / "flash", mosquitto) as running:
        observer.wait_until(lambda: observer.dut.health)
        if crash == "on import":
            bad = build_changed_update(
                tmp_path / "bad", 5, "class Health:", "raise MemoryError('bad')\nclass Health:"
            )
        else:
            bad = build_changed_update(tmp_path / "bad", 5, "free = gc.mem_free()\n", "free = nothing\n")
        sender = send(mosquitto, bad, 90)
        state = sender.state
        assert (state["version"], state["state"], state["rolled_back"]) == (0, "installed", 5)
        expected = "MemoryError: bad" if crash == "on import" else "NameError: "
        assert state["rolled_back_reason"].startswith(expected)
        assert not sender.done  # type: ignore[attr-defined]
        assert running.exit_codes == [RESET] * 4  # once for the update, three times for the crashes
        observer.dut.health.clear()
        observer.wait_until(lambda: observer.dut.health)
        assert observer.dut.status == "online"  # not in safe mode: crashes of the update do not count
        sender = send(mosquitto, bad)
        assert sender.state["reason"] == "version 5 is not newer than 5, which was rolled back"
        assert sender.state["rolled_back"] == 5  # the refusal does not clear the record
        sender = send(mosquitto, build_colour_update(tmp_path / "good", 6))
        assert is_installed(sender.state, 6)


def test_an_invalid_update_is_refused_with_a_reason_and_changes_nothing(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    flash = tmp_path / "flash"
    with device(flash, mosquitto) as running:
        observer.wait_until(lambda: observer.dut.health)
        update = build_colour_update(tmp_path / "new", 7)

        def build_changed(*changes: tuple[str, str], key: str = KEY) -> Callable[[str], Offer]:
            def build_offer(nonce: str) -> Offer:
                line = update.build_offer("dut", KEY, "esp32", nonce).line.decode()
                for old, new in changes:
                    assert old in line
                    line = line.replace(old, new, 1)
                return sign_offer(line.encode(), key)

            return build_offer

        for build_offer, reason in (
            (
                build_changed((" 7 ", " 7.0 ")),
                "version: expected a number of 1 to 20 digits without a leading 0",
            ),
            (build_changed((" esp32 ", " rpi_pico_w ")), "the update is for rpi_pico_w, this board is esp32"),
            (build_changed((" dut ", " other ")), "the update is for other, this device is dut"),
            (build_changed((" 7 ", " 7 7 ")), "not an update offer of format 2: see docs/update.md"),
        ):
            assert send(mosquitto, update, build_offer=build_offer).state["reason"] == reason
        client = observer.monitor._client
        for payload, reason in (
            (
                update.build_offer("dut", "00" * 32, "esp32", "0" * 32).payload,
                "wrong signature: check update.key",
            ),
            (
                update.build_offer("dut", KEY, "esp32", "0" * 32).payload,
                "old nonce: the offer was sent before",
            ),
            (
                b'{"version": "7", "board": "esp32", "size": 7, "sha256": "", "signature": ""}',
                "an old format",
            ),
            (b"", "not an update offer"),
            (b"\xff", "not an update offer"),
            (b"x" * 700, "700 bytes, expected at most 600"),
        ):
            client.publish(f"{BASE}/update/set", payload, qos=1)
            running.wait_for_line(reason)
        for path in (
            "../config.mpy",
            "/app/node.mpy",
            "boot.py",
            "slot.mpy",
            "config.json",
            "app/../x.mpy",
            "lib/x.mpy",
        ):
            data = b"hello"
            bad = Update(7, ["manifest"], [b""])
            digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
            bad.names.append(path)
            bad.files += [data]
            bad.files[0] = f"5 {digest} {path}\n".encode()
            state = send(mosquitto, bad).state
            assert state["state"] == "failed" and "is not allowed in an update" in state["reason"], state
        altered = build_colour_update(tmp_path / "altered", 7)
        number = altered.names.index("app/node.mpy")
        altered.files[number] = altered.files[number][:-1] + b"!"
        assert send(mosquitto, altered).state["reason"] == f"file {number} has the wrong SHA-256"
        longer = build_colour_update(tmp_path / "longer", 7)
        longer.files[number] += b"and more" * 200
        assert "is longer than" in send(mosquitto, longer).state["reason"]
        assert not running.exit_codes and not (flash / "slot").exists()
        assert not (flash / "a").exists() and not (flash / "b").exists()


def test_an_interrupted_update_leaves_the_old_version_and_can_be_sent_again(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    flash = tmp_path / "flash"
    update = build_colour_update(tmp_path / "new", 7)
    with device(flash, mosquitto) as running:
        observer.wait_until(lambda: observer.dut.health)
        sender = UpdateSender(
            mosquitto, BASE, update, lambda nonce: update.build_offer("dut", KEY, "esp32", nonce)
        )

        def cut_power(name: str, at: int, size: int) -> None:
            if name.endswith(".mpy"):
                running.power_off()
                raise KeyboardInterrupt

        sender._on_progress = cut_power
        with pytest.raises(KeyboardInterrupt):
            sender.send(60)
    observer.dut.health.clear()
    with device(flash, mosquitto):
        observer.wait_until(lambda: observer.dut.health)
        assert "colour" not in observer.dut.health
        assert is_installed(send(mosquitto, update).state, 7)
        observer.wait_until(lambda: observer.dut.health.get("colour") == "red")


def test_a_large_file_is_transferred_through_small_buffers(
    mosquitto: broker.Address, observer: Observer, tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    with device(tmp_path / "flash", mosquitto):
        observer.wait_until(lambda: observer.dut.health)
        shutil.copytree(image.build_image("esp32"), folder)
        (folder / "app" / "large.mpy").write_bytes(bytes(range(256)) * 400)
        sender = send(mosquitto, build_update(folder, 3), 120)
        assert is_installed(sender.state, 3) and sender.sent_bytes > 100_000
