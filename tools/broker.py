"""Brokers to talk to: the embedded one, mosquitto, or any that runs already."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tools.errors import UserError


class BrokerError(UserError):
    """One line for a person: what is wrong and what to do."""


@dataclass(frozen=True)
class Address:
    """Where a broker listens, and who we are to it."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: bool = False
    ca: Path | None = None  # who has signed its certificate, where the system does not know
    cert: Path | None = None  # of our own, with its key
    key: Path | None = None

    def __str__(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"

    def ssl_context(self) -> Any:
        """For `Client(ssl=)`: None without TLS. Raises BrokerError where a file can't be read."""
        if not self.tls:
            return None
        try:
            made = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                made.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise BrokerError(f"{self.ca or self.cert}: can't be read as a certificate: {error}") from error
        return made


def free_port() -> int:
    """A port of the loopback interface that nobody has now.

    Not one of those that the system gives to outgoing connections: it would be taken again
    before a broker has it, or while a broker is restarted.
    """
    while True:
        port = secrets.randbelow(12000) + 20000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def is_reachable(address: Address, timeout: float = 1) -> bool:
    """True where something accepts connections."""
    try:
        socket.create_connection((address.host, address.port), timeout).close()
    except OSError:
        return False
    return True


_IOTCORE = """\
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 2048000
    max_inflight_count = 100
    dynamic_filters = true
"""


@contextlib.contextmanager
def iotcore() -> Iterator[Address]:
    """The embedded broker (rumqttd) with an MQTT 5 listener on loopback."""
    from iotcore import Broker

    address = Address("127.0.0.1", free_port())
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "iotcore.toml"
        config.write_text(_IOTCORE.format(port=address.port))
        broker = Broker(config_path=str(config))
        try:
            broker.start()
            yield address
        finally:
            broker.stop()


def find_mosquitto() -> str | None:
    """mosquitto's path; Debian has it in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def _wait_for(address: Address, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Wait until a broker listens. Raises BrokerError with the end of its log where it does not."""
    deadline = time.monotonic() + seconds
    while not is_reachable(address):
        if process.poll() is not None or time.monotonic() > deadline:
            text = log.read_text(errors="replace") if log.exists() else ""
            raise BrokerError(f"{address}: the broker did not start: {text.strip()[-300:]}")
        time.sleep(0.02)


_EJABBERD = """\
loglevel: warning
hosts: [localhost]
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: mod_mqtt
    backlog: 1000
auth_method: [anonymous]
anonymous_protocol: both
modules:
  mod_mqtt:
    access_publish: {{"#": [allow: all]}}
    access_subscribe: {{"#": [allow: all]}}
    session_expiry: 5 minutes
    max_queue: 1000
"""


def find_ejabberd() -> Path | None:
    """The folder of ejabberd's compiled code, None where there is none, or no Erlang."""
    found = sorted(Path("/usr/lib").glob("**/ejabberd-*/ebin/ejabberd.app"))
    return found[-1].parent if found and shutil.which("erl") else None


@contextlib.contextmanager
def ejabberd() -> Iterator[Address]:
    """ejabberd as a plain process, without its cluster and its control program. Raises BrokerError."""
    code = find_ejabberd()
    if code is None:
        raise BrokerError("ejabberd is not installed: `apt-get install ejabberd`")
    # whoever comes with any password is let in, but needs a user at its host
    address = Address("127.0.0.1", free_port(), "tester@localhost", "any")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ejabberd.yml").write_text(_EJABBERD.format(port=address.port))
        process = subprocess.Popen(
            ["erl", "-noinput", "-pa", code, "-mnesia", "dir", f'"{folder}/db"', "-s", "ejabberd"],
            cwd=folder,
            env=dict(
                os.environ,
                EJABBERD_CONFIG_PATH=str(folder / "ejabberd.yml"),
                EJABBERD_LOG_PATH=str(folder / "ejabberd.log"),
                ERL_CRASH_DUMP_SECONDS="0",
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(address, process, folder / "ejabberd.log", 60)
            yield address
        finally:
            process.kill()
            process.wait()


class Mosquitto:
    """mosquitto with these lines of configuration behind its listener; can be stopped and restarted."""

    def __init__(self, *lines: str, anonymous: bool = True) -> None:
        program = find_mosquitto()
        if program is None:
            raise BrokerError("mosquitto is not installed: `apt-get install mosquitto`, or leave BROKER out")
        self._program = program
        self._lines = [f"allow_anonymous {str(anonymous).lower()}", *lines]
        self.address = Address("127.0.0.1", free_port())
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory()

    def start(self) -> None:
        """Start it and wait until it listens. Raises BrokerError."""
        config = Path(self._folder.name) / "mosquitto.conf"
        listener = f"listener {self.address.port} {self.address.host}"
        # as root it would become the user mosquitto, who can't read the folder
        config.write_text("\n".join(["user root", listener, *self._lines]) + "\n")
        log = open(Path(self._folder.name) / "log", "ab")
        with log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait_for(self.address, self._process, Path(self._folder.name) / "log", 20)

    def stop(self, graceful: bool = False) -> None:
        """End it; `gently` lets it write what it keeps."""
        if self._process is not None:
            self._process.terminate() if graceful else self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()


def parse_url(url: str, ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> Address:
    """`mqtt://[user[:password]@]host[:port]`, or `mqtts://` with TLS. Raises BrokerError."""
    parts = urlsplit(url)
    tls = parts.scheme == "mqtts"
    try:
        port = parts.port or (8883 if tls else 1883)
    except ValueError:
        port = 0
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not port:
        where = url.rpartition("@")[2]  # never a password
        raise BrokerError(f"{where}: expected iotcore, mosquitto, mqtt://host:port or mqtts://host:port")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if not tls:
        ca = cert = key = None
    return Address(parts.hostname, port, user, password, tls, ca, cert, key)


@contextlib.contextmanager
def run_broker(broker_choice: str) -> Iterator[Address]:
    """A broker by its name: `iotcore`, `mosquitto`, or an `mqtt://` address that must answer."""
    if broker_choice == "iotcore":
        with iotcore() as address:
            yield address
    elif broker_choice == "mosquitto":
        with Mosquitto() as broker:
            yield broker.address
    else:
        address = parse_url(broker_choice)
        if not is_reachable(address, 5):
            raise BrokerError(f"{address}: nobody answers there; is the broker running?")
        yield address
