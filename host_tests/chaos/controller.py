"""The controller: sends random commands to the device, and checks its responses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from host_tests.chaos import packets
from host_tests.chaos.broker import Broker
from host_tests.chaos.configs import BASE, DEVICE
from host_tests.chaos.outputs import Output
from host_tests.chaos.packets import Message, Publish
from host_tests.chaos.world import MINUTE, SECOND, World

_PLATFORMS = {"switch": "switch", "valve": "valve", "light": "light", "pixels": "light", "servo": "number"}
_REMEMBERED = 8  # commands that every device of `configs` remembers
RESPONSE_TOPIC = "chaos/answers"


@dataclass
class Command:
    """A command that was sent."""

    key: str  # correlation data
    output: str
    payload: bytes
    sent_at: int
    number: int  # number of commands before it
    kind: str
    changes: int  # number of changes of the output when it was sent
    original: Command | None = None  # the command that it repeats
    answer: dict[str, Any] | None = None


class Controller:
    """The sender of commands.

    `unix_time` returns the time as the network knows it, `must_answer` whether no fault hinders the device.
    """

    def __init__(
        self,
        world: World,
        broker: Broker,
        rng: random.Random,
        outputs: dict[str, Output],
        on_finding: Callable[[str], None],
        unix_time: Callable[[], int],
        must_answer: Callable[[], bool],
    ) -> None:
        self.world, self.broker, self.rng, self.outputs = world, broker, rng, outputs
        self._on_finding = on_finding
        self._unix_time = unix_time
        self._must_answer = must_answer
        self.commands: dict[str, Command] = {}
        self.count: dict[str, int] = {}
        self.answers = 0
        self.last_answer_at = 0
        self.last_good_answer_at = 0
        self.is_device_up_to_date = False  # whether the clock of the device is known to be set
        broker.observers.append(self._observe)

    def _observe(self, publish: Publish) -> None:
        if publish.topic != RESPONSE_TOPIC:
            return
        key = (
            packets.Reader(publish.properties[0x09][0]).binary().decode()
            if 0x09 in publish.properties
            else ""
        )
        command = self.commands.get(key)
        self.answers += 1
        self.last_answer_at = self.world.now
        try:
            answer = json.loads(publish.payload)
        except ValueError:
            self._on_finding(f"a response is not JSON: {publish.payload!r}")
            return
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            self._on_finding(f"a response has no ok: {publish.payload!r}")
            return
        if answer["ok"] or "safe mode" not in str(answer.get("error", "")):
            self.last_good_answer_at = self.world.now
        if command:
            self._check_answer(command, answer)

    def _check_answer(self, command: Command, answer: dict[str, Any]) -> None:
        if command.kind in ("invalid", "retained", "expired") and answer["ok"]:
            if command.kind != "expired" or self.is_device_up_to_date:
                self._on_finding(f"a command that is {command.kind} was accepted: {command.payload!r}")
        command.answer = command.answer or answer

    # ---- sending

    def send_random(self) -> None:
        """Send a random command, or several."""
        rng = self.rng
        kind = rng.choices(
            ("valid", "toggle", "invalid", "duplicate", "expired", "retained", "burst"),
            (10, 4, 4, 3, 1, 1, 1),
        )[0]
        name = rng.choice(list(self.outputs))
        if kind == "burst":
            for _ in range(rng.choice((5, 30, 100))):
                self._send(rng.choice(list(self.outputs)), self._make_payload(name), "valid")
        elif kind == "duplicate":
            self._send_twice(name)
        elif kind == "toggle":
            self._send(name, b"TOGGLE", "toggle")
        elif kind == "invalid":
            self._send(name, self._make_invalid(), "invalid")
        elif kind == "expired":
            self._send(name, b"ON", "expired", expires=self._unix_time() - rng.choice((5, 3600)))
        elif kind == "retained":
            self._send(name, b"ON", "retained", retain=True)
        else:
            self._send(name, self._make_payload(name), "valid")

    def send_probe(self) -> None:
        """Send a command that any device answers."""
        self._send(next(iter(self.outputs)), b"OFF", "probe")

    def _send_twice(self, name: str) -> None:
        first = self._send(name, b"TOGGLE", "toggle")

        def repeat() -> None:
            output = self.outputs[name]
            if first.answer is None or "not executed" in str(first.answer.get("error")):
                self._publish(first, None, False)
                return
            before = output.changes
            self._publish(first, None, False)
            self.count["duplicate"] = self.count.get("duplicate", 0) + 1

            def check() -> None:
                later = list(self.commands.values())[first.number + 1 :]
                # a command that was sent a moment before may be executed after it
                others = [c for c in later if c.sent_at >= sent_at - 5 * SECOND] or later[_REMEMBERED - 1 :]
                if output.changes > before and not others and not output.config.get("max_on"):
                    if output.is_driven and output.kind != "servo" and output.boots == boots:
                        self._on_finding(f"{name}: the same TOGGLE was executed twice")

            sent_at, boots = self.world.now, output.boots
            self.world.after(3 * SECOND, check)

        self.world.after(self.rng.choice((1, 5, 60)) * SECOND, repeat)

    def _send(
        self, name: str, payload: bytes, kind: str, retain: bool = False, expires: int | None = None
    ) -> Command:
        key = f"{kind}-{len(self.commands)}"
        command = Command(
            key, name, payload, self.world.now, len(self.commands), kind, self.outputs[name].changes
        )
        self.commands[key] = command
        self.count[kind] = self.count.get(kind, 0) + 1
        self._publish(command, expires, retain)
        if not retain and self._must_answer() and self.broker.is_connected(DEVICE):
            self._expect_answer(command)
        return command

    def _expect_answer(self, command: Command) -> None:
        """Check later that the command was answered, if nothing has disturbed the device meanwhile."""
        boots, connects = self.outputs[command.output].boots, self.broker.connects

        def check() -> None:
            is_same = boots == self.outputs[command.output].boots and connects == self.broker.connects
            if (
                command.answer is None
                and is_same
                and self._must_answer()
                and self.broker.is_connected(DEVICE)
            ):
                self._on_finding(f"a command was not answered ({command.kind})")

        self.world.after(2 * MINUTE, check)

    def _publish(self, command: Command, expires: int | None, retain: bool) -> None:
        output = self.outputs[command.output]
        topic = f"{BASE}/{_PLATFORMS[output.kind]}/{command.output}/set"
        properties = b"\x08" + packets.string(RESPONSE_TOPIC) + b"\x09" + packets.string(command.key)
        if expires is not None:
            properties += b"\x26" + packets.string("expires") + packets.string(str(expires))
        message = Message(topic, command.payload, 1, retain, properties, self.world.now + 10 * MINUTE)
        if retain:  # sent to the device only when it subscribes
            self.broker.retained[topic] = message
            self.world.after(20 * MINUTE, lambda: self.broker.retained.pop(topic, None))
        else:
            self.broker.publish(message)

    def _make_payload(self, name: str) -> bytes:
        rng, kind = self.rng, self.outputs[name].kind
        if kind == "servo":
            return rng.choice((b"%d" % rng.randint(0, 180), b'{"angle": %d}' % rng.randint(0, 180), b"OFF"))
        choices = [
            b"ON",
            b"OFF",
            b"on",
            b"1",
            b'{"state":"ON","for":%d}' % rng.choice((1, 4, 30)),
            b"ON",
            b"ON",
        ]
        choices += [b'{"state":"OFF"}', b'{"state":"ON"}', b"0", b'{"state":"ON","for":4.9}']
        if kind in ("light", "pixels"):
            choices += [b"%d" % rng.randint(0, 255), b'{"state":"ON","brightness":%d}' % rng.randint(1, 255)]
            choices += [b'{"state":"OFF","transition":1}']
        if kind == "pixels":
            choices += [b"#00ff10", b'{"state":"ON","color":{"r":1,"g":2,"b":3}}']
        return rng.choice(choices)

    def _make_invalid(self) -> bytes:
        rng = self.rng
        return rng.choice(
            (
                b"", b"{", b"[]", b"null", b"nan", b"MAYBE", b'{"state":5}', b'{"state":"ON","for":-1}',
                b'{"state":"ON","nonsense":1}', b'"' * 300, bytes(rng.randrange(128, 256) for _ in range(20)),
                b'{"state":"ON"' + b" " * 400 + b"}", b"#zz", b'{"for":"x"}', b"1e999", b"-5",
                b'{"state":[]}',
            )
        )  # fmt: skip
