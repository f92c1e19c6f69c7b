"""Simulated broker that replies to each packet: acknowledgements, routing, SCRAM-SHA-256 authentication."""

from binascii import a2b_base64, b2a_base64, unhexlify
from hashlib import sha256

from packet_reader import read_string
from simulation import SimulatedStream, Simulation

from helper import make_packet, publish_packet, utf8_string

# the keys a server stores for the password "pencil", with this salt and 4096 iterations (from hashlib)
SALT = b"0123456789abcdef"
_STORED_KEY = unhexlify("9d0a5b67bed6b9db6ab9f3f08a41d7191b7a836409e339ecf1b64bc36ef70d13")
_SERVER_KEY = unhexlify("8e7d9a9963f5ab587e8e08f2d184ced784bafc5d36495eed6a2a4e781ede7f6d")


def hmac_sha256(key, data):
    inner = sha256(bytes([b ^ 0x36 for b in key + bytes(64 - len(key))]))
    inner.update(data)
    outer = sha256(bytes([b ^ 0x5C for b in key + bytes(64 - len(key))]))
    outer.update(inner.digest())
    return outer.digest()


def base64(data):
    return b2a_base64(data).rstrip(b"\n")


class ScramServer:
    """Server side of SCRAM (RFC 5802); if `knows_password` is false, its signature is wrong."""

    def __init__(self, knows_password=True):
        self.knows_password = knows_password
        self.exchanges = 0
        self._messages = self._nonce = None

    def server_first_message(self, data):
        """Return the server-first-message for a client-first-message."""
        assert data.startswith(b"n,,n=user,r="), data
        self.exchanges += 1
        self._nonce = data.split(b",r=")[1] + b"%d" % self.exchanges
        first = b"r=" + self._nonce + b",s=" + base64(SALT) + b",i=4096"
        self._messages = data[3:] + b"," + first + b","
        return first

    def server_final_message(self, data):
        """Return the server-final-message, or None if the client's proof is wrong."""
        without_proof, proof = data.split(b",p=")
        assert without_proof == b"c=biws,r=" + self._nonce, data
        self._messages += without_proof
        proof = a2b_base64(proof)
        signature = hmac_sha256(_STORED_KEY, self._messages)
        key = bytes([proof[i] ^ signature[i] for i in range(32)])
        if sha256(key).digest() != _STORED_KEY:
            return None
        return b"v=" + base64(hmac_sha256(_SERVER_KEY if self.knows_password else SALT, self._messages))


def auth_properties(data, method=b"SCRAM-SHA-256"):
    """Return the properties Authentication Method and Authentication Data, with their length."""
    block = b"\x15" + utf8_string(method) + b"\x16" + utf8_string(data)
    return bytes((len(block),)) + block  # shorter than 128 bytes, so one byte encodes the length


def auth_packet(reason, data, method=b"SCRAM-SHA-256"):
    """Return an AUTH packet."""
    return make_packet(0xF0, bytes((reason,)) + auth_properties(data, method))


class AnsweringStream(SimulatedStream):
    """A connection whose broker replies to each packet at once."""

    def __init__(self, sim):
        SimulatedStream.__init__(self, sim)
        self.inbox = b""
        self._rest = b""

    def write(self, buf, at, n):
        n = SimulatedStream.write(self, buf, at, n)
        if n:
            self._rest += bytes(buf[at : at + n])
            while self._take():
                pass
        return n

    def _take(self):
        size = shift = 0
        for i in range(1, len(self._rest)):
            size |= (self._rest[i] & 127) << shift
            shift += 7
            if self._rest[i] < 128:
                break
        else:
            return False
        end = i + 1 + size
        if len(self._rest) < end:
            return False
        body, first = self._rest[i + 1 : end], self._rest[0]
        self._rest = self._rest[end:]
        self.sim.packets.append((first, body))
        self.inbox += self.sim.reply_to(self, first, body)
        return True


class BrokerSimulation(Simulation):
    """A simulation whose broker replies, and routes a message if its topic equals a topic filter."""

    def __init__(self, **options):
        Simulation.__init__(self, **options)
        self.connack_properties = b""  # without the property length
        self.scram = ScramServer()
        self.packets = []  # (first byte, body) of every received packet
        self.subscription_ids = {}  # property Subscription Identifier by topic filter
        self._accepted = None  # the stream on which CONNACK was sent
        self._packet_id = 0
        self.replies = {
            0x10: self.on_connect,
            0x30: self.on_publish,
            0x80: self.on_subscribe,
            0xA0: self.on_unsubscribe,
            0xE0: self.on_disconnect,
            0xF0: self.on_auth,
        }

    def connect(self, host, port):
        Simulation.connect(self, host, port)
        self.streams[-1] = AnsweringStream(self)
        return self.stream

    def reply_to(self, stream, first, body):
        """Return the reply of the broker to a packet."""
        answer = self.replies.get(first & 0xF0)
        return answer(stream, first, body) if answer else b""

    def received_bodies(self, kind):
        """Return the bodies of received packets of type `kind`, as in the first byte: 0x30 for PUBLISH."""
        return [body for first, body in self.packets if first & 0xF0 == kind]

    def on_connect(self, stream, first, body):
        at = body.find(b"\x15\x00\x0dSCRAM-SHA-256\x16")
        if at < 0:
            return self.make_connack(stream, self.connack_properties)
        return auth_packet(0x18, self.scram.server_first_message(read_string(body, at + 17)[0]))

    def make_connack(self, stream, properties):
        self._accepted = stream
        return make_packet(0x20, b"\x00\x00", bytes((len(properties),)), properties)

    def on_auth(self, stream, first, body):
        data = read_string(body, 19)[0]
        if body[0] == 0x19:
            return auth_packet(0x18, self.scram.server_first_message(data))
        assert body[0] == 0x18, body
        final = self.scram.server_final_message(data)
        if self._accepted is stream:
            return auth_packet(0x00, final) if final else b"\xe0\x01\x87"
        if not final:
            return b"\x20\x03\x00\x87\x00"
        return self.make_connack(stream, auth_properties(final)[1:] + self.connack_properties)

    def on_subscribe(self, stream, first, body):
        at = 3 + body[2]
        reasons = b""
        while at < len(body):
            topic, at = read_string(body, at)
            self.subscription_ids[topic] = body[3 : 3 + body[2]]
            reasons += bytes((body[at] & 3,))
            at += 1
        return make_packet(0x90, body[:2], b"\x00", reasons)

    def on_unsubscribe(self, stream, first, body):
        at = 3 + body[2]
        reasons = b""
        while at < len(body):
            topic, at = read_string(body, at)
            reasons += b"\x11" if self.subscription_ids.pop(topic, None) is None else b"\x00"
        return make_packet(0xB0, body[:2], b"\x00", reasons)

    def on_publish(self, stream, first, body):
        topic, at = read_string(body, 0)
        qos = first >> 1 & 3
        out = b""
        if qos:
            out = make_packet(0x40 if qos == 1 else 0x50, body[at : at + 2])
            at += 2
        size = body[at]
        block, payload = body[at + 1 : at + 1 + size], body[at + 1 + size :]
        if topic in self.subscription_ids:
            block += self.subscription_ids[topic]
            self._packet_id += 1
            out += publish_packet(topic, payload, min(qos, 1), self._packet_id, block)
        return out

    def on_disconnect(self, stream, first, body):
        stream.closed_by_broker = True
        return b""
