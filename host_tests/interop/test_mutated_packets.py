"""What a server must not send: the client rejects what the standard rejects, with its reason code.

`reference_decoder` is the measure. Where a codec takes what the standard rejects, or the other way round, it
is in the tables here, with the section; a difference that is not there fails the test.
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

# Rules of the standard, by section, that a codec does not check: it takes what breaks them.
ACCEPTED_INVALID: dict[str, dict[str, str]] = {
    "ohmqtt": {
        "3.2.2.1.1 session present in a refusal": "not compared with the reason code",
        "3.3.2.1 empty topic": "not compared with the properties",
        "3.3.2.3.4 alias 0": "taken as a number like others",
    },
    "mqtt5": {
        "1.5.4 U+0000": "taken in all strings",
        "2.1.4 cut short": "a property may reach over the end of its block, into the payload of a PUBLISH",
        "2.2.1 packet identifier 0": "taken everywhere",
        "2.2.2 byte above 1": "Payload Format Indicator",
        "3.2.2.1.1 session present in a refusal": "not compared with the reason code",
        "3.3.1.1 DUP at QoS 0": "not looked at",
        "3.3.2.1 wildcard in a topic name": "not looked at",
        "3.9.3 no reason code": "SUBACK and UNSUBACK may be empty",
    },
    "mqtt-packet": {
        "1.5.4 U+0000": "taken in all strings",
        "1.5.4 ill-formed UTF-8": "becomes U+FFFD",
        "1.5.5 not the shortest": "taken",
        "2.1.4 bytes left over": "not looked at",
        "2.1.4 cut short": "a field that is not there becomes -1, null or 0",
        "2.2.1 packet identifier 0": "taken everywhere",
        "2.2.2 byte above 1": "anything but 0 is true",
        "2.2.2 property twice": "becomes a list",
        "2.2.2 zero": "taken",
        "2.2.2.1 property length": "not compared with the length of the packet",
        "2.2.2.2 property out of place": "every property is taken in every packet",
        "2.2.2.2 unknown property": "where its length says that there are none",
        "2.4 unknown reason code": "CONNACK only",
        "3.14.2.1 a client's reason code": "it does not know who sends",
        "3.14.2.2.2 session expiry of a server": "it does not know who sends",
        "3.2.2.1.1 session present in a refusal": "not compared with the reason code",
        "3.3.1.1 DUP at QoS 0": "not looked at",
        "3.3.2.1 empty topic": "not compared with the properties",
        "3.3.2.1 wildcard in a topic name": "not looked at",
        "3.3.2.3.4 alias 0": "taken",
        "3.9.3 no reason code": "SUBACK and UNSUBACK may be empty",
    },
}
for _name in ("ohmqtt", "mqtt5"):
    ACCEPTED_INVALID[_name]["3.14.2.1 a client's reason code"] = "it does not know who sends"
    ACCEPTED_INVALID[_name]["3.14.2.2.2 session expiry of a server"] = "it does not know who sends"

# What a codec rejects though the standard does not; that of the rules marked `may` is left out. Empty:
# there is none. mqtt5 rejects ill-formed UTF-8 (1.5.4) by a panic, which is caught.
REJECTED_VALID: dict[str, dict[str, Callable[[bytes, Packet], bool]]] = {
    "ohmqtt": {},
    "mqtt5": {},
    "mqtt-packet": {},
}

RX, INFLIGHT, ALIASES = 512, 4, 2
HELD = 9  # a QoS 2 message of the broker's that waits for its PUBREL


class ConnectedClient:
    """A client in the middle of everything: in each exchange there is, the broker's packet is due."""

    def __init__(self, piece: int = 1 << 20) -> None:
        self.sim = sim = Simulation(
            rx=RX, tx=2048, outbox=2048, inflight=INFLIGHT, topic_alias_maximum=ALIASES, timeout=5000
        )
        self.got: list[tuple[str, bytes]] = []
        self.told: list[Any] = []
        client = sim.client
        client.on_state = lambda client, up, error: self.told.append(error)
        client.connect()
        client.subscribe("#", lambda m: self.got.append((m.topic, m.payload)))
        self.answer(0x90, self.sent()[0])
        client.subscribe("leaving", lambda m: None)
        self.answer(0x90, self.sent()[0])
        client.subscribe("asked", lambda m: None)
        client.unsubscribe("leaving")
        due = {one[0]: int.from_bytes(one[2:4], "big") for one in self.sent()}
        self.asked, self.leaving = due[0x82], due[0xA2]
        self.once = client.publish("out", b"1", qos=1)
        self.recorded = client.publish("out", b"2", qos=2)
        self.released = client.publish("out", b"3", qos=2)
        self.sent()
        sim.stream.inbox += make_packet(0x50, self.released.to_bytes(2, "big"))
        sim.stream.inbox += publish_packet(b"in", b"4", 2, HELD)
        self.sent()
        self.got.clear()
        self.told.clear()
        self.stream = sim.stream
        self.before = len(self.stream.written)
        sim.read_size = piece

    def sent(self) -> list[bytes]:
        before = len(self.sim.stream.written)
        for _ in range(3):
            self.sim.client.poll()
        return split_packets(self.sim.stream.written[before:])

    def answer(self, first: int, asked: bytes) -> None:
        self.sim.stream.inbox += make_packet(first, asked[2:4], b"\x00\x00")
        self.sent()

    def give(self, data: bytes) -> None:
        self.stream.inbox += data
        for _ in range(len(data) + 3):
            self.sim.client.poll()
            if not self.sim.client.is_connected:
                break


