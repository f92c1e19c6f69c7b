"""Minimal MQTT responder of the benchmark: acknowledges MQTT 3.1.1 and 5.0 packets, sends messages.

It replaces a broker, so that the benchmark does not measure the work of a broker. It runs in its own
process, so that it and the client can each use a CPU core. For each connection it stores only the protocol
version, one subscription and one alias.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from dataclasses import dataclass, field

CONNACK = {4: b"\x20\x02\x00\x00", 5: b"\x20\x06\x00\x00\x03\x22\x00\xff"}  # Topic Alias Maximum 255
SEND = b"bench/send"  # the payload of a message to this topic is the number of messages to send
PAYLOAD = b"0123456789abcdef0123456789abcdef"
_MESSAGES_PER_WRITE = 200
_PAUSE = 0.0005  # seconds


@dataclass
class Responder:
    """One connection of a client."""

    connection: socket.socket
    version: int = 4  # protocol version of CONNECT: 4 is MQTT 3.1.1, 5 is MQTT 5.0
    message: bytes = b""  # PUBLISH packet that is sent when the client requests messages
    send_alias: bytes = b""  # Topic Alias property that the client uses for SEND
    only_qos_0: bool = False  # whether the latest input had only QoS 0 messages
    _in: bytearray = field(default_factory=lambda: bytearray(1 << 18))

    def serve(self) -> None:
        """Answer packets until the client closes the connection."""
        have = 0  # bytes in `_in`
        view = memoryview(self._in)
        while True:
            if self.only_qos_0:
                # Let messages accumulate: a write to a socket whose reader is waiting costs the writer
                # the time to wake the reader.
                time.sleep(_PAUSE)
            self.only_qos_0 = True
            n = self.connection.recv_into(view[have:])
            if not n:
                return
            have += n
            out = bytearray()
            used = self._packets(have, out)
            if out:
                self.connection.sendall(out)
            if used < have:
                self._in[: have - used] = bytes(view[used:have])
            have -= used

    def _packets(self, have: int, out: bytearray) -> int:
        """Append the answers to all complete packets to `out`; returns how many bytes were used."""
        data = self._in
        at = 0
        while at + 2 <= have:
            size = data[at + 1]
            end = at + 2 + size
            if size > 0x7F or end > have:  # incomplete; no packet of the benchmark is longer than 127 bytes
                return at
            first = data[at]
            # For speed, skip QoS 0 messages that are at least as long as PAYLOAD: only requests are shorter.
            if first != 0x30 or size < len(PAYLOAD):
                self._packet(first, bytes(data[at + 2 : end]), out)
            at = end
        return at

    def _packet(self, first: int, body: bytes, out: bytearray) -> None:
        self.only_qos_0 = False
        kind = first & 0xF0
        if kind == 0x30:
            topic = 2 + (body[0] << 8 | body[1])
            if first & 6:
                out += bytes((0x40 if first & 6 == 2 else 0x50, 2)) + body[topic : topic + 2]
            else:
                self.handle_publish(body[2:topic], body[topic:])
        elif kind == 0x60:
            out += b"\x70\x02" + body[:2]
        elif kind == 0x10:
            self.version = body[6]
            out += CONNACK[self.version]
        elif kind == 0x80:
            out += self.handle_subscribe(body)
        elif kind == 0xC0:
            out += b"\xd0\x00"

    def handle_subscribe(self, body: bytes) -> bytes:
        """Build the PUBLISH packet of this subscription; returns the SUBACK."""
        at, properties = 2, b""
        if self.version == 5:
            at = 3 + body[2]
            if body[2]:
                properties = b"\x0b" + body[4:at]  # Subscription Identifier, the only property sent
            properties = bytes((len(properties),)) + properties
        size = body[at] << 8 | body[at + 1]
        message = body[at : at + 2 + size] + properties + PAYLOAD
        self.message = bytes((0x30, len(message))) + message
        code = b"\x00\x00" if self.version == 5 else b"\x00"
        return bytes((0x90, 2 + len(code))) + body[:2] + code

    def handle_publish(self, topic: bytes, rest: bytes) -> None:
        """If the message is a request (SEND or its alias), send as many messages as it says."""
        alias = b""
        if self.version == 5:
            alias, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        if topic == SEND:
            self.send_alias = alias
        if topic == SEND or alias == self.send_alias:
            self.send(int(rest))

    def send(self, count: int) -> None:
        """Send `count` messages to the subscribed topic."""
        block = self.message * _MESSAGES_PER_WRITE
        for _ in range(count // _MESSAGES_PER_WRITE):
            self.connection.sendall(block)
        self.connection.sendall(self.message * (count % _MESSAGES_PER_WRITE))


def main() -> None:
    """Listen on a free loopback port, print it, and serve one client at a time until terminated."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                try:
                    Responder(connection).serve()
                except ConnectionError as error:
                    print(error, file=sys.stderr)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the benchmark, which prints what is to be said
        main()
