"""Starts MQTT brokers on loopback (iotcore, mosquitto, ejabberd), and parses the URL of a broker."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tools.errors import UserError
from tools.text_files import read_bytes


class BrokerError(UserError):
    """Error of a broker: not installed, not started, not reachable, or a malformed URL."""


@dataclass(frozen=True)
class Address:
    """Address of a broker, with the user name, password and certificates for it."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: Path | None = None  # CA certificate; None for the CA certificates of the system
    cert: Path | None = None  # client certificate
    key: Path | None = None  # private key of the client certificate

    def __str__(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"

    def ssl_context(self) -> Any:
        """Return the argument for `Client(ssl=)`, None without TLS. Raises UserError for a bad file."""
        if not self.tls:
            return None
        for path in (self.ca, self.cert, self.key):
            if path:
                read_bytes(path)  # a pipe or a device would hang OpenSSL
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path)
            raise BrokerError(f"{names}: cannot read the certificate: {error}") from error
        return context


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that is free at an IPv4 address of this computer, by default on loopback.

    The port is never an ephemeral port: the system could assign an ephemeral port to an outgoing connection
    before the broker listens, or while the broker restarts.
    """
    while True:
        port = secrets.randbelow(12000) + 20000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port


def is_reachable(address: Address, timeout: float = 1) -> bool:
    """Return whether the port accepts connections within `timeout` seconds."""
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
"""
# for one version of MQTT: v4 is 3.1.1, v5 is 5.0
_IOTCORE_LISTENER = """\
[{version}.1]
name = "{version}-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1
    [{version}.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 2048000
    max_inflight_count = 100
    dynamic_filters = true
"""


@contextlib.contextmanager
def iotcore() -> Iterator[Address]:
    """Run iotcore (rumqttd), with a listener for MQTT 5.0 on loopback."""
    address = Address("127.0.0.1", free_port())
    with run_iotcore(address):
        yield address


@contextlib.contextmanager
def run_iotcore(address: Address, port_311: int | None = None) -> Iterator[Any]:
    """Run iotcore at an address with a listener for MQTT 5.0, and yield its object.

    With a user in `address`, all clients need this login. `port_311` is the port for MQTT 3.1.1, None for
    none. Raises OSError or RuntimeError if it does not start.
    """
    from iotcore import Broker

    listeners = [("v5", address.port)] + ([("v4", port_311)] if port_311 else [])
    text = _IOTCORE
    for version, port in listeners:
        text += _IOTCORE_LISTENER.format(version=version, host=address.host, port=port)
        if address.user:
            # a JSON string without control characters is also a string of TOML
            login = [json.dumps(one or "", ensure_ascii=False) for one in (address.user, address.password)]
            text += f"    [{version}.1.connections.auth]\n    {login[0]} = {login[1]}\n"
    with tempfile.TemporaryDirectory() as folder:  # only this user can read it
        config = Path(folder) / "iotcore.toml"
        config.write_text(text, encoding="utf-8")
        broker = Broker(config_path=str(config))
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()


def find_mosquitto() -> str | None:
    """Return the path of mosquitto, or None. Debian installs it in /usr/sbin, often not on the PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def _wait_for(address: Address, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Wait up to `seconds` until a broker listens. Raises BrokerError with the end of its log."""
    deadline = time.monotonic() + seconds
    while not is_reachable(address):
        if process.poll() is not None or time.monotonic() > deadline:
            text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            raise BrokerError(f"{address}: the broker did not start. End of its log: {text.strip()[-300:]}")
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
    """Return the folder of the compiled code of ejabberd. None if ejabberd or Erlang is not installed."""
    found = sorted(Path("/usr/lib").glob("**/ejabberd-*/ebin/ejabberd.app"))
    return found[-1].parent if found and shutil.which("erl") else None


