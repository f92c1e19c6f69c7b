"""Hostile servers on the port of a broker: they answer CONNECT, and then attack the client.

Each persona is a function for `serve_connections` of `host_tests.transports`: it gets the connection.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import time
from collections.abc import Callable

from host_tests.attack.hostile_text import LONG, MARKUP, OSC_TITLE, PATHS, SCRIPT, TERMINAL_TEXTS
from host_tests.transports.scripted_servers import read_packet

Persona = Callable[[socket.socket], None]

_REASON_STRING, _USER_PROPERTY, _SERVER_REFERENCE, _ASSIGNED_ID = 0x1F, 0x26, 0x1C, 0x12
_EVIL = "".join(TERMINAL_TEXTS).replace("\x00", "")
_NAMES = ("d", *(text.replace("/", "|").replace("+", "").replace("#", "") for text in TERMINAL_TEXTS), "..")


def _string(text: str | bytes) -> bytes:
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return struct.pack(">H", len(data[:65535])) + data[:65535]


def _varint(number: int) -> bytes:
    data = b""
    while True:
        number, low = number >> 7, number & 0x7F
        data += bytes([low | 0x80 if number else low])
        if not number:
            return data


def _properties(*pairs: tuple[int, str | bytes]) -> bytes:
    data = b""
    for identifier, text in pairs:
        data += bytes([identifier])
        data += _string("key") + _string(text) if identifier == _USER_PROPERTY else _string(text)
    return _varint(len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    """Return a packet with this first byte."""
    return bytes([first]) + _varint(len(body)) + body


def connack(code: int = 0, *pairs: tuple[int, str | bytes]) -> bytes:
    """Return a CONNACK with a reason code and properties."""
    return packet(0x20, bytes([0, code]) + _properties(*pairs))


def disconnect(code: int, *pairs: tuple[int, str | bytes]) -> bytes:
    """Return a DISCONNECT with a reason code and properties."""
    return packet(0xE0, bytes([code]) + _properties(*pairs))


def publish(topic: str | bytes, payload: str | bytes, qos: int = 0, retain: bool = True) -> bytes:
    """Return a PUBLISH."""
    data = payload.encode(errors="surrogatepass") if isinstance(payload, str) else payload
    number = struct.pack(">H", 1) if qos else b""
    return packet(0x30 | qos << 1 | retain, _string(topic) + number + b"\x00" + data)


def _answer_once(answer: bytes) -> Persona:
    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        connection.sendall(answer)
        time.sleep(0.2)

    return serve


def _accept_then(make: Callable[[str], itertools.chain[bytes] | list[bytes]], pause: float = 0) -> Persona:
    """Accept the connection and each subscription, and send what `make(prefix)` returns.

    `prefix` is the first part of the topics that the client has subscribed to.
    """

    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        connection.sendall(connack())
        sent = False
        while True:
            first, body = read_packet(connection)
            if first >> 4 == 8:  # SUBSCRIBE
                connection.sendall(_suback(body))
                if not sent:
                    sent = True
                    for data in make(_prefix(body)):
                        connection.sendall(data)
                        time.sleep(pause)
            elif first >> 4 == 12:  # PINGREQ
                connection.sendall(packet(0xD0, b""))
            elif first & 0xF6 == 0x32:  # PUBLISH with QoS 1
                length = struct.unpack(">H", body[:2])[0]
                connection.sendall(packet(0x40, body[2 + length : 4 + length]))

    return serve


def _suback(subscribe: bytes) -> bytes:
    """Return the SUBACK that grants QoS 1 to each topic filter of a SUBSCRIBE."""
    at, count = 2 + 1 + subscribe[2], 0
    while at < len(subscribe):
        at += 2 + struct.unpack(">H", subscribe[at : at + 2])[0] + 1
        count += 1
    return packet(0x90, subscribe[:2] + b"\x00" + b"\x01" * count)


def _prefix(subscribe: bytes) -> str:
    """Return the topic filter of a SUBSCRIBE up to the first wildcard, or up to the part of `update`."""
    at = 2 + 1 + subscribe[2]  # identifier, length of properties (below 128), properties
    length = struct.unpack(">H", subscribe[at : at + 2])[0]
    text = subscribe[at + 2 : at + 2 + length].decode(errors="replace")
    return text.split("/+")[0].split("/update")[0].split("/dut")[0]


def _hostile_messages(prefix: str) -> list[bytes]:
    messages = []
    for name, text in itertools.product(_NAMES, (*TERMINAL_TEXTS, "ON")):
        for topic, payload in (
            ("status", text),
            ("sensor/a", "1"),
            (f"sensor/{name}", "2.5"),
            (f"sensor/{name}/error", text),
            (f"switch/{name}", text),
            ("switch/lamp", json.dumps({"state": text})),
            ("health", json.dumps({text: text, "uptime": text, "n": 1})),
            ("answer", text),
            ("crash", text),
        ):
            messages.append(publish(f"{prefix}/{name}/{topic}", payload))
    return messages


def _numbers(prefix: str) -> list[bytes]:
    texts = (
        "NaN",
        "1e999",
        "-1e999",
        "1e15",
        "inf",
        "0x10",
        "1_000",
        "\u0661",
        "9" * 5000,
        "1e-400",
        "",
        " 1 ",
    )
    messages = [publish(f"{prefix}/d/status", "online")]
    for text in texts:
        messages.append(publish(f"{prefix}/d/sensor/a", text))
        messages.append(publish(f"{prefix}/d/health", f'{{"a": {text or 0}, "b": "{text}"}}'))
    return messages


def _paths(prefix: str) -> list[bytes]:
    return [
        publish(f"{prefix}/{name}/{topic}", payload)
        for name in ("..", "../..", "%2e%2e", *(path.replace("\x1b", "") for path in PATHS))
        for topic, payload in (("status", "online"), ("sensor/a", "1"), ("switch/../x", "ON"))
    ]


def _many_devices(prefix: str) -> list[bytes]:
    return [
        b"".join(publish(f"{prefix}/d{number + part}/sensor/r{number % 977}", "1") for part in range(100))
        for number in range(0, 60000, 100)
    ]


def _large_payloads(prefix: str) -> list[bytes]:
    nested = "[" * 30000 + "]" * 30000
    return [
        publish(f"{prefix}/d/{topic}", payload)
        for topic in ("status", "sensor/a", "switch/a", "health", "update", "answer")
        for payload in (
            LONG[:60000],
            nested,
            '{"state": ' * 6000,
            b"\xff\xfe" * 20000,
            "\x1b]0;OWNED" + LONG[:60000],
        )
    ]


def _broken_text(prefix: str) -> list[bytes]:
    return [
        publish(f"{prefix}/d/status", b"\xff\xfe\x80\x00"),
        publish(f"{prefix}/".encode() + b"\xc3\x28/status", b"online"),
        publish(f"{prefix}/\ud800/status", b"online"),
    ]


def _update_states(prefix: str) -> list[bytes]:
    """States of an update that end each wait of the command `update`, with hostile reasons."""
    states = [
        {"state": "idle", "nonce": OSC_TITLE, "version": OSC_TITLE},
        {"nonce": "0" * 32, "state": _EVIL, "version": _EVIL, "offer": _EVIL},
        {"nonce": "0" * 32, "state": "failed", "reason": _EVIL, "refused_offer": {}, "refused": _EVIL},
    ]
    return [
        data
        for state in states
        for data in (
            publish(f"{prefix}/dut/update", json.dumps(state)),
            publish(f"{prefix}/dut/update/request", "[1e999, -1, []]"),
            publish(f"{prefix}/dut/update/request", "[" * 5000),
        )
    ]


def _refused_update(state: dict[str, object]) -> Persona:
    """A device that answers the offer of the command `update` with `state` and the tag of the offer."""

    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        connection.sendall(connack())
        while True:
            first, body = read_packet(connection)
            if first >> 4 == 8:
                connection.sendall(_suback(body))
                initial = {"nonce": "0" * 32, "state": "installed", "version": 1}
                connection.sendall(publish(f"{_prefix(body)}/dut/update", json.dumps(initial)))
            elif first & 0xF0 == 0x30:
                length = struct.unpack(">H", body[:2])[0]
                connection.sendall(packet(0x40, body[2 + length : 4 + length]))
                tag = body.rpartition(b"\n")[2][:8].decode(errors="replace")
                topic = body[2 : 2 + length].decode(errors="replace").removesuffix("/set")
                answer = {"nonce": "0" * 32, "offer": tag, "refused_offer": tag, **state}
                connection.sendall(publish(topic, json.dumps(answer)))

    return serve


def _silence(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def _slow_drip(connection: socket.socket) -> None:
    read_packet(connection)
    for byte in connack(0, (_REASON_STRING, "x" * 60000)):
        connection.sendall(bytes([byte]))
        time.sleep(0.4)


def _flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"\x30\xff\xff\xff\x7f" + b"x" * 65536)


def _http(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(f"HTTP/1.1 400 {OSC_TITLE}\r\nServer: {_EVIL}\r\n\r\n{SCRIPT}".encode())


def _tls(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")


_ALL_TEXTS = ((_REASON_STRING, _EVIL), (_USER_PROPERTY, _EVIL))

PERSONAS: dict[str, Persona] = {
    "hostile messages": _accept_then(_hostile_messages),
    "readings that are no numbers": _accept_then(_numbers),
    "device names that are paths": _accept_then(_paths),
    "many devices": _accept_then(_many_devices),
    "large payloads": _accept_then(_large_payloads),
    "invalid UTF-8": _accept_then(_broken_text),
    "hostile update states": _accept_then(_update_states),
    "refused update": _refused_update({"state": "installed", "refused": _EVIL, "version": _EVIL}),
    "failed update": _refused_update({"state": "failed", "reason": _EVIL, "refused_offer": None}),
    "update of another version": _refused_update(
        {"state": "installed", "version": _EVIL, "rolled_back": _EVIL}
    ),
    "refusal": _answer_once(connack(0x87, *_ALL_TEXTS)),
    "refusal with another server": _answer_once(connack(0x9C, *_ALL_TEXTS, (_SERVER_REFERENCE, _EVIL))),
    "another server at a path": _answer_once(
        connack(0x9D, (_SERVER_REFERENCE, "../../x:99999999999 [::1:x http://u:p@h"))
    ),
    "client identifier": _answer_once(connack(0, (_ASSIGNED_ID, _EVIL))),
    "disconnect": _answer_once(connack() + disconnect(0x8E, *_ALL_TEXTS)),
    "disconnect with another server": _answer_once(
        connack() + disconnect(0x9C, *_ALL_TEXTS, (_SERVER_REFERENCE, _EVIL))
    ),
    "invalid UTF-8 in a reason": _answer_once(connack(0x87, (_REASON_STRING, b"\xff\xfe\x00"))),
    "markup in a reason": _answer_once(connack(0x87, (_REASON_STRING, MARKUP))),
    "unknown reason code": _answer_once(connack(0x55)),
    "large reason": _answer_once(connack(0x87, (_REASON_STRING, LONG))),
    "endless packet": _flood,
    "silence": _silence,
    "slow answer": _slow_drip,
    "an HTTP server": _http,
    "a TLS server": _tls,
    "closed at once": lambda connection: None,
    "random bytes": lambda connection: connection.sendall(bytes(range(256)) * 16),
}


def random_persona(choice: Callable[[int], int]) -> Persona:
    """Return a broker that sends packets with random errors. `choice(n)` returns a random number below n."""

    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        if choice(4):
            connection.sendall(connack())
        kinds = (_hostile_messages, _numbers, _paths, _large_payloads, _broken_text, _update_states)
        pool = [data for make in kinds for data in make("umqtt5")]
        pool += [disconnect(choice(256), *_ALL_TEXTS), connack(choice(256), *_ALL_TEXTS)]
        for _ in range(200):
            data = bytearray(pool[choice(len(pool))])
            for _ in range(choice(3)):
                data[choice(len(data))] = choice(256)
            connection.sendall(data)
        time.sleep(1)

    return serve
