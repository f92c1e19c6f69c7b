"""A day of the whole application in 128 KB, with faults each hour: what it must not lose, or hang on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from host_tests.device.observer import PREFIX, Observer, observe
from host_tests.faults.proxy import Fault, Proxy
from tools import broker
from tools.bundle import image
from tools.bundle.compiler import cross_compile
from tools.monitor.device_state import Command
from tools.vm import process
from tools.vm.device import host_config
from umqtt5 import Client

PROGRAM = Path(__file__).parent / "simulated_day.py"
_OWN = (
    "import gc; gc.collect(); a = gc.mem_alloc(); import simulated_day; gc.collect()\n"
    "print(gc.mem_alloc() - a)"
)
HOUR = re.compile(r"hour (\d+) free (\d+) largest (\d+) connects (\d+) backlog (\d+)")


class SimulatedDay:
    """The device, hour by hour."""

    def __init__(self, folder: Path, address: broker.Address) -> None:
        settings = host_config("dut", address, PREFIX, 10)
        settings["sensors"] = [{"kind": kind} for kind in ("load", "memory_available", "uptime")]
        settings["sensors"].append({"kind": "analog", "name": "level", "pin": "level"})
        settings["health"] = 60
        (folder / "config.json").write_text(json.dumps(settings))
        (folder / "level").write_text("1.9")
        (folder / "simulated_day.mpy").write_bytes(
            cross_compile("simulated_day", image.minify_source("host", PROGRAM.read_text()))
        )
        self.folder = folder
        self.lines: list[str] = []
        self.free: dict[int, int] = {}
        self.connects: dict[int, int] = {}
        self.backlog: dict[int, int] = {}
        code = process.link_image(image.build_image("host"), folder)
        # the heap of a device, and what the program of the day itself takes
        own = process.start_vm(["-c", _OWN], module_path=[code, Path()], cwd=folder).communicate()[0]
        heap = f"{128 * 1024 + int(own)}"
        self.process = process.start_vm(
            ["-c", "import simulated_day; simulated_day.main()"],
            module_path=[code, Path()],
            heap=heap,
            cwd=folder,
        )

    def go(self, hour: int) -> None:
        """Let this hour begin."""
        (self.folder / f"go-{hour}").touch()

    def hours(self) -> Iterator[int]:
        """Each hour as it begins; the device waits until the next one is asked for."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            found = HOUR.match(line)
            if found:
                hour, free, _, connects, kept = map(int, found.groups())
                self.free[hour], self.connects[hour], self.backlog[hour] = free, connects, kept
                yield hour
                self.go(hour)
        if self.process.wait():
            raise AssertionError("\n".join(line for line in self.lines if "no connection" not in line))


@contextmanager
def network(folder: Path) -> Iterator[tuple[broker.Mosquitto, Proxy, Observer, SimulatedDay]]:
    with broker.Mosquitto("set_tcp_nodelay true", "max_queued_messages 10000") as server:
        proxy = Proxy(server.address, lambda number: Fault())
        try:
            with observe(server.address) as observer:
                day = SimulatedDay(folder, proxy.address)
                try:
                    yield server, proxy, observer, day
                finally:
                    process.stop_vm(day.process)
        finally:
            proxy.close()


def restart(server: broker.Mosquitto) -> None:
    server.stop()
    server.start()


def shout(address: broker.Address, retain: bool = False) -> None:
    """Commands that nobody should send."""
    with Client(address.host, address.port, tx=1024, outbox=140000, client_id="shouter") as client:
        topic = f"{PREFIX}/dut/switch/lamp/set"
        for payload in (b"", b"ON" * 300, b'{"state":', b"\xff\xfe", b"[1]", b'{"state": 5}', b"x" * 100000):
            client.publish(topic, payload, qos=1, wait=True)
        if retain:
            client.publish(topic, "ON", qos=1, retain=True, wait=True)


def swap(proxy: Proxy, fault: Fault) -> None:
    """From now on connections have this fault."""
    proxy.choose_fault = lambda number: fault
    proxy.reset_all()


def answered(command: Command) -> bool:
    return command.response is not None


def test_a_day_with_faults(tmp_path: Path) -> None:
    """Each hour a command is carried out and answered, but where the hour has a fault of its link."""
    if not broker.find_mosquitto():
        pytest.skip("no mosquitto")
    late: list[list[Any]] = []
    asked: list[tuple[Command, str]] = []
    # the link is bad for the whole hour, or the broker has forgotten who wants commands
    cut_off = {0, 3, 5, 7, 9, 14, 19, 24}
    with network(tmp_path) as (server, proxy, observer, day):
        observer.monitor._client.subscribe(
            f"{PREFIX}/dut/backlog", lambda m: late.extend(json.loads(bytes(m.payload))), qos=1
        )
        faults: dict[int, Callable[[], object]] = {
            2: proxy.reset_all,
            3: lambda: restart(server),
            5: lambda: swap(proxy, Fault(after_bytes=5000, then="stall")),
            6: proxy.stop_faults,
            7: lambda: swap(proxy, Fault(after_bytes=5000, then="swallow")),
            8: proxy.stop_faults,
            9: proxy.refuse,
            10: proxy.accept,
            11: lambda: shout(server.address),
            12: lambda: (tmp_path / "level").unlink(),
            13: lambda: (tmp_path / "level").write_text("1.8"),
            14: lambda: swap(proxy, Fault(flip_bit_every=4000)),
            15: proxy.stop_faults,
            16: lambda: shout(server.address, retain=True),
            17: proxy.reset_all,
            19: lambda: restart(server),
        }
        for hour in day.hours():
            if asked:
                (command, word) = asked.pop()
                observer.wait_until(partial(answered, command), 30)
                assert command.response == {"ok": True, "name": "lamp", "state": word}, hour
            faults.get(hour, int)()
            if hour not in cut_off:  # where the link is gone it waits at the broker
                word = "ON" if hour % 2 else "OFF"
                asked.append((observer.monitor.command("dut", "lamp", word), word))
                observer.wait_until(lambda: observer.monitor._client.session.outbox.count == 0)
    # a broker that refuses for an hour: the last readings before it was back, with their times
    assert max(day.backlog.values()) == 50
    assert {name for name, _, _ in late} == {"load", "memory_available", "uptime", "level"}
    assert not [line for line in day.lines if "Traceback" in line or "MemoryError" in line], day.lines
    assert "sensor level: works again" in day.lines
    assert len(day.free) == 25 and day.connects[24] > 8
    # what is free does not shrink: an hour's end finds what the third found, but for what was loaded since
    assert min(day.free.values()) > 8192, day.free
    assert day.free[24] > day.free[17] - 256, day.free
