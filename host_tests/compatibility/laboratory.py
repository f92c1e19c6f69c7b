"""Runs a program for umqtt.simple or umqtt.robust, acts as its surroundings, and records what happens.

The record has the output of the program and the messages that the broker has passed on. A program reports
events with `lab.reached`. The actions for its events are in `SCENARIOS`.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tools import broker
from tools.vm import process

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
STAND_INS = HERE / "stand_ins"
_TIMEOUT = 40  # s, for a program

Action = Callable[["Laboratory"], None]


def publish(topic: str, payload: str, qos: int = 0) -> Action:
    """Return an action that publishes a message as another client."""
    return lambda lab: lab.publish(topic, payload, qos)


def restart(lab: Laboratory) -> None:
    """Restart the broker, which stores its sessions."""
    lab.restart()


def kill(lab: Laboratory) -> None:
    """End the program as a power cut does."""
    lab.program.kill()


def seen(payload: str) -> Action:
    """Return an action that waits until the broker has passed on this payload."""
    return lambda lab: lab.wait_for(payload)


def off_and_on(*actions: Action) -> Action:
    """Return an action that restarts the broker, and performs other actions before the program goes on."""

    def perform(lab: Laboratory) -> None:
        lab.restart()
        for action in actions:
            action(lab)

    return perform


@dataclass(frozen=True)
class Scenario:
    """The actions for the events of a program, and what the program needs."""

    events: dict[str, list[Action]] = field(default_factory=dict)
    needs_newest: bool = False  # it uses what umqtt.simple 1.3.4 or umqtt.robust 1.0 does not have
    needs_vm: bool = False  # it uses what CPython does not have


SCENARIOS = {
    "example_pub": Scenario(),
    "example_pub_button": Scenario(),
    "example_pub_tls": Scenario(),
    "example_sub": Scenario(
        {
            "subscribed": [publish("foo_topic", text) for text in ("one", "two", "three")],
            "three": [publish("foo_topic", text) for text in ("four", "five")],
        }
    ),
    "example_sub_led": Scenario(
        {"subscribed": [publish("led", text) for text in ("on", "off", "toggle", "toggle", "end")]}
    ),
    "example_check_msg_robust": Scenario({"connected": [restart]}, needs_newest=True),
    "example_lwt_robust": Scenario({"online": [restart], "closed": [seen("Offline")]}, needs_newest=True),
    "example_resubscribe_robust": Scenario({"restart": [restart]}),
    "example_sub_robust": Scenario(
        {
            "subscribed": [publish("foo_topic", "one", 1)],
            "restart": [off_and_on(publish("foo_topic", "two", 1), publish("foo_topic", "three", 1))],
            "away": [publish("foo_topic", "four", 1)],
        }
    ),
    "publish_during_restarts": Scenario({"restart": [restart]}),
    "adafruit_io": Scenario(
        {"subscribed": [publish("maker/feeds/slider", text) for text in ("10", "20", "30")]}
    ),
    "aws_iot": Scenario(
        {"reported": [publish("things/thing-1/delta", '{"state": {"led": "on"}}', 1)]},
        needs_vm=True,  # certificate and key in DER format
    ),
    "homeassistant_switch": Scenario(
        {
            "online": [publish("home/switch_e6614104/set", text, 1) for text in ("ON", "OFF", "ON", "OFF")],
            "power cut": [kill, seen("offline")],
        },
        needs_newest=True,
    ),
    "thingspeak": Scenario(needs_newest=True),
    "nodered_dashboard": Scenario(
        {
            "subscribed": [
                publish("dash/led", '{"on": 1}'),
                publish("dash/ask", '{"id": 7}', 1),
                publish("dash/ask", '{"id": 8}'),
                publish("dash/led", '{"on": 0}', 1),
                publish("dash/stop", "{}"),
            ]
        }
    ),
    "socket_habits": Scenario(
        {name: [publish("target", name)] for name in ("one", "two", "three")}, needs_newest=True
    ),
    "unsubscribe": Scenario(
        {
            "subscribed": [publish("a", "1"), publish("b", "2", 1)],
            "unsubscribed": [publish("a", "3"), publish("b", "4", 1)],
        },
        needs_newest=True,
    ),
    "refused": Scenario(),
}


class Laboratory:
    """A mosquitto, an observer of all messages, and a program that runs in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("thing-1")
        server.private_key_pem.write_to_path(folder / "server.key")
        server.cert_chain_pems[0].write_to_path(folder / "server.pem")
        for name, pem in (
            ("ca.der", authority.cert_pem),
            ("client.der", client.cert_chain_pems[0]),
            ("key.der", client.private_key_pem),
        ):
            (folder / name).write_bytes(base64.b64decode(pem.bytes().split(b"-----")[2]))
        self.tls_ports = [broker.free_port() for _ in range(2)]
        lines = [f"persistence true\npersistence_location {folder}/"]
        for port, is_mutual in zip(self.tls_ports, (False, True)):
            lines.append(f"listener {port} 127.0.0.1\ncertfile {folder}/server.pem")
            lines.append(f"keyfile {folder}/server.key\ncafile {folder}/ca.pem")
            lines.append(f"require_certificate {str(is_mutual).lower()}")
        self.mosquitto = broker.Mosquitto(*lines)
        (folder / "passwords").write_text("")
        subprocess.run(["mosquitto_passwd", "-b", folder / "passwords", "me", "right"], check=True)
        self.strict = broker.Mosquitto(f"password_file {folder}/passwords", anonymous=False)
        self.messages: list[str] = []
        self.program: subprocess.Popen[str]

    def run(
        self, name: str, interpreter: str, library: Path, package: str, expected: str | None = None
    ) -> str:
        """Run a program with a library, `umqtt` or `umqtt5`, and return the record.

        At the end it waits for as many messages as there are in `expected`.
        """
        source = (PROGRAMS / f"{name}.py").read_text()
        source = re.sub(r"^(from|import) umqtt\.", rf"\1 {package}.", source, flags=re.MULTILINE)
        source = re.sub(r"\bumqtt\.robust\.", f"{package}.robust.", source)
        (self.folder / "main.py").write_text(source)
        with self.mosquitto, self.strict:
            self._write_settings()
            self._connect_observer()
            self.program = self._start(interpreter, library)
            try:
                output = self._accompany(SCENARIOS[name])
                self._wait_for_rest(expected)
            finally:
                self.program.kill()
                self.program.wait()
                self.observer.disconnect()
        # the order of messages from different clients is a matter of chance
        messages = sorted(self.messages, key=lambda line: line.split()[0])
        return output + "".join(f"broker: {line}\n" for line in messages)

    def _write_settings(self) -> None:
        values = {
            "SERVER": "127.0.0.1",
            "PORT": self.mosquitto.address.port,
            "TLS_PORT": self.tls_ports[0],
            "MUTUAL_TLS_PORT": self.tls_ports[1],
            "PASSWORD_PORT": self.strict.address.port,
            "CA_FILE": "ca.der",
            "CERT_FILE": "client.der",
            "KEY_FILE": "key.der",
        }
        (self.folder / "settings.py").write_text("".join(f"{k} = {v!r}\n" for k, v in values.items()))

    def _start(self, interpreter: str, library: Path) -> subprocess.Popen[str]:
        folders = [self.folder, library, STAND_INS]
        self.log = self.folder / "output.txt"
        if interpreter == "vm":
            program = process.start_vm(["main.py"], module_path=folders, heap="512k", cwd=self.folder)
        else:
            environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, folders)))
            program = subprocess.Popen(
                [sys.executable, "main.py"],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return program

    def _accompany(self, scenario: Scenario) -> str:
        """React to the events of the program until it ends, and return its output."""
        deadline = time.monotonic() + _TIMEOUT
        while self.program.poll() is None and time.monotonic() < deadline:
            for name, actions in scenario.events.items():
                reached = self.folder / f"{name}.reached"
                if reached.exists() and (text := reached.read_text()).endswith("\n"):
                    reached.unlink()
                    self._wait_until(lambda sent=int(text): len(self.messages) >= sent)  # type: ignore[misc]
                    for action in actions:
                        action(self)
                    (self.folder / f"{name}.done").write_text("")
            self.observer.poll(5)
        hangs = self.program.poll() is None
        self.program.kill()
        assert self.program.stdout
        # umqtt5 warns of a connection without a check of the broker's certificate
        output = re.sub(r"^umqtt5.*not authenticated.*\n", "", self.program.stdout.read(), flags=re.MULTILINE)
        return output + ("the program hangs\n" if hangs else "")

    def _connect_observer(self) -> None:
        from umqtt5 import Client

        def on_message(message: object) -> None:
            flags = f"{'retained ' if message.retain else ''}{message.qos}"  # type: ignore[attr-defined]
            self.messages.append(f"{message.topic} {bytes(message.payload)!r} {flags}")  # type: ignore[attr-defined]

        self.observer = Client(
            "127.0.0.1", self.mosquitto.address.port, client_id="observer", session_expiry=0
        )
        self.observer.subscribe("#", on_message, 2, retain_as_published=True, retain_handling=2)
        self._open_observer()

    def _open_observer(self) -> None:
        self.observer.connect()
        while self.observer.session.subscriptions.entries[0].reason is None:
            self.observer.poll(5)

    def publish(self, topic: str, payload: str, qos: int) -> None:
        """Publish, and wait until the observer has received the message."""
        count = len(self.messages)
        self.observer.publish(topic, payload, qos)
        while len(self.messages) == count:
            self.observer.poll(5)

    def restart(self) -> None:
        """Restart the broker, and go on when the observer is subscribed again."""
        self.observer.disconnect()
        self.mosquitto.stop(graceful=True)
        self.mosquitto.start()
        self.observer.session.subscriptions.entries[0].reason = None
        self._open_observer()

    def wait_for(self, payload: str) -> None:
        """Wait until a message with this payload arrives."""
        self._wait_until(lambda: any(repr(payload.encode()) in line for line in self.messages))

    def _wait_for_rest(self, expected: str | None) -> None:
        """Wait for the messages that are still on the way when the program has ended."""
        count = expected.count("\nbroker: ") if expected else 0
        with contextlib.suppress(AssertionError):  # the comparison shows what is missing
            self._wait_until(lambda: len(self.messages) >= count)
        self.observer.poll(50 if expected else 1000)

    def _wait_until(self, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not is_done():
            self.observer.poll(5)
            assert time.monotonic() < deadline, self.messages
