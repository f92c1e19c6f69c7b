"""The device for 24 simulated hours in a heap of 176 KB: network faults, broker restarts, bad commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from host_tests.conftest import require_mosquitto
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
_MEASURE_OWN_HEAP = (
    "import gc; gc.collect(); a = gc.mem_alloc(); import simulated_day; gc.collect()\n"
    "print(gc.mem_alloc() - a)"
)
HOUR = re.compile(r"hour (\d+) free (\d+) largest (\d+) connects (\d+) backlog (\d+)")


class SimulatedDay:
    """The simulated device. At the start of each hour it waits for the test."""

    def __init__(self, folder: Path, address: broker.Address) -> None:
        settings = host_config("dut", address, PREFIX, 10)
        settings["sensors"] = [{"kind": kind} for kind in ("load", "memory_available", "uptime")]
        settings["sensors"].append({"kind": "analog", "name": "level", "pin": "level"})
        settings["health"] = 60
        settings["command_max_age"] = 0  # the simulated clock runs faster than the broker delivers
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
        # 176 KB for the device, plus the heap that simulated_day itself uses
        own = process.start_vm(
            ["-c", _MEASURE_OWN_HEAP], module_path=[code, Path()], cwd=folder
        ).communicate()[0]
        heap = f"{176 * 1024 + int(own)}"
        self.process = process.start_vm(
            ["-c", "import simulated_day; simulated_day.main()"],
            module_path=[code, Path()],
            heap=heap,
            cwd=folder,
        )

    def start_hour(self, hour: int) -> None:
        """Let the device run this hour."""
        (self.folder / f"go-{hour}").touch()

    def hours(self) -> Iterator[int]:
        """Yield each hour at its start. The device waits until the next one is requested."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            match = HOUR.match(line)
            if match:
                hour, free, _, connects, backlog = map(int, match.groups())
                self.free[hour], self.connects[hour], self.backlog[hour] = free, connects, backlog
                yield hour
                if hour == 24:
                    return
                self.start_hour(hour)
        if self.process.wait():
            raise AssertionError("\n".join(line for line in self.lines if "no connection" not in line))


@contextmanager
def network(folder: Path) -> Iterator[tuple[broker.Mosquitto, Proxy, Observer, SimulatedDay]]:
    """Yield mosquitto, a fault proxy in front of it, an observer, and a device that uses the proxy."""
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


def send_invalid_commands(address: broker.Address, retain: bool = False) -> None:
    """Send commands that the device must refuse. With `retain`, also send a retained command."""
    with Client(address.host, address.port, tx=1024, outbox=140000, client_id="sender") as client:
        topic = f"{PREFIX}/dut/switch/lamp/set"
        for payload in (b"", b"ON" * 300, b'{"state":', b"\xff\xfe", b"[1]", b'{"state": 5}', b"x" * 100000):
            client.publish(topic, payload, qos=1, wait=True)
        if retain:
            client.publish(topic, "ON", qos=1, retain=True, wait=True)


def set_fault(proxy: Proxy, fault: Fault) -> None:
    """Reset all connections and give every new one this fault."""
    proxy.choose_fault = lambda number: fault
    proxy.reset_all()


def has_response(command: Command) -> bool:
    return command.response is not None


def test_a_day_with_faults_loses_no_command_and_no_heap(tmp_path: Path) -> None:
    """A command is sent in each hour without an outage. It must be executed and answered within the hour."""
    require_mosquitto()
    backlog: list[list[Any]] = []
    pending: list[tuple[Command, str]] = []
    # no commands in these hours: the link is down, or the restarted broker has lost the subscriptions
    hours_without_command = {0, 3, 5, 7, 9, 14, 19, 24}
    with network(tmp_path) as (server, proxy, observer, day):
        observer.monitor._client.subscribe(
            f"{PREFIX}/dut/backlog", lambda m: backlog.extend(json.loads(bytes(m.payload))), qos=1
        )
        faults: dict[int, Callable[[], object]] = {
            2: proxy.reset_all,
            3: lambda: restart(server),
            5: lambda: set_fault(proxy, Fault(after_bytes=5000, then="stall")),
            6: proxy.stop_faults,
            7: lambda: set_fault(proxy, Fault(after_bytes=5000, then="swallow")),
            8: proxy.stop_faults,
            9: proxy.refuse,
            10: proxy.accept,
            11: lambda: send_invalid_commands(server.address),
            12: lambda: (tmp_path / "level").unlink(),
            13: lambda: (tmp_path / "level").write_text("1.8"),
            14: lambda: set_fault(proxy, Fault(flip_bit_every=4000)),
            15: proxy.stop_faults,
            16: lambda: send_invalid_commands(server.address, retain=True),
            17: proxy.reset_all,
            19: lambda: restart(server),
        }
        for hour in day.hours():
            if pending:
                (command, word) = pending.pop()
                observer.wait_until(partial(has_response, command), 30)
                assert command.response == {"ok": True, "name": "lamp", "state": word}, hour
            faults.get(hour, int)()
            if hour not in hours_without_command:
                word = "ON" if hour % 2 else "OFF"
                pending.append((observer.monitor.command("dut", "lamp", word), word))
                observer.wait_until(lambda: observer.monitor._client.session.outbox.count == 0)
    # the backlog fills up to its limit of 50 readings in the hour when the broker refuses connections
    assert max(day.backlog.values()) == 50
    assert {name for name, _, _ in backlog} == {"load", "memory_available", "uptime", "level"}
    assert not [line for line in day.lines if "Traceback" in line or "MemoryError" in line], day.lines
    assert "sensor level: works again" in day.lines
    assert len(day.free) == 25 and day.connects[24] > 8
    # the free heap does not shrink after hour 17, when all modules have been loaded
    assert min(day.free.values()) > 8192, day.free
    assert day.free[24] > day.free[17] - 256, day.free
