"""What a client has written, as a strict broker reads it: packets, and the fields of some of them."""

from simulation import World

from helper import Peer


def packets(data):
    """(first byte, body) of each packet; all of `data` has to be packets."""
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


def of_kind(data, kind):
    """The bodies of the packets whose first byte begins with these four bits, 0x30 for PUBLISH."""
    return [body for first, body in packets(data) if first & 0xF0 == kind]


def string(body, at):
    """The string or binary data at `at`, and the offset behind it."""
    end = at + 2 + (body[at] << 8 | body[at + 1])
    assert end <= len(body), "cut short"
    return body[at + 2 : end], end


def block(body, at):
    """The properties at `at`, below 128 bytes, and the offset behind them."""
    assert body[at] < 128 and at + 1 + body[at] <= len(body)
    return body[at + 1 : at + 1 + body[at]], at + 1 + body[at]


class Connect:
    """The fields of a CONNECT, in the order of the standard; None for what is not there."""

    def __init__(self, body):
        self.protocol, at = string(body, 0)
        self.version, self.flags = body[at], body[at + 1]
        self.keep_alive = body[at + 2] << 8 | body[at + 3]
        self.properties, at = block(body, at + 4)
        self.client_id, at = string(body, at)
        self.will_properties = self.will_topic = self.will_payload = self.user = self.password = None
        if self.flags & 0x04:
            self.will_properties, at = block(body, at)
            self.will_topic, at = string(body, at)
            self.will_payload, at = string(body, at)
        if self.flags & 0x80:
            self.user, at = string(body, at)
        if self.flags & 0x40:
            self.password, at = string(body, at)
        assert at == len(body), "bytes behind the last field"


class Publish:
    """The fields of a PUBLISH."""

    def __init__(self, first, body):
        self.qos, self.dup, self.retain = first >> 1 & 3, first >> 3 & 1, first & 1
        self.topic, at = string(body, 0)
        self.packet_id = None
        if self.qos:
            self.packet_id = body[at] << 8 | body[at + 1]
            at += 2
        self.properties, at = block(body, at)
        self.payload = body[at:]


def published(data):
    """Each PUBLISH among the packets."""
    return [Publish(first, body) for first, body in packets(data) if first & 0xF0 == 0x30]


def connect_of(**options):
    """The CONNECT of a client with these options."""
    world = World(**options)
    world.client.connect()
    return read_connect(world)


def read_connect(world, nth=-1):
    """The CONNECT of a world's last connection, or of its `nth`."""
    first, body = packets(world.streams[nth].written)[0]
    assert first == 0x10
    return Connect(body)


def connected(properties=b"", **options):
    """A peer, connected to a broker whose CONNACK has these properties."""
    peer = Peer(**options)
    peer.connect(connack(properties))
    return peer


def connack(properties=b"", present=0, reason=0):
    return bytes((0x20, 3 + len(properties), present, reason, len(properties))) + properties


def again(peer, properties=b"", present=1):
    """The link is lost and comes back; returns what the session writes behind its CONNECT."""
    peer.cut()
    return peer.connect(connack(properties, present))[1]


def answer(kind, packet_id, *reason):
    """PUBACK 0x40, PUBREC 0x50, PUBREL 0x62, PUBCOMP 0x70."""
    return bytes((kind, 2 + len(reason), packet_id >> 8, packet_id & 255) + reason)