@contextlib.contextmanager
def ejabberd() -> Iterator[Address]:
    """Run ejabberd as a single process, without ejabberdctl and without a cluster. Raises BrokerError."""
    code = find_ejabberd()
    if code is None:
        raise BrokerError("ejabberd is not installed. Run: apt-get install ejabberd")
    # ejabberd accepts any password, but the user name must end with a host name that it serves
    address = Address("127.0.0.1", free_port(), "tester@localhost", "any")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ejabberd.yml").write_text(_EJABBERD.format(port=address.port), encoding="utf-8")
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
    """mosquitto with a listener on loopback.

    `lines` are added to its configuration after the listener, `global_lines` before it.
    """

    def __init__(self, *lines: str, anonymous: bool = True, global_lines: Iterable[str] = ()) -> None:
        program = find_mosquitto()
        if program is None:
            raise BrokerError(
                "mosquitto is not installed. Run: apt-get install mosquitto, or omit BROKER to use iotcore"
            )
        self._program = program
        self._global_lines = list(global_lines)
        self._lines = [f"allow_anonymous {str(anonymous).lower()}", *lines]
        self.address = Address("127.0.0.1", free_port())
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory()

    def start(self) -> None:
        """Start the broker, or restart it after `stop`, and wait until it listens. Raises BrokerError."""
        config = Path(self._folder.name) / "mosquitto.conf"
        listener = f"listener {self.address.port} {self.address.host}"
        # when root starts mosquitto, it would switch to the user mosquitto, who cannot read the folder
        lines = ["user root", *self._global_lines, listener, *self._lines]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        log = open(Path(self._folder.name) / "log", "ab")
        with log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # all listeners: it opens one after the other
        ports = [int(line.split()[1]) for line in self._lines if line.startswith("listener ")]
        for port in (self.address.port, *ports):
            address = Address(self.address.host, port)
            _wait_for(address, self._process, Path(self._folder.name) / "log", 20)

    def reload(self) -> None:
        """Make the broker read its files again, as `systemctl reload mosquitto` does: send SIGHUP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self, graceful: bool = False) -> None:
        """Stop the broker. With `graceful` it saves its state; otherwise it is killed."""
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
    """Parse `mqtt://[user@]host[:port]`, or `mqtts://` for TLS. Raises BrokerError.

    A password in the URL is refused: the list of processes and the history of the shell show it. Escapes such
    as `%40` in the user name are decoded. The certificates are ignored without TLS.
    """
    userinfo, at, shown = url.rpartition("@")  # `shown` is without a password, also if the URL is malformed
    scheme, _, user = userinfo.partition("://")
    if ":" in user:
        raise BrokerError(
            f"{shown}: the URL has a password, which the list of processes and the history of the shell "
            "show. Nothing was sent. Change this password, and give only the user in the URL, such as "
            f"mqtts://me@{shown}: the password comes from --password-file, the environment variable "
            "MQTT_PASSWORD, the keyring or a prompt (docs/passwords.md)"
        )
    try:
        parts = urlsplit(url)
        tls = parts.scheme == "mqtts"
        port = parts.port or (8883 if tls else 1883)
        user = unquote(user, errors="strict")
        is_good = parts.scheme in ("mqtt", "mqtts") and bool(parts.hostname) and parts.path in ("", "/")
        is_good = is_good and not parts.query and not parts.fragment
    except ValueError:
        is_good = False
    if not is_good or not parts.hostname or (at and not user):
        raise BrokerError(f"{shown}: expected iotcore, mosquitto, mqtt://host:port or mqtts://host:port")
    if not tls:
        ca = cert = key = None
    return Address(parts.hostname, port, user or None, None, tls, ca, cert, key)


@contextlib.contextmanager
def run_broker(broker_choice: str, resolve: Callable[[str], Address] = parse_url) -> Iterator[Address]:
    """Start `iotcore` or `mosquitto`, or check that the broker at a URL is reachable. Raises BrokerError.

    `resolve` returns the address of a URL.
    """
    if broker_choice == "iotcore":
        with iotcore() as address:
            yield address
    elif broker_choice == "mosquitto":
        with Mosquitto() as broker:
            yield broker.address
    else:
        address = resolve(broker_choice)
        if not is_reachable(address, 5):
            raise BrokerError(f"{address}: the broker does not answer. Start it, or check host and port")
        yield address
