"""Invalid packets from a server: the client rejects what the standard rejects, with a valid reason code.

`reference_decoder` decides what is valid. The tables here list, by section of the standard, where another
codec accepts an invalid packet or rejects a valid one. Any other difference fails the test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import Simulation

from helper import make_packet, publish_packet
from host_tests.interop import MUTATIONS, reference_decoder, reference_packets, strategies
from host_tests.interop.reference_packets import (
    PACKET_TYPES,
    PROPERTY_TYPES,
    Packet,
    RejectedError,
    split_packets,
)

# Rules of the standard that a codec does not check, so that it accepts invalid packets: rule, details.
ACCEPTED_INVALID: dict[str, dict[str, str]] = {
    "ohmqtt": {
        "3.2.2.1.1 session present with an error": "not compared with the reason code",
        "3.3.2.1 empty topic without alias": "not compared with the properties",
        "3.3.2.3.4 topic alias 0": "not checked",
    },
    "mqtt5": {
        "1.5.4 U+0000": "accepted in all strings",
        "2.1.4 incomplete field": "a property may extend beyond the property length into the payload",
        "2.2.1 packet identifier 0": "accepted in all packets",
        "2.2.2 byte value above 1": "Payload Format Indicator only",
        "3.2.2.1.1 session present with an error": "not compared with the reason code",
        "3.3.1.1 DUP at QoS 0": "not checked",
        "3.3.2.1 wildcard in a topic name": "not checked",
        "3.9.3 no reason code": "SUBACK and UNSUBACK may be empty",
    },
    "mqtt-packet": {
        "1.5.4 U+0000": "accepted in all strings",
        "1.5.4 ill-formed UTF-8": "replaced by U+FFFD",
        "1.5.5 not the shortest encoding": "not checked",
        "2.1.4 trailing bytes": "ignored",
        "2.1.4 incomplete field": "a missing field becomes -1, null or 0",
        "2.2.1 packet identifier 0": "accepted in all packets",
        "2.2.2 byte value above 1": "every value except 0 is true",
        "2.2.2 duplicate property": "the values become a list",
        "2.2.2 value 0": "not checked",
        "2.2.2.1 property length exceeds the packet": "not compared with the length of the packet",
        "2.2.2.2 property not allowed in this packet": "every property is accepted in every packet",
        "2.2.2.2 unknown property": "accepted if the property length is 0",
        "2.4 unknown reason code": "CONNACK only",
        "3.14.2.1 reason code for clients only": "accepted from a server, too",
        "3.14.2.2.2 session expiry interval from a server": "accepted from a server, too",
        "3.2.2.1.1 session present with an error": "not compared with the reason code",
        "3.3.1.1 DUP at QoS 0": "not checked",
        "3.3.2.1 empty topic without alias": "not compared with the properties",
        "3.3.2.1 wildcard in a topic name": "not checked",
        "3.3.2.3.4 topic alias 0": "not checked",
        "3.9.3 no reason code": "SUBACK and UNSUBACK may be empty",
    },
}
for _name in ("ohmqtt", "mqtt5"):
    ACCEPTED_INVALID[_name]["3.14.2.1 reason code for clients only"] = "accepted from a server, too"
    ACCEPTED_INVALID[_name]["3.14.2.2.2 session expiry interval from a server"] = (
        "accepted from a server, too"
    )

# Valid packets that a codec rejects: name, test of the packet. There are none at present. A codec may reject
# packets with tolerable faults. mqtt5 panics on ill-formed UTF-8 (1.5.4), which counts as a rejection.
REJECTED_VALID: dict[str, dict[str, Callable[[bytes, Packet], bool]]] = {
    "ohmqtt": {},
    "mqtt5": {},
    "mqtt-packet": {},
}

RX, INFLIGHT, ALIASES = 512, 4, 2
WAITS_FOR_PUBREL = 9  # packet identifier of a received QoS 2 message


class ConnectedClient:
    """A client that waits for a packet of the broker in each kind of exchange.

    It waits for SUBACK, UNSUBACK, PUBACK, PUBREC, PUBCOMP and PUBREL.
    """

    def __init__(self, read_size: int = 1 << 20) -> None:
        self.sim = sim = Simulation(
            rx=RX, tx=2048, outbox=2048, inflight=INFLIGHT, topic_alias_maximum=ALIASES, timeout=5000
        )
        self.messages: list[tuple[str, bytes]] = []
        self.state_errors: list[Any] = []
        client = sim.client
        client.on_state = lambda client, up, error: self.state_errors.append(error)
        client.connect()
        client.subscribe("#", lambda m: self.messages.append((m.topic, m.payload)))
        self.acknowledge(0x90, self.poll_written()[0])
        client.subscribe("leaving", lambda m: None)
        self.acknowledge(0x90, self.poll_written()[0])
        client.subscribe("joining", lambda m: None)
        client.unsubscribe("leaving")
        pending = {packet[0]: int.from_bytes(packet[2:4], "big") for packet in self.poll_written()}
        self.waits_for_suback, self.waits_for_unsuback = pending[0x82], pending[0xA2]
        self.waits_for_puback = client.publish("out", b"1", qos=1)
        self.waits_for_pubrec = client.publish("out", b"2", qos=2)
        self.waits_for_pubcomp = client.publish("out", b"3", qos=2)
        self.poll_written()
        sim.stream.inbox += make_packet(0x50, self.waits_for_pubcomp.to_bytes(2, "big"))
        sim.stream.inbox += publish_packet(b"in", b"4", 2, WAITS_FOR_PUBREL)
        self.poll_written()
        self.messages.clear()
        self.state_errors.clear()
        self.stream = sim.stream
        self.before = len(self.stream.written)
        sim.read_size = read_size

    def poll_written(self) -> list[bytes]:
        before = len(self.sim.stream.written)
        for _ in range(3):
            self.sim.client.poll()
        return split_packets(self.sim.stream.written[before:])

    def acknowledge(self, first: int, request: bytes) -> None:
        self.sim.stream.inbox += make_packet(first, request[2:4], b"\x00\x00")
        self.poll_written()

    def receive(self, data: bytes) -> None:
        self.stream.inbox += data
        for _ in range(len(data) + 3):
            self.sim.client.poll()
            if not self.sim.client.is_connected:
                break


class ExpectedBehaviour:
    """What the standard requires of a `ConnectedClient` that receives a stream.

    `codes` are the reason codes that its DISCONNECT may have; it is empty if all packets are valid.
    `is_optional` is True if the client may reject or accept the last packet.
    """

    def __init__(self, client: ConnectedClient) -> None:
        self.client = client
        self.codes: set[int] = set()
        self.is_optional = False
        self.disconnect_reason: int | None = None  # reason code of a DISCONNECT from the broker
        self.delivered: list[tuple[str, bytes]] = []
        self.aliases: dict[int, str] = {}
        self.unreleased = {WAITS_FOR_PUBREL}
        self.requested = {"SUBACK": {client.waits_for_suback}, "UNSUBACK": {client.waits_for_unsuback}}
        self.packets: list[tuple[bytes, Packet, list[reference_decoder.Fault]]] = []

    def receive(self, data: bytes) -> None:
        while data and not self.codes and self.disconnect_reason is None:
            frame, faults = reference_decoder.read_frame(data, RX)
            if faults:
                self.reject(faults)
            elif not frame:
                return
            else:
                found, faults = reference_decoder.decode(frame)
                self.packets.append((frame, found, faults))
                faults = faults + self.context_faults(found)
                if faults:
                    self.reject(faults)
                else:
                    self.apply(found)
                data = data[len(frame) :]

    def reject(self, faults: list[reference_decoder.Fault]) -> None:
        self.is_optional = all(fault.is_tolerable for fault in faults)
        self.codes = {code for fault in faults for code in fault.codes}

    def context_faults(self, found: Packet) -> list[reference_decoder.Fault]:
        """Return the faults of a packet that depend on the state of the connection."""
        kind, fields = found.kind, found.fields
        if kind == "CONNACK":
            return [reference_decoder.Fault("3.2 second CONNACK", (0x82,))]
        if kind == "PUBLISH":
            return list(self.alias(found))
        if kind in self.requested and fields:
            if fields["packet_id"] not in self.requested[kind]:
                return []  # the client ignores an answer that is not due
            if len(fields["reasons"]) != 1:
                return [reference_decoder.Fault("3.9.3 one reason code per filter", (0x81, 0x82))]
        # an acknowledgement of the wrong type: no section specifies what the receiver does
        mismatched = {
            "PUBACK": (self.client.waits_for_pubrec, self.client.waits_for_pubcomp),
            "PUBREC": (self.client.waits_for_puback,),
            "PUBCOMP": (self.client.waits_for_pubrec, self.client.waits_for_puback),
        }.get(kind, ())
        if fields.get("packet_id") in mismatched:
            return [reference_decoder.Fault("4.3 acknowledgement of another QoS", (0x82,), is_tolerable=True)]
        return []

    def alias(self, found: Packet) -> list[reference_decoder.Fault]:
        alias = found.properties.get(0x23)
        if alias is not None and alias > ALIASES:
            return [reference_decoder.Fault("3.3.2.3.4 topic alias above the maximum", (0x94,))]
        if alias and found.fields and not found["topic"] and alias not in self.aliases:
            return [reference_decoder.Fault("3.3.4 unknown topic alias", (0x82,))]
        return []

    def apply(self, found: Packet) -> None:
        kind, fields = found.kind, found.fields
        if kind == "DISCONNECT":
            self.disconnect_reason = fields["reason"]
        elif kind == "PUBREL":
            self.unreleased.discard(fields["packet_id"])
        elif kind in self.requested:
            self.requested[kind].discard(fields["packet_id"])
        elif kind == "PUBLISH":
            alias = found.properties.get(0x23)
            topic = fields["topic"] or self.aliases[alias or 0]
            if alias:
                self.aliases[alias] = topic
            if fields["qos"] == 2:
                if fields["packet_id"] in self.unreleased:
                    return
                if len(self.unreleased) == INFLIGHT:
                    self.codes = {0x93}
                    return
                self.unreleased.add(fields["packet_id"])
            # "#" matches every topic that does not start with $ (4.7.2); the client has not chosen the
            # Subscription Identifiers in the packet
            if topic[0] != "$":
                self.delivered.append((topic, fields["payload"]))


# ---- strategies for invalid packets


@st.composite
def valid_packet(draw: st.DrawFn) -> bytes:
    """Draw a valid packet, which the client may or may not expect in its state."""
    identifier = st.one_of(st.integers(1, 10), strategies.IDENTIFIER)
    kind = draw(
        st.sampled_from(
            PACKET_TYPES[2:8] + ("PUBLISH", "PUBLISH", "SUBACK", "UNSUBACK", "PINGRESP", "DISCONNECT")
        )
    )
    if kind == "PINGRESP":
        return b"\xd0\x00"
    if kind in ("SUBACK", "UNSUBACK"):
        strategy = strategies.suback(kind, draw(identifier))
    elif kind in reference_packets.ACKS:
        strategy = strategies.ack(kind, draw(identifier))
    elif kind == "CONNACK":
        strategy = strategies.connack()
    else:
        strategy = strategies.publish(aliases=3) if kind == "PUBLISH" else strategies.disconnect()
    return reference_packets.encode(draw(strategy))


@st.composite
def random_properties(draw: st.DrawFn) -> bytes:
    """Draw random properties with random values, which may be invalid or repeated."""
    blocks = []
    for identifier in draw(st.lists(st.sampled_from([*PROPERTY_TYPES, 0, 5, 0x7F, 0x80]), max_size=4)):
        kind = PROPERTY_TYPES.get(identifier)
        if kind is None:
            blocks.append(bytes((identifier, draw(st.integers(0, 2)))))
            continue
        size = {"byte": 1, "u16": 2, "u32": 4}.get(kind, 0)
        value: Any = draw(st.sampled_from((0, 1, 2, 3, (1 << 8 * size) - 1))) if size else None
        if kind == "varint":
            value = draw(st.sampled_from((0, 1, 128, 1 << 21)))
        elif kind in ("text", "binary"):
            value = draw(st.sampled_from((b"", b"a", b"a/+", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80")))
        elif kind == "pair":
            value = draw(st.sampled_from(((b"", b""), (b"k", b"\xc0\x80"), (b"\0", b"v"))))
        blocks += [reference_packets.put_property(identifier, value)] * draw(st.sampled_from((1, 1, 1, 2)))
    data = b"".join(blocks)
    return reference_packets.varint(len(data) + draw(st.sampled_from((0, 0, 0, 0, 1)))) + data


@st.composite
def random_packet(draw: st.DrawFn) -> bytes:
    """Draw a packet each part of which may be invalid."""
    first = draw(st.integers(0, 255))
    identifier = reference_packets.u16(draw(st.one_of(st.integers(0, 10), st.just(WAITS_FOR_PUBREL))))
    reason = bytes((draw(st.sampled_from((0, 0, 1, 4, 0x10, 0x80, 0x87, 0x92, 0xFF))),))
    properties = draw(random_properties())
    kind = PACKET_TYPES[first >> 4]
    if draw(st.booleans()) and kind != "PUBLISH":
        first = first & 0xF0 | reference_packets.FLAGS.get(kind, 0)
    if kind == "CONNACK":
        body = bytes((draw(st.integers(0, 2)),)) + reason + properties
    elif kind == "PUBLISH":
        body = reference_packets.binary(
            draw(st.sampled_from((b"", b"a", b"in", b"a/#", b"\0", b"\xf5", "é".encode())))
        )
        body += (identifier if first & 6 else b"") + properties + draw(st.binary(max_size=3))
    elif kind in reference_packets.ACKS:
        body = (identifier + reason + properties)[: draw(st.sampled_from((2, 3, 4, 99)))]
    elif kind in ("SUBACK", "UNSUBACK"):
        body = identifier + properties + reason * draw(st.integers(0, 2))
    elif kind == "PINGRESP":
        body = b"\0" * draw(st.integers(0, 1))
    else:
        body = reason + properties
    return reference_packets.make_packet(first, body)


@st.composite
def mutated_packet(draw: st.DrawFn) -> bytes:
    """Draw a valid packet and change some bytes; usually its remaining length is corrected afterwards."""
    data = draw(valid_packet())
    header = 2 if data[1] < 128 else 3
    first, out = data[0], bytearray(data[header:])
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(out)))
        operation = draw(st.integers(0, 4))
        if operation == 0:
            del out[index : index + draw(st.integers(1, 3))]
        elif operation == 1:
            out[index:index] = draw(st.binary(min_size=1, max_size=3))
        elif operation == 2:
            first ^= 1 << draw(st.integers(0, 7))
        elif index < len(out):
            out[index] = draw(
                st.sampled_from((0, 1, 2, 0x7F, 0x80, 0xC0, 0xFF)) if operation == 3 else st.integers(0, 255)
            )
    length = draw(
        st.sampled_from(("correct", "correct", "correct", "correct", "unchanged", "long", "endless"))
    )
    if length == "correct":
        return reference_packets.make_packet(first, bytes(out))
    size = {
        "unchanged": data[1:header],
        "long": reference_packets.varint(len(out)) + b"\0",
        "endless": b"\xff\xff\xff\xff\x01",
    }
    head = bytearray(size[length])
    if length == "long":
        head[-2] |= 0x80
    return bytes((first,)) + bytes(head) + bytes(out)


STREAM = st.lists(
    st.one_of(mutated_packet(), mutated_packet(), random_packet(), valid_packet()), min_size=1, max_size=3
).map(b"".join)


@settings(max_examples=MUTATIONS)
@given(data=STREAM, read_size=st.sampled_from((1, 7, 1 << 20)))
def test_the_client_rejects_exactly_what_the_standard_rejects(data: bytes, read_size: int) -> None:
    client = ConnectedClient(read_size)
    expected = ExpectedBehaviour(client)
    expected.receive(data)
    client.receive(data)
    written = client.stream.written[client.before :]
    rules = [fault.rule for _, _, faults in expected.packets for fault in faults]
    if expected.disconnect_reason is not None:
        assert [error.code for error in client.state_errors] == [expected.disconnect_reason]
        assert client.stream.closed and not any(packet[0] == 0xE0 for packet in split_packets(written))
    elif client.state_errors:  # the client ended the connection
        (error,) = client.state_errors
        assert expected.is_optional or error.code in expected.codes, (error, rules)
        assert written.endswith(bytes((0xE0, 1, error.code))) and client.stream.closed
    else:
        assert expected.is_optional or not expected.codes, ("accepted", rules)
        assert client.sim.client.is_connected and client.sim.stream is client.stream
    if not expected.is_optional:
        assert client.messages == expected.delivered


@settings(max_examples=MUTATIONS)
@given(data=st.one_of(mutated_packet(), mutated_packet(), random_packet()))
def test_the_tables_list_every_difference_between_the_codecs_and_the_standard(
    codecs: list[Any], data: bytes
) -> None:
    frame, _ = reference_decoder.read_frame(data, 1 << 20)
    if not frame:
        return
    found, faults = reference_decoder.decode(frame)
    if found.kind in ("", "CONNECT", "SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ", "AUTH"):
        return  # the codecs also accept a client's packets, and AUTH without an authentication method
    broken = {fault.rule for fault in faults if not fault.is_tolerable}
    for codec in codecs:
        try:
            decoded = codec.decode(frame)
        except RejectedError as error:
            known = any(test(frame, found) for test in REJECTED_VALID[codec.name].values())
            assert faults or known, f"{codec.name} is stricter: {error}"
        else:
            unknown = broken - ACCEPTED_INVALID[codec.name].keys()
            assert not unknown, f"{codec.name} is laxer: {unknown}"
            if not faults:
                assert decoded == codec.decodable(found), codec.name
