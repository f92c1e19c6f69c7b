"""Strict decoder for the packets that a client writes; it reads the fields of CONNECT and PUBLISH."""

from simulation import Simulation

from helper import Peer


def split_packets(data):
    """Return (first byte, body) of each packet; `data` must consist of whole packets."""
    found = []
    at = 0
    while at < len(data):
        first, size, shift = data[at], 0, 0
        while True:
            at += 1
            size |= (data[at] & 127) << shift
            shift += 7
            if data[at] < 128:
                break
        body = data[at + 1 : at + 1 + size]
        assert len(body) == size, "cut short"
        found.append((first, body))
        at += 1 + size
    return found


def bodies_of_type(data, kind):
    """Return the bodies of the packets of type `kind`, as in the first byte: 0x30 for PUBLISH."""
    return [body for first, body in split_packets(data) if first & 0xF0 == kind]


def read_string(body, at):
    """Return the string or binary data at `at`, and the offset after it."""
    end = at + 2 + (body[at] << 8 | body[at + 1])
    assert end <= len(body), "cut short"
    return body[at + 2 : end], end


def read_properties(body, at):
    """Return the properties at `at` (fewer than 128 bytes), and the offset after them."""
    assert body[at] < 128 and at + 1 + body[at] <= len(body)
    return body[at + 1 : at + 1 + body[at]], at + 1 + body[at]


class Connect:
    """The fields of a CONNECT packet; None for a field that is absent."""

    def __init__(self, body):
        self.protocol, at = read_string(body, 0)
        self.version, self.flags = body[at], body[at + 1]
        self.keep_alive = body[at + 2] << 8 | body[at + 3]
        self.properties, at = read_properties(body, at + 4)
        self.client_id, at = read_string(body, at)
        self.will_properties = self.will_topic = self.will_payload = self.user = self.password = None
        if self.flags & 0x04:
            self.will_properties, at = read_properties(body, at)
            self.will_topic, at = read_string(body, at)
            self.will_payload, at = read_string(body, at)
        if self.flags & 0x80:
            self.user, at = read_string(body, at)
        if self.flags & 0x40:
            self.password, at = read_string(body, at)
        assert at == len(body), "bytes after the last field"


class Publish:
    """The fields of a PUBLISH packet."""

    def __init__(self, first, body):
        self.qos, self.dup, self.retain = first >> 1 & 3, first >> 3 & 1, first & 1
        self.topic, at = read_string(body, 0)
        self.packet_id = None
        if self.qos:
            self.packet_id = body[at] << 8 | body[at + 1]
            at += 2
        self.properties, at = read_properties(body, at)
        self.payload = body[at:]


def read_publishes(data):
    """Return the fields of each PUBLISH in `data`."""
    return [Publish(first, body) for first, body in split_packets(data) if first & 0xF0 == 0x30]


def connect_with(**options):
    """Return the CONNECT that a client with these options sends."""
    sim = Simulation(**options)
    sim.client.connect()
    return read_connect(sim)


def read_connect(sim, nth=-1):
    """Return the CONNECT of the last connection, or of connection `nth`."""
    first, body = split_packets(sim.streams[nth].written)[0]
    assert first == 0x10
    return Connect(body)


def connected_peer(properties=b"", **options):
    """Return a `Peer` whose broker sent a CONNACK with these properties."""
    peer = Peer(**options)
    peer.connect(make_connack(properties))
    return peer


def make_connack(properties=b"", present=0, reason=0):
    return bytes((0x20, 3 + len(properties), present, reason, len(properties))) + properties


def reconnect(peer, properties=b"", present=1):
    """Lose the connection and reconnect; returns what the session writes after its CONNECT."""
    peer.cut()
    return peer.connect(make_connack(properties, present))[1]


def make_ack(kind, packet_id, *reason):
    """Return an acknowledgement; `kind` is PUBACK 0x40, PUBREC 0x50, PUBREL 0x62 or PUBCOMP 0x70."""
    return bytes((kind, 2 + len(reason), packet_id >> 8, packet_id & 255) + reason)
