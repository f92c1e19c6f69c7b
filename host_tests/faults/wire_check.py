"""Checks the packets of a client on the wire, across its connections: see `WireCheck`."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, TextIO

from host_tests.faults.client_reader import ClientReader
from host_tests.faults.soak_checks import POISON
from host_tests.interop.reference_decoder import Reader, _Stop, read_frame
from host_tests.interop.reference_packets import Packet

_FIRST_SUBSCRIBE_ID = 0x8000
_NUMBERED = re.compile(rb"(\d+)/(\d+)/")
_EXPECTED_DISCONNECTS = (0x8B, 0x8D, 0x8E)  # server shutting down, keep alive timeout, session taken over
Key = tuple[str, int, int]  # (folder of the topic: "up" or "down", stream, number)


class _Connection:
    """State of one connection. It ends when the client sends the CONNECT of the next one."""

    def __init__(self) -> None:
        self.buffers = {True: bytearray(), False: bytearray()}
        self.kinds: deque[str] = deque(maxlen=30)  # of the last packets, for messages
        self.is_connected = self.is_closed = False
        self.aliases: dict[int, str] = {}
        self.unanswered: dict[int, Key] = {}  # messages of the client, until PUBACK or PUBCOMP
        self.highest: dict[tuple[str, int], int] = {}  # number by stream
        self.subscribes: dict[int, list[str]] = {}
        self.due_acks: deque[tuple[str, int]] = deque()  # PUBACK and PUBREC, in the order of arrival
        self.due_pubcomps: list[int] = []
        self.limits: dict[int, int] = {}


class WireCheck:
    """Checks what one client sends, and which of its messages the broker has acknowledged.

    Rules, beside those of `ClientReader`: the client obeys the limits in CONNACK and sends nothing before it.
    Acknowledgements have the order of arrival. In each connection, the messages of a stream are in order. In
    a resumed session, a message is sent again with DUP and the same packet identifier. It is not sent again
    after PUBREL. A topic alias stands for the topic to which the message was published.

    `on_session_lost` is called when the broker begins a new session, and when it has the subscription again.
    Each packet is written to `log`. `observe` is called by the proxy. Payloads and topics are those of the
    soak test: `<stream>/<number>/...`.
    """

    def __init__(self, unique: str, on_session_lost: Callable[[], None], log: TextIO | None = None) -> None:
        self._unique = unique
        self._on_session_lost = on_session_lost
        self._log = log
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()  # packets by sender and type
        self.disconnect_codes: Counter[str] = Counter()
        self.answered: set[Key] = set()  # messages of the client for which PUBACK or PUBREC was forwarded
        self.refused: dict[Key, int] = {}
        self.handled: set[Key] = set()  # messages to the client that it has acknowledged
        self.handled_end = [0, 0, 0]  # by QoS: the highest number in `handled`, plus one
        self.repeated_by_broker: set[Key] = set()  # PUBLISH after PUBREL [MQTT-4.3.3-6]
        self.is_subscribed = False  # whether the broker has the subscription to down/+ in this session
        self._number = -1
        self._connection = _Connection()
        self._sent: dict[int, Key] = {}  # in this session, by packet identifier
        self._released: set[Key] = set()
        self._released_by_broker: set[Key] = set()
        self._received: dict[int, Key] = {}  # messages to the client, by packet identifier
        self._had_session = False

    def observe(self, number: int, is_from_client: bool, data: bytes) -> None:
        """Check bytes of connection `number`. Bytes of a connection that was replaced are ignored."""
        if number < self._number:
            return
        if number > self._number:
            self._number = number
            self._connection = _Connection()
        buffer = self._connection.buffers[is_from_client]
        buffer += data
        while buffer:
            frame, faults = read_frame(bytes(buffer), self._connection.limits.get(0x27, 1 << 28))
            if faults:
                self._fail(f"{'client' if is_from_client else 'broker'}: {faults} {bytes(buffer[:40]).hex()}")
                buffer.clear()
            if not frame:
                return
            del buffer[: len(frame)]
            self._handle(is_from_client, frame)

    def _fail(self, text: str) -> None:
        if len(self.violations) < 50:
            self.violations.append(
                f"connection {self._number}: {text}; after {' '.join(self._connection.kinds)}"
            )

    def _handle(self, is_from_client: bool, frame: bytes) -> None:
        reader = ClientReader(frame) if is_from_client else Reader(frame)
        try:
            reader.read()
        except _Stop:
            pass
        packet = reader.packet
        sender = "client" if is_from_client else "broker"
        # mosquitto sends PUBACK and PUBREC with 0x95, which the standard does not list for them
        reader.faults = [f for f in reader.faults if is_from_client or not f.rule.startswith("2.4 ")]
        if reader.faults:
            self._fail(f"{sender}: {packet.kind} {[fault.rule for fault in reader.faults]} {frame.hex()}")
            return
        self.counts[f"{sender} {packet.kind}"] += 1
        if is_from_client:
            self._check_order(packet)
        method = getattr(self, f"_{sender}_{packet.kind.lower()}", None)
        if method:
            method(packet, reader)
        dup = "D" if packet.fields.get("dup") else ""
        reason = packet.fields.get("reason") or ""
        self._connection.kinds.append(
            f"{sender[0]}:{packet.kind}{packet.fields.get('qos', '')}{dup}"
            f":{packet.fields.get('packet_id', '')}:{reason}"
        )
        if self._log:
            text = f"{time.time():.3f} {self._number} {self._connection.kinds[-1]} {frame[:60].hex()}"
            print(text, file=self._log)

    def _check_order(self, packet: Packet) -> None:
        connection = self._connection
        if connection.is_closed:
            self._fail(f"{packet.kind} after DISCONNECT")
        if (packet.kind == "CONNECT") != (not connection.kinds):
            self._fail(f"{packet.kind} is packet {len(connection.kinds)}")
        if packet.kind not in ("CONNECT", "DISCONNECT") and not connection.is_connected:
            self._fail(f"{packet.kind} before CONNACK")

    # ---- packets of the client

    def _client_connect(self, packet: Packet, reader: Reader) -> None:
        if self._had_session and (packet.fields["clean_start"] or packet.properties.get(0x11) != 3600):
            self._fail("CONNECT would end the session")

    def _client_publish(self, packet: Packet, reader: Reader) -> None:
        connection, fields = self._connection, packet.fields
        alias = packet.properties.get(0x23)
        topic = fields["topic"]
        if alias:
            if alias > connection.limits.get(0x22, 0):
                self._fail(f"topic alias {alias} above the limit")
            if topic:
                connection.aliases[alias] = topic
            topic = connection.aliases.get(alias, "")
        match = _NUMBERED.match(fields["payload"])
        if not match:
            self._fail(f"PUBLISH with corrupt payload {fields['payload']!r}")
            return
        key = ("up", int(match[1]), int(match[2]))
        self._check_topic(topic, key, fields["qos"])
        if connection.highest.get(key[:2], -1) >= key[2]:
            self._fail(f"{key} is not after {connection.highest[key[:2]]}")
        connection.highest[key[:2]] = key[2]
        if fields["qos"]:
            self._check_identifier(key, fields)

    def _check_topic(self, topic: str, key: Key, qos: int) -> None:
        expected = f"{self._unique}/up/"
        is_poison = topic == self._unique + "/" * 201
        if qos != key[1] % 3 or not (
            is_poison or (topic.startswith(expected) and topic[-2:] == f"/{key[2] % 3}")
        ):
            self._fail(f"{key} at QoS {qos} with topic {topic}")

    def _check_identifier(self, key: Key, fields: dict[str, Any]) -> None:
        connection, packet_id = self._connection, fields["packet_id"]
        if packet_id in connection.unanswered:
            self._fail(f"packet identifier {packet_id} of {connection.unanswered[packet_id]} used for {key}")
        if key in self._released:
            self._fail(f"{key} sent again after PUBREL")
        known = [i for i, sent in self._sent.items() if sent == key]
        if known and not fields["dup"]:
            self._fail(f"{key} sent again without DUP")
        if known and known != [packet_id]:
            self._fail(f"{key} sent again with packet identifier {packet_id} instead of {known}")
        old = self._sent.get(packet_id)
        if old and old != key and old[1] % 3 == 2 and old not in self._released and old not in self.refused:
            self._fail(f"packet identifier {packet_id} of {old} used for {key} before PUBREL")
        self._sent[packet_id] = key
        connection.unanswered[packet_id] = key
        if len(connection.unanswered) > connection.limits.get(0x21, 65535):
            self._fail("Receive Maximum of the broker exceeded")

    def _client_pubrel(self, packet: Packet, reader: Reader) -> None:
        packet_id = packet.fields["packet_id"]
        key = self._sent.get(packet_id)
        if key is None or packet.fields["reason"]:
            return
        if key[1] % 3 != 2:
            return  # the identifier is that of a newer message, which was canceled before PUBLISH was written
        self._released.add(key)
        self._connection.unanswered[packet_id] = key

    def _check_ack(self, packet: Packet) -> None:
        packet_id = packet.fields["packet_id"]
        due = self._connection.due_acks
        if not due or due[0] != (packet.kind, packet_id):
            self._fail(f"{packet.kind} {packet_id} is not the next acknowledgement: {list(due)[:5]}")
            return
        due.popleft()
        key = self._received.get(packet_id)
        if key and packet.fields["reason"] < 0x80:
            self.handled.add(key)
            if key[0] == "down":
                self.handled_end[key[1]] = max(self.handled_end[key[1]], key[2] + 1)

    def _client_puback(self, packet: Packet, reader: Reader) -> None:
        self._check_ack(packet)

    def _client_pubrec(self, packet: Packet, reader: Reader) -> None:
        self._check_ack(packet)

    def _client_pubcomp(self, packet: Packet, reader: Reader) -> None:
        packet_id = packet.fields["packet_id"]
        if packet_id not in self._connection.due_pubcomps:
            self._fail(f"PUBCOMP {packet_id} without PUBREL")
            return
        self._connection.due_pubcomps.remove(packet_id)

    def _client_subscribe(self, packet: Packet, reader: Reader) -> None:
        packet_id = packet.fields["packet_id"]
        if packet_id < _FIRST_SUBSCRIBE_ID or packet_id in self._connection.subscribes:
            self._fail(f"{packet.kind} with packet identifier {packet_id}")
        self._connection.subscribes[packet_id] = packet.fields["filters"]

    _client_unsubscribe = _client_subscribe

    def _client_disconnect(self, packet: Packet, reader: Reader) -> None:
        self._connection.is_closed = True
        self.disconnect_codes[f"client 0x{packet.fields['reason']:02X}"] += 1
        if packet.fields["reason"] not in (0, 0x93):
            self._fail(f"the client ends the connection with 0x{packet.fields['reason']:02X}")

    # ---- packets of the broker

    def _broker_connack(self, packet: Packet, reader: Reader) -> None:
        self._connection.is_connected = not packet.fields["reason"]
        self._connection.limits = {k: v for k, v in packet.properties.items() if isinstance(v, int)}
        if self._connection.is_connected:
            if not packet.fields["session_present"]:
                self.is_subscribed = False
                self._sent.clear()
                self._received.clear()
                if self._had_session:
                    self.counts["new sessions"] += 1
                    self._on_session_lost()
            self._had_session = True

    def _broker_publish(self, packet: Packet, reader: Reader) -> None:
        fields = packet.fields
        packet_id = fields["packet_id"]
        if not packet_id:
            return
        match = _NUMBERED.match(fields["payload"])
        folder = fields["topic"][len(self._unique) + 1 :].partition("/")[0]
        key = (folder, int(match[1]), int(match[2])) if match else (folder, 0, 0)
        if fields["qos"] == 2 and key in self._released_by_broker:
            self.repeated_by_broker.add(key)
        self._received[packet_id] = key
        self._connection.due_acks.append(("PUBACK" if fields["qos"] == 1 else "PUBREC", packet_id))

    def _broker_pubrel(self, packet: Packet, reader: Reader) -> None:
        packet_id = packet.fields["packet_id"]
        self._connection.due_pubcomps.append(packet_id)
        if packet_id in self._received:
            self._released_by_broker.add(self._received[packet_id])

    def _acknowledged(self, packet: Packet) -> None:
        packet_id, reason = packet.fields["packet_id"], packet.fields["reason"]
        key = self._sent.get(packet_id)
        if key is None:
            return
        if reason >= 0x80:
            self.refused[key] = reason
        else:
            self.answered.add(key)
        if packet.kind == "PUBACK" or reason >= 0x80:
            self._connection.unanswered.pop(packet_id, None)

    _broker_puback = _broker_pubrec = lambda self, packet, reader: self._acknowledged(packet)

    def _broker_pubcomp(self, packet: Packet, reader: Reader) -> None:
        self._connection.unanswered.pop(packet.fields["packet_id"], None)
        self._sent.pop(packet.fields["packet_id"], None)

    def _broker_suback(self, packet: Packet, reader: Reader) -> None:
        filters = self._connection.subscribes.pop(packet.fields["packet_id"], [])
        if f"{self._unique}/down/+" in filters and not self.is_subscribed:
            self._on_session_lost()
            self.is_subscribed = True

    def _broker_unsuback(self, packet: Packet, reader: Reader) -> None:
        self._connection.subscribes.pop(packet.fields["packet_id"], None)

    def _broker_disconnect(self, packet: Packet, reader: Reader) -> None:
        reason = packet.fields["reason"]
        self.disconnect_codes[f"broker 0x{reason:02X}"] += 1
        is_poisoned = any(key[1] // 3 == POISON for key in self._connection.unanswered.values())
        if reason not in _EXPECTED_DISCONNECTS and not (is_poisoned and reason in (0x81, 0x82)):
            self._fail(f"the broker ends the connection with 0x{reason:02X}")
