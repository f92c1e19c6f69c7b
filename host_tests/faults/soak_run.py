"""Runs `soak_program` in the VM, with a faulty DNS server, a faulty network and a broker that restarts."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from host_tests.faults.faulty_dns import FaultyDns
from host_tests.faults.proxy import Proxy, fault_proxy
from host_tests.faults.soak_checks import BIG, SOURCES
from host_tests.faults.soak_peer import Peer, RandomFaults, Trap
from host_tests.faults.wire_check import WireCheck
from tools.broker import Mosquitto
from tools.bundle import image, minifier
from tools.bundle.bundler import bundle_sources
from tools.vm import process

PROGRAM = Path(__file__).with_name("soak_program.py")
MODULES = [PROGRAM, PROGRAM.with_name("soak_device.py"), PROGRAM.with_name("soak_checks.py")]
NAMES = ("one.soak.test", "two.soak.test", "three.soak.test")  # the client treats them as three brokers
HEAP = "192k"
_HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")  # addresses of the broker
_MESSAGE_SIZE_LIMIT = 400  # payload in bytes above which mosquitto answers 0x95
DRAIN_SECONDS = 60


class SoakRun:
    """One soak run. `run` runs it, `failures` checks it, `figures` returns the numbers for a report."""

    def __init__(
        self, seed: int, seconds: float, longest_poll_ms: int = 2000, log: TextIO | None = None
    ) -> None:
        self.seed = seed
        self.seconds = seconds
        self.longest_poll_ms = longest_poll_ms
        self.unique = f"s{seed}"
        self.lines: list[str] = []
        self.report: dict[str, Any] = {}
        self.events: dict[str, list[list[str]]] = {}  # words of each line, by first word
        self.network = RandomFaults(seed)
        self.incidents: Counter[str] = Counter()  # restarts, refusals, moves
        self.wire = WireCheck(self.unique, self._excuse_lost_messages, log)
        self._random = random.Random(seed)
        self._lost_up: set[tuple[int, int]] = set()  # messages that the broker has acknowledged and lost
        self._lost_down: set[tuple[int, int]] = set()
        self._actions: list[tuple[float, Callable[[], None]]] = []  # due later
        self._trap_connections = 0
        self._is_broker_up = True

    # ---- faults

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._actions.append((time.monotonic() + seconds, action))

    def _run_actions(self) -> None:
        now = time.monotonic()
        for item in [item for item in self._actions if item[0] <= now]:
            self._actions.remove(item)
            item[1]()

    def _make_incident(self) -> None:
        """Make one incident, and schedule the next one. The first is a restart: also a short run has one."""
        kinds = ("restart", "restart", "kill", "reset_all", "refuse", "move", "move")
        kind = self._random.choice(kinds) if self.incidents else "restart"
        self.incidents[kind] += 1
        {
            "restart": self._restart,
            "kill": self._kill,
            "reset_all": self._proxy.reset_all,
            "refuse": self._refuse,
            "move": self._move,
        }[kind]()
        self._later(self._random.uniform(2, 8), self._make_incident)

    def _refuse(self) -> None:
        self._proxy.refuse()
        self._later(self._random.uniform(0.2, 1.5), self._proxy.accept)

    def _move(self) -> None:
        """Give the broker another address. The DNS servers announce it."""
        host = self._random.choice(_HOSTS)
        if host != self._proxy.host:
            self._proxy.move(host)
            self._dns.address = host

    def _restart(self) -> None:
        """Restart the broker. It saves its state."""
        self._broker.stop(graceful=True)
        self._is_broker_up = False
        self._later(self._random.uniform(0, 1), self._start_broker)

    def _start_broker(self) -> None:
        if not self._is_broker_up:
            self._broker.start()
            self._is_broker_up = True

    def _kill(self) -> None:
        """Kill the broker, so it loses all sessions. The device may connect when the peer has subscribed."""
        self._proxy.refuse()
        self.wire.is_subscribed = False
        self._is_broker_up = False
        self._broker.stop()
        (Path(self._folder) / "mosquitto.db").unlink(missing_ok=True)
        peer = self._peer
        while peer.client.is_connected:
            peer.client.poll(5)  # it receives what has arrived before the broker was killed
        self._excuse_lost_messages()
        self._start_broker()
        peer.connect()
        self._proxy.accept()

    def _excuse_lost_messages(self) -> None:
        """Record that the broker has lost the messages which have not reached their receiver.

        mosquitto 2.0.11 also loses a session that began with Clean Start if it restarts, even if it saves its
        state. The client reports a QoS 2 message as acknowledged if PUBREC has arrived (docs/connection.md).
        """
        self._lost_up |= {key[1:] for key in self.wire.answered if key[1:] not in self._peer.received}
        for qos in (1, 2):
            for number in range(self._peer.numbers[qos]):
                if ("down", qos, number) not in self.wire.handled:
                    self._lost_down.add((qos, number))

    # ---- the run

    def run(self, progress: Callable[[float], None] | None = None) -> None:
        """Run the device to its end. `progress` is called with the seconds since the start."""
        with contextlib.ExitStack() as stack:
            self._folder = stack.enter_context(tempfile.TemporaryDirectory())
            self._broker = stack.enter_context(
                Mosquitto(
                    "set_tcp_nodelay true",
                    # with 0 (no limit), mosquitto 2.0.11 closes the connection over each refused message
                    "max_queued_messages 20000",
                    "max_inflight_messages 6",
                    f"message_size_limit {_MESSAGE_SIZE_LIMIT}",
                    "persistence true",
                    f"persistence_location {self._folder}/",
                )
            )
            self._dns = stack.enter_context(FaultyDns(_HOSTS[0], self.seed))
            self._proxy: Proxy = stack.enter_context(
                fault_proxy(self._broker.address, self.network.choose, self.seed, self.wire.observe)
            )
            trap = stack.enter_context(Trap(self._proxy.address.port))
            self._peer = Peer(self._broker, self.unique, self.wire, self._random)
            self._peer.connect()
            self._peer.client.disconnect()
            self._peer.connect()  # without Clean Start, because mosquitto 2.0.11 does not save other sessions
            child = self._start()
            stack.callback(process.stop_vm, child)
            reader = threading.Thread(target=self._read, args=(child,), daemon=True)
            reader.start()
            self._exchange(child, progress)
            self._finish(child)
            reader.join(10)
            self._trap_connections = trap.connections
            self._peer.client.disconnect()
        self._parse_lines()

    def _start(self) -> subprocess.Popen[str]:
        settings = {
            "hosts": [f"{name}:{self._proxy.address.port}" for name in NAMES],
            "dns": self._dns.ports,
            "unique": self.unique,
            "seed": self.seed,
            "fault_seconds": self.seconds,
            "drain_seconds": DRAIN_SECONDS,
            "busy_name": minifier.map_names(bundle_sources(), minifier.internal_names())["is_busy"],
        }
        return process.start_vm(
            ["-m", PROGRAM.stem, json.dumps(settings)],
            module_path=[image.build_program(path) for path in MODULES],
            heap=HEAP,
        )

    def _read(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout
        with contextlib.suppress(ValueError):  # the pipe was closed
            for line in child.stdout:
                self.lines.append(line.rstrip())

    def _exchange(self, child: subprocess.Popen[str], progress: Callable[[float], None] | None) -> None:
        """Exchange messages and make faults until the device stops its own part."""
        start = time.monotonic()
        self._later(2, self._make_incident)
        while "quiet" not in self.lines[-200:] and child.poll() is None:
            self._peer.client.poll(5)
            if self.wire.is_subscribed:
                self._peer.send()
            self._run_actions()
            if progress:
                progress(time.monotonic() - start)

    def _finish(self, child: subprocess.Popen[str]) -> None:
        """End the faults, and wait until all messages have arrived."""
        self._actions = [item for item in self._actions if item[1] != self._make_incident]
        for _, action in self._actions:
            action()
        self._dns.is_faulty = False
        self._proxy.stop_faults()
        client = self._peer.client
        deadline = time.monotonic() + DRAIN_SECONDS
        idle_since = time.monotonic()
        count = 0
        while child.poll() is None and time.monotonic() < deadline:
            client.poll(5)
            seen = self._peer.received.total() + len(self.wire.handled)
            is_drained = any(line.startswith("drained") for line in self.lines[-200:])
            if seen != count or not is_drained or client.session.outbox.count:
                count = seen
                idle_since = time.monotonic()
            if time.monotonic() > idle_since + 1.5:
                break
        client.publish(self.unique + "/stop", b"", qos=1)
        while child.poll() is None and time.monotonic() < deadline + 20:
            client.poll(5)

    def _parse_lines(self) -> None:
        for line in self.lines:
            words = line.split()
            self.events.setdefault(words[0] if words else "", []).append(words[1:])
            if words[:1] == ["report"]:
                self.report[words[1]] = json.loads(" ".join(words[2:]))

    # ---- results

    def samples(self) -> list[tuple[float, int, int]]:
        """Return (seconds since the start, free heap in bytes, number of connections) for each report."""
        rows = self.events.get("heap", [])
        return [(int(row[0]) / 1000, int(row[1]), int(row[3])) for row in rows]

    def failures(self) -> list[str]:
        """Return one line for each violation of an invariant."""
        lines = [f"device: {' '.join(words)}" for words in self.events.get("violation", [])]
        lines += [f"wire: {text}" for text in self.wire.violations]
        lines += [f"peer: {text}" for text in self._peer.violations]
        if self._trap_connections:
            lines.append(f"{self._trap_connections} connections to the address of a forged DNS answer")
        if self.lines[-1:] != ["end"]:
            return [*lines, "the device did not reach its end:", *self.lines[-30:]]
        lines += self._check_sent()
        lines += self._check_received()
        lines += self._check_heap()
        if self.report["longest_poll_us"] > self.longest_poll_ms * 1000:
            lines.append(f"a poll(50) took {self.report['longest_poll_us'] / 1000:.0f} ms")
        return lines

    def _check_sent(self) -> list[str]:
        """Check that each message which `publish` accepted has arrived, or was reported as ended."""
        lines = []
        received = self._peer.received
        ended = {(int(row[0]), int(row[1])): int(row[2]) for row in self.events.get("ended", [])}
        if len(ended) != len(self.events.get("ended", [])):
            lines.append("a message ended twice")
        numbers = self.report["numbers"]
        for stream in range(len(numbers)):
            source, qos = SOURCES[stream // 3], stream % 3
            for number in range(numbers[stream]):
                key = (stream, number)
                if qos and key not in ended and not received[key] and key not in self._lost_up:
                    lines.append(
                        f"message {number} of {source} at QoS {qos} was acknowledged, but has not arrived"
                    )
                if not qos and received[key] > 1:
                    lines.append(f"message {number} of {source} at QoS 0 has arrived {received[key]} times")
        for row in self.events.get("ended", []):
            if int(row[0]) < BIG * 3 and not int(row[3]):
                lines.append(f"message {row[1]} of stream {row[0]} was given up with {int(row[2]):#x}")
        lines += [
            f"{key} has arrived, but publish did not accept it"
            for key in received
            if key[1] >= numbers[key[0]]
        ]
        return lines

    def _check_received(self) -> list[str]:
        """Check that the device has received each message of QoS 1 and 2, and none of QoS 2 twice."""
        lines = []
        late = {(int(row[0]), int(row[1])) for row in self.events.get("late", [])}
        missing = {(int(row[0]), int(row[1])) for row in self.events.get("missing", [])}
        for qos in (1, 2):
            end = self.report["received_end"][qos]
            missing |= {(qos, number) for number in range(end, self._peer.numbers[qos])}
        for qos, number in sorted(missing - late - self._lost_down):
            if qos:
                lines.append(f"the device has not received message {number} at QoS {qos}")
        for row in self.events.get("repeated", []):
            key = ("down", int(row[0]), int(row[1]))
            if key not in self.wire.repeated_by_broker:
                lines.append(f"the device has received message {key[2]} at QoS {key[1]} twice")
        return lines

    def _check_heap(self) -> list[str]:
        """Compare the lowest heap use in the second quarter of the run and in the last."""
        rows = self.samples()
        quarter = len(rows) // 4
        if quarter < 4:
            return ["too few reports of the heap"]
        before = max(row[1] for row in rows[quarter : 2 * quarter])
        after = max(row[1] for row in rows[-quarter:])
        return [f"the free heap has shrunk from {before} to {after} bytes"] if after < before - 512 else []

    def figures(self) -> dict[str, Any]:
        """Return the figures of the run."""
        numbers = self.report.get("numbers", [])
        ended = Counter(
            f"{SOURCES[int(row[0]) // 3]}: {'canceled' if int(row[3]) else hex(int(row[2]))}"
            for row in self.events.get("ended", [])
        )
        qos_2 = [n for key, n in self._peer.received.items() if key[0] % 3 == 2]
        return {
            "seed": self.seed,
            "seconds": self.seconds,
            "published by source": {s: numbers[3 * i : 3 * i + 3] for i, s in enumerate(SOURCES) if numbers},
            "ended without acknowledgement": dict(ended),
            "received by the peer": self._peer.received.total(),
            "QoS 2 messages repeated by mosquitto to the peer": sum(n > 1 for n in qos_2),
            "sent to the device": self._peer.numbers,
            "lost with a killed broker": [len(self._lost_up), len(self._lost_down)],
            "faults of connections": dict(self.network.counts),
            "incidents": dict(self.incidents),
            "DNS answers": dict(self._dns.counts),
            "packets": dict(self.wire.counts),
            "DISCONNECT": dict(self.wire.disconnect_codes),
            "connected again after ms": self.events.get("connected", [["none"]])[0][0],
            "drained after ms": self.events.get("drained", [["none"]])[0][0],
            **{name: value for name, value in self.report.items() if name != "numbers"},
        }
