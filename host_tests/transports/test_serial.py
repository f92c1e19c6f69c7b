"""Transports over a stream opened by the user: a serial line (a pty bridged to mosquitto) and a socket."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import tty
from collections.abc import Iterator

import pytest

from host_tests.transports.conftest import Certificates
from host_tests.transports.run_scenario import finish, on_each_interpreter, run_scenario, start
from tools import broker

Listeners = dict[str, broker.Address]


class Bridge:
    """A bridge from a serial line (pty) to a broker. It connects to the broker when it receives data."""

    def __init__(self, address: broker.Address) -> None:
        self._address = address
        self._line, self.end = os.openpty()
        for fd in (self._line, self.end):
            tty.setraw(fd)
        os.set_blocking(self.end, False)
        self._wake, self._control = os.pipe()
        self._link: socket.socket | None = None
        self._ignores_input = False  # whether it ignores input until the next CONNECT
        self.connections = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def cut(self) -> None:
        """Close the connection to the broker, and send an incomplete packet to the client."""
        os.write(self._control, b"c")

    def close(self) -> None:
        os.write(self._control, b"q")
        self._thread.join()
        for fd in (self._line, self.end, self._wake, self._control):
            os.close(fd)

    def _run(self) -> None:
        while True:
            link = [self._link] if self._link else []
            ready, _, _ = select.select([self._line, self._wake, *link], [], [])
            if self._wake in ready:
                if os.read(self._wake, 1) == b"q":
                    break
                self._drop()
                self._ignores_input = True
                os.write(self._line, b"\x30\x64\x00\x01a")
            elif self._line in ready:
                self._from_line(os.read(self._line, 4096))
            elif self._link:
                self._from_broker(self._link.recv(4096))
        self._drop()

    def _from_line(self, data: bytes) -> None:
        if self._ignores_input and data[:1] == b"\x10":
            self._ignores_input = False
        if self._ignores_input:
            return
        if not self._link:
            self._link = socket.create_connection((self._address.host, self._address.port))
            self.connections += 1
        with contextlib.suppress(OSError):
            self._link.sendall(data)

    def _from_broker(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            written += os.write(self._line, data[written : written + 1024])
        if not data:
            self._drop()

    def _drop(self) -> None:
        if self._link:
            self._link.close()
            self._link = None


@pytest.fixture
def bridge(listeners: Listeners) -> Iterator[Bridge]:
    running = Bridge(listeners["tcp"])
    yield running
    running.close()


@on_each_interpreter
def test_messages_of_every_size_arrive_over_a_serial_line(interpreter: str, bridge: Bridge) -> None:
    settings = {
        "kind": "serial",
        "fd": bridge.end,
        "sizes": (0, 1, 127, 500, 2000),
        "host": "line",
        "port": 1,
    }
    name = "messages_of_every_size_both_ways"
    finish(start(interpreter, name, None, (bridge.end,), **settings), name)
    assert bridge.connections == 1


@on_each_interpreter
def test_the_client_reconnects_over_the_same_serial_line(interpreter: str, bridge: Bridge) -> None:
    name = "a_serial_line_reconnects"
    settings = {"kind": "serial", "fd": bridge.end, "host": "line", "port": 1}
    process = start(interpreter, name, None, (bridge.end,), **settings)
    try:
        assert process.stdout and process.stdout.readline() == "cut\n"
        bridge.cut()
    finally:
        finish(process, name)
    assert bridge.connections == 2


@on_each_interpreter
def test_messages_of_every_size_arrive_over_a_socket_opened_by_the_user(
    interpreter: str, listeners: Listeners
) -> None:
    run_scenario(interpreter, "messages_of_every_size_both_ways", listeners["tcp"], kind="socket")


@on_each_interpreter
def test_messages_arrive_with_tls_over_a_socket_opened_by_the_user(
    interpreter: str, listeners: Listeners, certificates: Certificates
) -> None:
    settings = {"kind": "socket", "ca": certificates.ca, "sizes": (0, 1, 5000), "secure": True}
    run_scenario(interpreter, "messages_of_every_size_both_ways", listeners["tls"], **settings)


@on_each_interpreter
def test_a_socket_opened_by_the_user_is_used_for_one_connection(
    interpreter: str, listeners: Listeners
) -> None:
    run_scenario(interpreter, "a_socket_is_used_once", listeners["tcp"])
