"""The other side: answers MQTT 3.1.1 and 5.0 as fast as Python can, and does nothing else.

A process of its own, so that it and the client each have a processor. It keeps no state but the
protocol's version and one subscription: what a broker would do beside that is not measured.
"""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import dataclass, field

CONNACK = {4: b"\x20\x02\x00\x00", 5: b"\x20\x06\x00\x00\x03\x22\x00\xff"}  # 255 topic aliases
SEND = b"bench/send"  # a message to this topic has as many sent as its payload says
PAYLOAD = b"0123456789abcdef0123456789abcdef"
_BLOCK = 200  # messages a write
_PAUSE = 0.0005  # seconds


@dataclass
class Responder:
    """One connection."""

    connection: socket.socket
    version: int = 4
    message: bytes = b""
    send_alias: bytes = b""  # the Topic Alias that the client uses for SEND
    only_qos_0: bool = False  # of what came last
    _in: bytearray = field(default_factory=lambda: bytearray(1 << 18))

    def serve(self) -> None:
        have = 0
        view = memoryview(self._in)
        while True:
            if self.only_qos_0:
                # whoever writes to a reader that waits pays for waking it: let some gather
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
        """Answer the packets that are whole; returns how many bytes they are."""
        data = self._in
        at = 0
        while at + 2 <= have:
            size = data[at + 1]
            end = at + 2 + size
            if size > 0x7F or end > have:  # nothing that is measured is larger
                return at
            first = data[at]
            # messages of QoS 0 come most: of them only one that may ask for some is looked at
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
        """Keep what a message to this subscription looks like; returns the SUBACK."""
        at, properties = 2, b""
        if self.version == 5:
            at = 3 + body[2]
            if body[2]:
                properties = b"\x0b" + body[4:at]  # the Subscription Identifier, the only one sent
            properties = bytes((len(properties),)) + properties
        size = body[at] << 8 | body[at + 1]
        message = body[at : at + 2 + size] + properties + PAYLOAD
        self.message = bytes((0x30, len(message))) + message
        code = b"\x00\x00" if self.version == 5 else b"\x00"
        return bytes((0x90, 2 + len(code))) + body[:2] + code

    def handle_publish(self, topic: bytes, rest: bytes) -> None:
        """Send as many messages as a message to SEND says, by whatever alias it comes."""
        alias = b""
        if self.version == 5:
            alias, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        if topic == SEND:
            self.send_alias = alias
        if topic == SEND or alias == self.send_alias:
            self.send(int(rest))

    def send(self, count: int) -> None:
        block = self.message * _BLOCK
        for _ in range(count // _BLOCK):
            self.connection.sendall(block)
        self.connection.sendall(self.message * (count % _BLOCK))


def main() -> None:
    """Print the port and serve until the one who started us is gone."""
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
    main()
