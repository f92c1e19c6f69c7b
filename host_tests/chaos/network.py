"""The network of the world: access point, DNS, NTP and TCP links between the device and the broker."""

from __future__ import annotations

import json
import random
from typing import Any

from host_tests.chaos.broker import Broker, Connection
from host_tests.chaos.device import Device
from host_tests.chaos.world import SECOND, World

BROKER_ADDRESS, BROKER_NAME = "192.168.1.10", "broker.lan"
NTP_NAME, NTP_ADDRESS = "time.lan", "192.168.1.20"
_DNS_TIMEOUT = 7000  # ms that lwIP waits for a silent server
_SEND_BUFFER = 5744  # bytes that lwIP takes without an acknowledgement
_ECONNRESET, _ECONNREFUSED, _EHOSTUNREACH = 104, 111, 113
_1900 = 2208988800  # seconds from 1900 to 1970


class Link:
    """A TCP connection. Bytes take `latency` ms; a link that is cut off loses them and tells nobody."""

    def __init__(self, network: Network, number: int) -> None:
        self.network = network
        self.world = network.world
        self.number = number
        self.connection: Connection | None = None
        self.is_cut_off = False  # half open: nothing arrives in either direction
        self.is_closed = False
        self.stalled = b""  # bytes of the device that wait for the network
        self.incoming = b""  # bytes of the broker that wait for the network
        self._free_at = 0  # time at which the last byte arrives, so that bytes stay in order

    def _after_latency(self, action: Any) -> None:
        self._free_at = max(self.world.now + self.network.latency(), self._free_at)
        self.world.at(self._free_at, action)

    def send_to_broker(self, data: bytes) -> int:
        """Take bytes of the device; returns how many were taken."""
        if self.network.is_path_up and not self.is_cut_off:
            data = data[: self.network.window]
            self._after_latency(lambda: self._arrive(data))
            return len(data)
        n = min(len(data), _SEND_BUFFER - len(self.stalled))
        self.stalled += data[:n]
        return n

    def _arrive(self, data: bytes) -> None:
        if self.is_cut_off:
            return
        if self.connection and self.connection.is_open:
            self.connection.receive(data)
        elif not self.is_closed:
            self.fail(_ECONNRESET)

    def send_to_device(self, data: bytes) -> None:
        if self.network.is_path_up:
            self._after_latency(lambda: self._push(data))
        else:
            self.incoming += data

    def _push(self, data: bytes) -> None:
        if self.is_cut_off or self.is_closed:
            return
        for at in range(0, len(data), 512):
            self.network.device.push("D", self.number, data[at : at + 512])

    def resume(self) -> None:
        """Continue after the network was away."""
        if self.is_cut_off:
            return
        stalled, self.stalled = self.stalled, b""
        incoming, self.incoming = self.incoming, b""
        if stalled:
            self._after_latency(lambda: self._arrive(stalled))
        if incoming:
            self._after_latency(lambda: self._push(incoming))
        self.network.device.push("S", self.number, b"T")
        if self.connection and not self.connection.is_open:
            self._after_latency(lambda: self.fail(_ECONNRESET))

    def close_by_broker(self) -> None:
        """The broker has closed its end."""
        if self.network.is_path_up and not self.is_cut_off:
            self._after_latency(lambda: self.network.device.push("S", self.number, b"F"))

    def cut_off(self) -> None:
        self.is_cut_off = True

    def fail(self, error: int) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.network.device.push("S", self.number, b"%d" % error)

    def close_by_device(self) -> None:
        self.is_closed = True
        if self.network.is_path_up and not self.is_cut_off and self.connection:
            connection = self.connection
            self._after_latency(lambda: connection.close())


