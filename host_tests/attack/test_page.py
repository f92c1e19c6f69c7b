"""Hostile clients of the page of the monitor: requests, headers and WebSocket messages."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from host_tests.attack import hostile_broker
from host_tests.attack.checks import find_faults
from host_tests.attack.sandbox import make_sandbox
from host_tests.attack.terminal import Run
from host_tests.transports.scripted_servers import serve_connections
from tools.paths import ROOT

_PAGE = ROOT / "tools" / "monitor" / "page"
_PATHS = (
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/web.py",
    "/../web.py",
    "/..\\web.py",
    "//etc/passwd",
    "/etc/passwd",
    "/web.py",
    "/app.js%00.html",
    "/page/app.js",
    "/index.html/../../web.py",
    "/%1b%5d0;OWNED%07",
    "/<script>alert(1)</script>",
    "/" + "x" * 100_000,
    "http://evil.example/",
)
_MESSAGES = (
    "",
    "x" * 1000,
    "[" * 1000,
    '{"a":' * 200,
    "null",
    "7e999",
    '{"device": 1, "switch": [], "payload": {}}',
    '{"device": "\\ud800", "switch": "\\u001b]0;OWNED\\u0007", "payload": "ON"}',
    '{"device": "../..", "switch": "x", "payload": "ON\\u0000"}',
    '{"device": "d", "switch": "lamp", "payload": "\\u001b[2J"}',
    "9" * 1000,
    b"\xff\xfe",
    b'{"device": "d"}',
)
_RAW = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # a TLS handshake
    b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc",
    bytes(range(256)) * 40,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x1b]0;OWNED\x07 / HTTP/1.1\r\nHost: \x1b]0;OWNED\x07\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 20000,
)


@dataclass
class RunningPage:
    """The page of a monitor whose broker is hostile."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    @property
    def live(self) -> str:
        """The URL of the WebSocket, with the token."""
        parts = urlsplit(self.url)
        return f"ws://{parts.netloc}/live?{parts.query}"

    def get(self, path: str = "/app.js", **headers: str) -> tuple[int, bytes]:
        """Return the status and the body of a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest("GET", path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[RunningPage]:
    """A running page. At the end it must still run, and have printed nothing that an attacker controls."""
    sandbox = make_sandbox(tmp_path)
    with serve_connections(hostile_broker.PERSONAS["hostile messages"]) as address:
        broker = f"mqtt://127.0.0.1:{address.port}"
        process = subprocess.Popen(
            [sys.executable, "-m", "tools", "monitor", "--web", "--broker", broker],
            cwd=sandbox.work,
            env=sandbox.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, line
            yield RunningPage(found[0], process)
            assert process.poll() is None
        finally:
            process.terminate()
            output = process.communicate(timeout=30)[0]
    snapshot = sandbox.snapshot()
    assert find_faults(Run(0, output.encode(errors="replace"), 0), snapshot, snapshot) == []


def test_a_path_never_leads_outside_of_the_page(page: RunningPage) -> None:
    files = {path.read_bytes() for path in _PAGE.iterdir()}
    for path in _PATHS:
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            try:
                status, body = page.get(path)
            except ValueError:  # http.client itself refuses such a path
                continue
            assert status < 500, path
            # without the token the page itself is refused
            assert status in (400, 403, 404, 414) or body in files, path
    assert page.get()[0] == 200


@pytest.mark.parametrize(
    "host", ("evil.example", "127.0.0.1.evil.example", "", "[", "x\x1b]0;OWNED\x07", "[::1]:x")
)
def test_another_host_is_refused(page: RunningPage, host: str) -> None:
    with contextlib.suppress(ValueError):  # http.client itself refuses control characters
        assert page.get("/", Host=host)[0] in (400, 404)
    assert page.get()[0] == 200


def test_bytes_that_are_no_request_do_not_end_the_server(page: RunningPage) -> None:
    for data in _RAW:
        with socket.create_connection(("127.0.0.1", page.port), 20) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                assert not connection.recv(65536).startswith(b"HTTP/1.1 5")
    assert page.get()[0] == 200


def test_messages_that_are_no_commands_do_not_end_the_server(page: RunningPage) -> None:
    origin = f"http://127.0.0.1:{page.port}"
    for message in _MESSAGES:
        with contextlib.suppress(ConnectionClosed), connect(page.live, origin=origin) as client:  # type: ignore[arg-type]
            client.recv(20)
            client.send(message)
            client.recv(20)
    with connect(page.live, origin=origin) as client:  # type: ignore[arg-type]
        client.send("x" * 100_000)  # larger than a message may be
        with pytest.raises(ConnectionClosed):
            while True:
                client.recv(20)
    assert page.get()[0] == 200


def test_each_file_forbids_scripts_of_others(page: RunningPage) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)
    query = urlsplit(page.url).query
    for path in ("/", f"/?{query}", "/app.js", "/style.css", f"/history.csv?{query}"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert "default-src 'none'" in (response.getheader("Content-Security-Policy") or ""), path
        assert response.getheader("X-Content-Type-Options") == "nosniff", path
    connection.close()


def test_the_script_of_the_page_inserts_text_only() -> None:
    script = (_PAGE / "app.js").read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script
    )
