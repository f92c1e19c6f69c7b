"""Errors as a program prints them, with real sockets: other protocols, MQTT 3.1.1, refused connections."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.transports.scripted_servers import read_packet, serve_connections
from tools import broker
from tools.paths import LIB
from tools.vm import process

PROGRAM = Path(__file__).with_name("print_error.py")
CONNACK = b"\x20\x03\x00\x00\x00"

on_each_interpreter = pytest.mark.parametrize("interpreter", ["cpython", "vm"])


def run(interpreter: str, host: str, port: int, **options: object) -> tuple[str, str, str, bool]:
    """Run the program; returns the last line of the traceback, the text, the number, permanent or not."""
    arguments = [str(PROGRAM), json.dumps({"host": host, "port": port, "timeout": 5000, **options})]
    command = [sys.executable] if interpreter == "cpython" else [process.find_executable()]
    environment = dict(os.environ, PYTHONPATH=str(LIB), MICROPYPATH=f"{LIB}{os.pathsep}.frozen")
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, timeout=60)
    found = re.search(r"^(.+)\nstr (.+)\nnumber (.+)\npermanent (\w+)$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return found[1], found[2], found[3], found[4] == "True"


def answer_with(data: bytes, interpreter: str, **options: object) -> tuple[str, str, str, bool]:
    """Run the program against a broker that sends `data` and closes the connection."""

    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(100)

    with serve_connections(serve) as address:
        result = run(interpreter, address.host, address.port, **options)
    assert f"{address.host}:{address.port}" in result[0]
    return result


@on_each_interpreter
@pytest.mark.parametrize(
    ("return_code", "code"), [(0, 0x84), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87)]
)
def test_a_broker_for_mqtt_3_1_1_is_recognized(return_code: int, code: int, interpreter: str) -> None:
    line, _, number, is_permanent = answer_with(bytes((0x20, 2, 0, return_code)), interpreter)
    assert int(number) == code and is_permanent == (code != 0x88)
    assert "the broker has answered in MQTT 3.1.1" in line
    assert ("does not speak MQTT 5" in line) == (code == 0x84)


@on_each_interpreter
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html></html>", "the other end speaks HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "the other end speaks TLS, not MQTT. Pass ssl="),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the other end speaks SSH"),
        (b"220 ready\r\n", "the other end speaks SMTP or FTP"),
        (b"<html>login</html>", "the other end speaks HTML"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08", "does not speak MQTT"),
    ],
    ids=["http", "tls", "ssh", "smtp", "html", "unknown"],
)
def test_another_protocol_is_named(data: bytes, words: str, interpreter: str) -> None:
    line, _, number, is_permanent = answer_with(data, interpreter)
    assert words in line and int(number) in (0x81, 0x82) and not is_permanent


@on_each_interpreter
@pytest.mark.parametrize("data", [b"", b"\x20", b"HT"], ids=["nothing", "one byte", "two letters"])
def test_a_connection_that_is_closed_before_connack_names_the_causes(data: bytes, interpreter: str) -> None:
    line, *_ = answer_with(data, interpreter)
    assert "the other end has closed the connection before CONNACK" in line and "ssl=" in line


@on_each_interpreter
def test_a_refused_connection_has_the_address(interpreter: str) -> None:
    port = broker.free_port()
    line, text, number, is_permanent = run(interpreter, "127.0.0.1", port)
    assert f"127.0.0.1:{port}: " in text and "refused" in text.lower() and text in line
    assert "Is the broker running" in text and int(number) == 111 and not is_permanent
    assert "Error: [Errno 111] 127.0.0.1" in line


@on_each_interpreter
def test_an_unknown_name_has_words(interpreter: str) -> None:
    line, text, *_ = run(interpreter, "no-such-name.invalid", 1883)
    assert "no-such-name.invalid:1883: " in line and text in line
    assert "unknown host" in text and "Is the name right" in text


@on_each_interpreter
@pytest.mark.parametrize("packet_type", [0x20, 0xE0], ids=["connack", "disconnect"])
def test_a_refusal_larger_than_rx_is_reported(packet_type: int, interpreter: str) -> None:
    reason = b"The password is too old. " * 12
    properties = bytes((0x1F, len(reason) >> 8, len(reason) & 0xFF)) + reason
    body = (b"\x00" if packet_type == 0x20 else b"") + b"\x87\xaf\x02" + properties
    packet = bytes((packet_type, len(body) & 0x7F | 0x80, len(body) >> 7)) + body
    if packet_type == 0xE0:
        packet = CONNACK + packet
    line, _, number, is_permanent = answer_with(packet, interpreter, rx=64, poll=packet_type == 0xE0)
    assert int(number) == 0x87 and is_permanent == (packet_type == 0x20)
    assert "Not authorized (0x87)" in line and "The password is too old. " in line and "rx=64" in line


@on_each_interpreter
def test_a_publish_larger_than_rx_names_the_argument(interpreter: str) -> None:
    publish = b"\x30\x85\x27" + b"\x00\x01a\x00" + b"x" * 4993
    line, _, number, _ = answer_with(CONNACK + publish, interpreter, poll=True)
    assert int(number) == 0x95
    assert "PUBLISH of 5000 bytes from the broker: rx is 1024, pass rx=5000 or more" in line