class Network:
    """Everything between the device and the broker, with the faults that are active now."""

    def __init__(self, world: World, device: Device, broker: Broker, rng: random.Random) -> None:
        self.world, self.device, self.broker, self.rng = world, device, broker, rng
        self.links: dict[int, Link] = {}
        # faults
        self.access_point = True
        self.has_dhcp = True
        self.wrong_status: int | None = None
        self.connect_error: str | None = None
        self.radio_hang_ms = 0
        self.password_is_wrong = False
        self.dns = "ok"  # ok, silent, servfail
        self.ntp = "ok"  # ok, silent, lying
        self.slow_ms = 0
        self.window = 4096
        self.is_unreachable = False  # packets to the broker are lost
        self.is_rp2 = bool(device.settings["rp2"])
        self.unix_start = 1798000000  # Unix time at the start of the world
        self._wanted = False
        self._joins = 0
        device.handlers.update({"n": self._wlan, "s": self._socket, "t": self._send, "g": self._getaddrinfo})

    def reset(self) -> None:
        """The device has started: no connection is left."""
        for link in list(self.links.values()):
            link.is_closed = True
            if link.connection and self.is_path_up and not link.is_cut_off:
                pass  # the device is gone without a word; the broker notices it by the keep-alive
        self.links.clear()
        self._wanted = False
        self._joins += 1

    @property
    def is_path_up(self) -> bool:
        return self.device.wifi and not self.is_unreachable

    def latency(self) -> int:
        return self.rng.randint(3, 40) + self.slow_ms

    # ---- Wi-Fi

    def set_access_point(self, is_up: bool) -> None:
        self.access_point = is_up
        self.update_wifi()

    def update_wifi(self) -> None:
        """Disconnect the station, or let it rejoin, after a change."""
        if not self.access_point or not self._wanted:
            if self.device.wifi:
                self.device.wifi = False
                self.device.notify()
        elif not self.device.wifi and not self.is_rp2:
            self._join()  # the ESP32 rejoins by itself

    def _join(self) -> None:
        self._joins += 1
        number = self._joins

        def joined() -> None:
            if number != self._joins or not self._wanted or not self.access_point:
                return
            if self.has_dhcp and not self.password_is_wrong and self.wrong_status is None:
                self.device.wifi = True
                self.device.notify()
                for link in list(self.links.values()):
                    link.resume()

        self.world.after(self.rng.randint(800, 4000), joined)

    def _status(self) -> int:
        if self.device.wifi:
            return 3 if self.is_rp2 else 1010
        if self.wrong_status is not None:
            return self.wrong_status
        if not self._wanted:
            return 0 if self.is_rp2 else 1000
        if not self.access_point:
            return -2 if self.is_rp2 else 201
        if self.password_is_wrong:
            return -3 if self.is_rp2 else 202
        if not self.has_dhcp and self.is_rp2:
            return 2
        return 1 if self.is_rp2 else 1001

    def _wlan(self, data: bytes) -> bytes:
        what, *arguments = json.loads(data)
        answer: dict[str, Any] = {}
        if what == "connect":
            if self.connect_error:
                answer["error"] = self.connect_error
            else:
                self._wanted = True
                self._drop_wifi()
                self._join()
            answer["ms"] = self.radio_hang_ms
        elif what == "disconnect" or (what == "active" and not arguments[0]):
            self._wanted = False
            self._joins += 1
            self._drop_wifi()
        elif what == "status":
            if arguments and arguments[0] == "rssi":
                answer["value"] = -60 if self.device.wifi else 0
                if not self.device.wifi and not self.is_rp2:
                    answer = {"error": "Wifi Not Connected"}
            else:
                answer["value"] = self._status()
        elif what == "scan":
            answer["value"] = []
        return json.dumps(answer).encode()

    def _drop_wifi(self) -> None:
        self.device.wifi = False

    # ---- TCP

    def _socket(self, data: bytes) -> bytes:
        what, number, details = json.loads(data)
        if what == "connect":
            return b"%d" % self._connect(number, *details)
        if what == "sendto":
            (host, port), payload = details
            self._datagram(number, host, port, bytes.fromhex(payload))
        elif what == "close":
            link = self.links.pop(number, None)
            if link:
                link.close_by_device()
        return b"0"

    def _connect(self, number: int, host: str, port: int) -> int:
        link = self.links[number] = Link(self, number)
        if not self.device.wifi:
            return 118
        if host != BROKER_ADDRESS or self.is_unreachable:
            return 0  # no answer
        if not self.broker.is_up:
            link._after_latency(lambda: link.fail(_ECONNREFUSED))
            return 0

        def accepted() -> None:
            if link.is_closed or not self.is_path_up:
                return
            if not self.broker.is_up:
                link.fail(_ECONNREFUSED)
                return
            link.connection = self.broker.accept(link)
            self.device.push("S", number, b"C")

        link._after_latency(accepted)
        return 0

    def _send(self, data: bytes) -> bytes:
        link = self.links.get(int.from_bytes(data[:2], "little"))
        if link is None:
            return b""
        return link.send_to_broker(data[2:]).to_bytes(2, "little")

    # ---- UDP

    def _getaddrinfo(self, data: bytes) -> bytes:
        name = data.decode()
        if self.dns == "silent" or not self.device.wifi:
            return json.dumps([_DNS_TIMEOUT, None]).encode()
        address = self._lookup(name) if self.dns == "ok" else None
        return json.dumps([30, address]).encode()

    def _lookup(self, name: str) -> str | None:
        return {BROKER_NAME: BROKER_ADDRESS, NTP_NAME: NTP_ADDRESS}.get(name)

    def _datagram(self, number: int, host: str, port: int, payload: bytes) -> None:
        if not self.device.wifi:
            return
        answer = None
        if port == 53 and self.dns != "silent":
            answer = self._answer_dns(payload)
        elif port == 123 and host == NTP_ADDRESS and self.ntp != "silent":
            answer = self._answer_ntp(payload)
        if answer is not None:
            source = bytes(int(part) for part in host.split(".")) + port.to_bytes(2, "big")
            data = source + answer
            self.world.after(self.latency(), lambda: self.device.push("U", number, data))

    def _answer_dns(self, query: bytes) -> bytes:
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        address = self._lookup(".".join(labels).lower())
        if self.dns == "servfail" or address is None:
            code = 2 if self.dns == "servfail" else 3
            return query[:2] + bytes([0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]) + question
        record = b"\xc0\x0c\0\1\0\1" + (300).to_bytes(4, "big") + b"\0\4"
        record += bytes(int(part) for part in address.split("."))
        return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + record

    def _answer_ntp(self, request: bytes) -> bytes:
        seconds = self.unix_start + self.world.now // SECOND
        head = b"\x24\x02\x00\xe9"
        if self.ntp == "lying":
            how = self.rng.randrange(4)
            if how == 0:
                head = b"\xe4\x00\x00\xe9"  # not synchronized
            seconds = (seconds, 1000000000, seconds + 86400 * 3650, seconds - 86400 * 20)[how]
        stamp = ((seconds + _1900) & 0xFFFFFFFF).to_bytes(4, "big") + bytes(4)
        return head + bytes(12) + stamp + request[40:48] + stamp + stamp
