"""Decodes packets of a client, as `reference_decoder` decodes those of a server."""

from __future__ import annotations

from typing import Any

from host_tests.interop.reference_decoder import Reader


class ClientReader(Reader):
    """Decodes packets of a client as strictly as the standard allows."""

    def bounds(self, identifier: int, kind: str, value: Any) -> None:
        super().bounds(identifier, kind, value)
        if identifier == 0x0B and self.kind == "PUBLISH":
            self.fault("3.3.4-6 subscription identifier from a client", 0x82)

    def known(self, reason: int) -> None:
        if self.kind != "DISCONNECT" or reason != 4:
            super().known(reason)

    def connect(self) -> None:
        if self.text() != "MQTT" or self.number(1) != 5:
            self.fault("3.1.2.1 protocol name or version", 0x84)
        flags = self.number(1)
        if flags & 1 or (not flags & 4 and flags & 0x38) or flags & 0x18 == 0x18:
            self.fault("3.1.2.3 flags", 0x81)
        self.packet.fields.update(clean_start=flags & 2 == 2, keep_alive=self.number(2))
        self.properties()
        self.packet.fields["client_id"] = self.text()
        if flags & 4:
            self.properties()
            self.text()
            self.take(self.number(2))
        if flags & 0x80:
            self.text()
        if flags & 0x40:
            self.take(self.number(2))

    def subscribe(self) -> None:
        self.packet.fields["packet_id"] = self.identifier()
        self.properties()
        filters = self.packet.fields["filters"] = []
        while self.at < self.end:
            filters.append(self.text())
            if self.kind == "SUBSCRIBE":
                options = self.number(1)
                if options & 0xC0 or options & 3 == 3 or options & 0x30 == 0x30:
                    self.fault("3.8.3.1 options", 0x81)
        if not filters:
            self.fault("3.8.3 no filter", 0x82)

    def disconnect(self) -> None:
        self.packet.fields["reason"] = self.reason() if self.end else 0
        if self.at < self.end:
            self.properties()

    def read(self) -> None:
        if self.kind in ("CONNECT", "SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ"):
            if self.flags != (2 if self.kind in ("SUBSCRIBE", "UNSUBSCRIBE") else 0):
                self.fault("2.1.3 reserved flags", 0x81)
            if self.kind == "CONNECT":
                self.connect()
            elif self.kind != "PINGREQ":
                self.subscribe()
            if self.at < self.end:
                self.fault("2.1.4 trailing bytes", 0x81)
        elif self.kind in ("CONNACK", "SUBACK", "UNSUBACK", "PINGRESP", ""):
            self.fault("2.1.2 packet type for servers only", 0x82)
        else:
            super().read()
