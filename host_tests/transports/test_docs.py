"""The examples in docs/transports.md print what their comments say, with a real broker."""

from __future__ import annotations

import re
import select
import shutil
import socket
import time
import types
from pathlib import Path
from typing import Any

import pytest

from host_tests.transports.conftest import Certificates
from host_tests.transports.scripted_servers import read_exactly, serve_connections
from host_tests.transports.test_serial import Bridge
from tools import broker
from tools.paths import ROOT
from umqtt5 import dns
from umqtt5.cpython import compat

PAGE = (ROOT / "docs" / "transports.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_introduction_and_each_section_have_an_example() -> None:
    assert len(BLOCKS) == PAGE.count("\n## ") + 1


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_each_example_prints_what_its_comments_say(
    block: str,
    listeners: dict[str, broker.Address],
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(certificates.ca, tmp_path / "ca.pem")
    shutil.copy(certificates.client, tmp_path / "device.pem")
    monkeypatch.chdir(tmp_path)
    names = {8883: "tls", 8884: "mutual", 8080: "ws", 8443: "wss"}
    ports = {port: listeners[kind].port for port, kind in names.items()}
    real_getaddrinfo = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *rest: Any) -> Any:
        """Find each host on this computer, with the port of the listener."""
        host = "192.168.1.5" if host == "ntp.local" else host
        address = "127.0.0.1" if host.endswith(".local") else host
        return real_getaddrinfo(address, ports.get(port, port), *rest)

    def proxy(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += read_exactly(connection, 1)
        assert request.startswith(b"CONNECT broker.local:8883 HTTP/1.1\r\n")
        target = listeners["tls"]
        with socket.create_connection((target.host, target.port)) as link:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            peers = {connection: link, link: connection}
            while True:
                for ready in select.select(list(peers), [], [])[0]:
                    data = ready.recv(4096)
                    if not data:
                        return
                    peers[ready].sendall(data)

    bridge = Bridge(listeners["tcp"])
    machine = types.ModuleType("machine")
    machine.UART = lambda *_, **__: open(bridge.end, "rb+", buffering=0, closefd=False)  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "machine", machine)
    expected = re.findall(r"print\(.*\) {2}# (.+)$", block, re.MULTILINE)
    try:
        with serve_connections(proxy) as address:
            ports[3128] = address.port
            monkeypatch.setattr(dns, "_cache", {})
            for name in ("sleep_ms", "ticks_ms"):
                monkeypatch.setattr(time, name, getattr(compat, name), raising=False)
            monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
            exec(compile(block, "docs/transports.md", "exec"), {})
            monkeypatch.undo()
    finally:
        bridge.close()
    assert capsys.readouterr().out.splitlines() == expected and expected