class ExpectedBehaviour:
    """What the standard says of a stream of the broker's in this scene.

    `codes`: a reason code that the DISCONNECT may have, where one is due. `open` is True where the
    receiver is free to reject the last packet or to take it.
    """

    def __init__(self, scene: ConnectedClient) -> None:
        self.scene = scene
        self.codes: set[int] = set()
        self.open = False
        self.ended: int | None = None  # the reason code of the broker's own DISCONNECT
        self.delivered: list[tuple[str, bytes]] = []
        self.aliases: dict[int, str] = {}
        self.inbox = {HELD}
        self.asked = {"SUBACK": {scene.asked}, "UNSUBACK": {scene.leaving}}
        self.whole: list[tuple[bytes, Packet, list[reference_decoder.Fault]]] = []

    def take(self, data: bytes) -> None:
        while data and not self.codes and self.ended is None:
            one, faults = reference_decoder.read_frame(data, RX)
            if faults:
                self.reject(faults)
            elif not one:
                return
            else:
                found, faults = reference_decoder.decode(one)
                self.whole.append((one, found, faults))
                faults = faults + self.out_of_place(found)
                if faults:
                    self.reject(faults)
                else:
                    self.follow(found)
                data = data[len(one) :]

    def reject(self, faults: list[reference_decoder.Fault]) -> None:
        self.open = all(fault.may for fault in faults)
        self.codes = {code for fault in faults for code in fault.codes}

    def out_of_place(self, found: Packet) -> list[reference_decoder.Fault]:
        """What is wrong with a packet here, whatever it holds."""
        kind, fields = found.kind, found.fields
        if kind == "CONNACK":
            return [reference_decoder.Fault("3.2 second CONNACK", (0x82,))]
        if kind == "PUBLISH":
            return list(self.alias(found))
        if kind in self.asked and fields:
            if fields["packet_id"] not in self.asked[kind]:
                return [reference_decoder.Fault("3.8.4 nobody asked", (0x82,))]
            if len(fields["reasons"]) != 1:
                return [reference_decoder.Fault("3.9.3 one reason code a filter", (0x81, 0x82))]
        # an answer to something else: no section tells the receiver what to do
        wrong = {
            "PUBACK": (self.scene.recorded, self.scene.released),
            "PUBREC": (self.scene.once,),
            "PUBCOMP": (self.scene.recorded, self.scene.once),
        }.get(kind, ())
        if fields.get("packet_id") in wrong:
            return [reference_decoder.Fault("4.3 answered as another QoS", (0x82,), may=True)]
        return []

    def alias(self, found: Packet) -> list[reference_decoder.Fault]:
        alias = found.properties.get(0x23)
        if alias is not None and alias > ALIASES:
            return [reference_decoder.Fault("3.3.2.3.4 alias above the maximum", (0x94,))]
        if alias and found.fields and not found["topic"] and alias not in self.aliases:
            return [reference_decoder.Fault("3.3.4 unknown alias", (0x82,))]
        return []

    def follow(self, found: Packet) -> None:
        kind, fields = found.kind, found.fields
        if kind == "DISCONNECT":
            self.ended = fields["reason"]
        elif kind == "PUBREL":
            self.inbox.discard(fields["packet_id"])
        elif kind in self.asked:
            self.asked[kind].discard(fields["packet_id"])
        elif kind == "PUBLISH":
            alias = found.properties.get(0x23)
            topic = fields["topic"] or self.aliases[alias or 0]
            if alias:
                self.aliases[alias] = topic
            if fields["qos"] == 2:
                if fields["packet_id"] in self.inbox:
                    return
                if len(self.inbox) == INFLIGHT:
                    self.codes = {0x93}
                    return
                self.inbox.add(fields["packet_id"])
            # "#" takes all but what begins with $ (4.7.2); an identifier names its subscription, each time
            times = found.properties.get(0x0B, [1] if topic[0] != "$" else []).count(1)
            self.delivered += [(topic, fields["payload"])] * times


