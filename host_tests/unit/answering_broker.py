"""A scripted broker that answers by itself, on the world's clock, with its side of SCRAM-SHA-256."""

from binascii import a2b_base64, b2a_base64, unhexlify
from hashlib import sha256

from packet_reader import string
from simulation import Stream, World

from helper import message, packet, text

# what a broker keeps of the password "pencil", with this salt and 4096 rounds: made by hashlib of CPython
SALT = b"0123456789abcdef"
_STORED_KEY = unhexlify("9d0a5b67bed6b9db6ab9f3f08a41d7191b7a836409e339ecf1b64bc36ef70d13")
_SERVER_KEY = unhexlify("8e7d9a9963f5ab587e8e08f2d184ced784bafc5d36495eed6a2a4e781ede7f6d")


def hmac(key, data):
    inner = sha256(bytes([b ^ 0x36 for b in key + bytes(64 - len(key))]))
    inner.update(data)
    outer = sha256(bytes([b ^ 0x5C for b in key + bytes(64 - len(key))]))
    outer.update(inner.digest())
    return outer.digest()


def base64(data):
    return b2a_base64(data).rstrip(b"\n")


class ScramServer:
    """One exchange after another; `knows` the password or only pretends to."""

    def __init__(self, knows=True):
        self.knows = knows
        self.exchanges = 0
        self._messages = self._nonce = None

    def first(self, data):
        """The server's first message."""
        assert data.startswith(b"n,,n=user,r="), data
        self.exchanges += 1
        self._nonce = data.split(b",r=")[1] + b"%d" % self.exchanges
        first = b"r=" + self._nonce + b",s=" + base64(SALT) + b",i=4096"
        self._messages = data[3:] + b"," + first + b","
        return first

    def final(self, data):
        """The server's final message, None where the client has not proved itself."""
        without_proof, proof = data.split(b",p=")
        assert without_proof == b"c=biws,r=" + self._nonce, data
        self._messages += without_proof
        proof = a2b_base64(proof)
        signature = hmac(_STORED_KEY, self._messages)
        key = bytes([proof[i] ^ signature[i] for i in range(32)])
        if sha256(key).digest() != _STORED_KEY:
            return None
        return b"v=" + base64(hmac(_SERVER_KEY if self.knows else SALT, self._messages))


def authentication(data, method=b"SCRAM-SHA-256"):
    """The two properties, as a block with its length."""
    block = b"\x15" + text(method) + b"\x16" + text(data)
    return bytes((len(block),)) + block  # below 128 bytes


def auth(reason, data, method=b"SCRAM-SHA-256"):
    """An AUTH packet."""
    return packet(0xF0, bytes((reason,)) + authentication(data, method))


class Answering(Stream):
    """A connection whose packets are answered at once."""

    def __init__(self, world):
        Stream.__init__(self, world)
        self.inbox = b""
        self._rest = b""

    def write(self, buf, at, n):
        n = Stream.write(self, buf, at, n)
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
        self.world.packets.append((first, body))
        self.inbox += self.world.answer(self, first, body)
        return True


class Answers(World):
    """A world whose broker answers, and sends what is published to those who subscribed just that."""

    def __init__(self, **options):
        World.__init__(self, **options)
        self.connack = b""  # properties
        self.scram = ScramServer()
        self.packets = []  # (first byte, body) of all that came
        self.subscribed = {}  # Subscription Identifier by topic
        self._accepted = None  # the stream whose CONNACK has gone out
        self._packet_id = 0
        self._answers = {
            0x10: self.connect_came,
            0x30: self.publish_came,
            0x80: self.subscribe_came,
            0xA0: self.unsubscribe_came,
            0xE0: self.disconnect_came,
            0xF0: self.auth_came,
        }

    def connect(self, host, port):
        World.connect(self, host, port)
        self.streams[-1] = Answering(self)
        return self.stream

    def answer(self, stream, first, body):
        """What the broker sends for a packet."""
        answer = self._answers.get(first & 0xF0)
        return answer(stream, first, body) if answer else b""

    def came(self, kind):
        """The bodies of all packets of a kind that came, by the high bits of the first byte."""
        return [body for first, body in self.packets if first & 0xF0 == kind]

    def connect_came(self, stream, first, body):
        at = body.find(b"\x15\x00\x0dSCRAM-SHA-256\x16")
        if at < 0:
            return self.accept(stream, self.connack)
        return auth(0x18, self.scram.first(string(body, at + 17)[0]))

    def accept(self, stream, properties):
        self._accepted = stream
        return packet(0x20, b"\x00\x00", bytes((len(properties),)), properties)

    def auth_came(self, stream, first, body):
        data = string(body, 19)[0]
        if body[0] == 0x19:
            return auth(0x18, self.scram.first(data))
        assert body[0] == 0x18, body
        final = self.scram.final(data)
        if self._accepted is stream:
            return auth(0x00, final) if final else b"\xe0\x01\x87"
        if not final:
            return b"\x20\x03\x00\x87\x00"
        return self.accept(stream, authentication(final)[1:] + self.connack)

    def subscribe_came(self, stream, first, body):
        topic, at = string(body, 3 + body[2])
        self.subscribed[topic] = body[4]
        return packet(0x90, body[:2], b"\x00", bytes((body[at] & 3,)))

    def unsubscribe_came(self, stream, first, body):
        known = self.subscribed.pop(string(body, 3)[0], None)
        return packet(0xB0, body[:2], b"\x00", b"\x11" if known is None else b"\x00")

    def publish_came(self, stream, first, body):
        topic, at = string(body, 0)
        qos = first >> 1 & 3
        out = b""
        if qos:
            out = packet(0x40 if qos == 1 else 0x50, body[at : at + 2])
            at += 2
        size = body[at]
        block, payload = body[at + 1 : at + 1 + size], body[at + 1 + size :]
        if topic in self.subscribed:
            block += b"\x0b" + bytes((self.subscribed[topic],))
            self._packet_id += 1
            out += message(topic, payload, min(qos, 1), self._packet_id, block)
        return out

    def disconnect_came(self, stream, first, body):
        stream.gone = True
        return b""