# ---- wrong packets


@st.composite
def valid_packet(draw: st.DrawFn) -> bytes:
    """A packet that is due in the scene, or that would be in another."""
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
    """Properties of any kind, in any place, with any value; some twice."""
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
    """A packet whose parts are each right or wrong."""
    first = draw(st.integers(0, 255))
    identifier = reference_packets.u16(draw(st.one_of(st.integers(0, 10), st.just(HELD))))
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
    """A right packet with some bytes changed; mostly its length is made right again."""
    data = draw(valid_packet())
    header = 2 if data[1] < 128 else 3
    first, out = data[0], bytearray(data[header:])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(out)))
        what = draw(st.integers(0, 4))
        if what == 0:
            del out[at : at + draw(st.integers(1, 3))]
        elif what == 1:
            out[at:at] = draw(st.binary(min_size=1, max_size=3))
        elif what == 2:
            first ^= 1 << draw(st.integers(0, 7))
        elif at < len(out):
            out[at] = draw(
                st.sampled_from((0, 1, 2, 0x7F, 0x80, 0xC0, 0xFF)) if what == 3 else st.integers(0, 255)
            )
    length = draw(st.sampled_from(("right", "right", "right", "right", "as it was", "long", "endless")))
    if length == "right":
        return reference_packets.make_packet(first, bytes(out))
    size = {
        "as it was": data[1:header],
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
@given(data=STREAM, piece=st.sampled_from((1, 7, 1 << 20)))
def test_the_client_rejects_what_the_standard_rejects(data: bytes, piece: int) -> None:
    scene = ConnectedClient(piece)
    server = ExpectedBehaviour(scene)
    server.take(data)
    scene.give(data)
    written = scene.stream.written[scene.before :]
    rules = [fault.rule for _, _, faults in server.whole for fault in faults]
    if server.ended is not None:
        assert [error.code for error in scene.told] == [server.ended]
        assert scene.stream.closed and not any(one[0] == 0xE0 for one in split_packets(written))
    elif scene.told:
        (error,) = scene.told
        assert server.open or error.code in server.codes, (error, rules)
        assert written.endswith(bytes((0xE0, 1, error.code))) and scene.stream.closed
    else:
        assert server.open or not server.codes, ("taken", rules)
        assert scene.sim.client.is_connected and scene.sim.stream is scene.stream
    if not server.open:
        assert scene.got == server.delivered


@settings(max_examples=MUTATIONS)
@given(data=st.one_of(mutated_packet(), mutated_packet(), random_packet()))
def test_differences_between_codecs_and_the_standard_are_known(codecs: list[Any], data: bytes) -> None:
    one, _ = reference_decoder.read_frame(data, 1 << 20)
    if not one:
        return
    found, faults = reference_decoder.decode(one)
    if found.kind in ("", "CONNECT", "SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ", "AUTH"):
        return  # a codec takes these as a server would
    broken = {fault.rule for fault in faults if not fault.may}
    for codec in codecs:
        try:
            said = codec.decode(one)
        except RejectedError as error:
            known = any(test(one, found) for test in REJECTED_VALID[codec.name].values())
            assert faults or known, f"{codec.name} is stricter: {error}"
        else:
            unknown = broken - ACCEPTED_INVALID[codec.name].keys()
            assert not unknown, f"{codec.name} is laxer: {unknown}"
            if not faults:
                assert said == codec.decodable(found), codec.name
