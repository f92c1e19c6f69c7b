"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the broker never sees the password, and proves that it knows it.

client.auth = Scram("user", "password")
"""

from binascii import a2b_base64, b2a_base64
from hashlib import sha256

from micropython import const

_AT_ONCE = const(32)  # rounds that one `work` takes: about as many ms on a small board
_LEAST = const(4096)  # rounds, RFC 7677
_LONGEST = const(1024)  # bytes of a message


def _base64(data):
    return b2a_base64(data).rstrip(b"\n")


def _unbase64(text):
    """Strictly: what is not the one way to write it is refused."""
    try:
        data = a2b_base64(text)
    except Exception:  # each interpreter has its own
        data = b""
    if _base64(data) != text:
        raise ValueError("SCRAM: not base64")
    return data


def _xor(a, b):
    return bytes([a[i] ^ b[i] for i in range(len(b))])


class _Hmac:
    """HMAC-SHA-256 (RFC 2104) with one key."""

    def __init__(self, key):
        if len(key) > 64:
            key = sha256(key).digest()
        key = key + bytes(64 - len(key))
        self._inner = bytes([b ^ 0x36 for b in key])
        self._outer = bytes([b ^ 0x5C for b in key])

    def __call__(self, data):
        inner = sha256(self._inner)
        inner.update(data)
        outer = sha256(self._outer)
        outer.update(inner.digest())
        return outer.digest()


class _Stretch:
    """PBKDF2 (RFC 8018) for one block of 32 bytes, a few rounds at a time."""

    def __init__(self, password, salt, rounds):
        self.salt = salt
        self.rounds = self.left = rounds
        self._hmac = _Hmac(password)
        self._last = salt + b"\x00\x00\x00\x01"
        self._sum = 0

    def run(self, most):
        """Do `most` rounds; True where it is done."""
        mac, last, total = self._hmac, self._last, self._sum
        for _ in range(min(most, self.left)):
            last = mac(last)
            total ^= int.from_bytes(last, "big")
        self._last, self._sum = last, total
        self.left = max(0, self.left - most)
        return not self.left

    def key(self):
        return self._sum.to_bytes(32, "big")


class Scram:
    """SCRAM-SHA-256 as a method for `client.auth`; see `auth` for what a method is.

    The rounds that the broker asks for (4096 at least) take seconds on a small board: they are
    done a few at each `poll`, and their result is kept, so that the next connection has it at
    once. A program with a watchdog connects with `wait=False` and feeds it between polls.

    `most_rounds` is the most that is put up with. `random(n)` returns n random bytes, `os.urandom`
    where it is None. A password that is not ASCII has to be normalized (RFC 4013) by the caller.
    """

    method = "SCRAM-SHA-256"

    def __init__(self, user, password, *, most_rounds=32768, random=None):
        user = user.replace("=", "=3D").replace(",", "=2C")
        self._user = user.encode()
        self._password = password.encode() if isinstance(password, str) else bytes(password)
        self._most = most_rounds
        self._random = random
        self._stretch = _Stretch(b"", b"", 0)
        self._nonce = self._first = self._without_proof = self._messages = self._signature = None

    def start(self):
        """The client's first message."""
        random = self._random
        if random is None:
            from os import urandom as random
        self._nonce = _base64(random(18))
        self._first = b"n=" + self._user + b",r=" + self._nonce
        self._messages = self._signature = None
        return b"n,," + self._first

    def challenge(self, data):
        """The client's final message, for the server's first; ValueError where that is wrong."""
        if self._first is None or self._messages is not None:
            raise ValueError("SCRAM: a message out of turn")
        nonce, salt, rounds = self._parse(bytes(data))
        self._without_proof = b"c=biws,r=" + nonce
        self._messages = self._first + b"," + data + b"," + self._without_proof
        if self._stretch.salt != salt or self._stretch.rounds != rounds:
            self._stretch = _Stretch(self._password, salt, rounds)
        return self.work()

    def work(self):
        """A piece of the rounds; the client's final message when they are done."""
        if not self._stretch.run(_AT_ONCE):
            return None
        mac = _Hmac(self._stretch.key())
        key = mac(b"Client Key")
        proof = _xor(key, _Hmac(sha256(key).digest())(self._messages))
        self._signature = _Hmac(mac(b"Server Key"))(self._messages)
        return self._without_proof + b",p=" + _base64(proof)

    def finish(self, data):
        """Check the server's signature; ValueError where it does not prove that it knows the password."""
        signature, self._signature = self._signature, None
        self._first = None
        data = bytes(data)[:_LONGEST].split(b",")[0]
        if data.startswith(b"e="):
            raise ValueError("SCRAM: the broker says %s" % _printable(data[2:]))
        if signature is None or data != b"v=" + _base64(signature):
            raise ValueError("SCRAM: the broker has not proved that it knows the password")

    def _parse(self, data):
        """Nonce, salt and rounds of the server's first message."""
        parts = data.split(b",")
        if len(data) > _LONGEST or len(parts) < 3:
            raise ValueError("SCRAM: not a server's first message")
        for part, name in zip(parts, (b"r=", b"s=", b"i=")):
            if not part.startswith(name):  # `m=` is an extension that we do not know
                raise ValueError("SCRAM: not a server's first message")
        nonce, salt, rounds = parts[0][2:], _unbase64(parts[1][2:]), parts[2][2:]
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ValueError("SCRAM: the nonce is not ours")
        if not salt:
            raise ValueError("SCRAM: no salt")
        if not rounds.isdigit() or len(rounds) > 7 or not _LEAST <= int(rounds) <= self._most:
            raise ValueError("SCRAM: %s rounds" % _printable(rounds[:10]))
        return nonce, salt, int(rounds)


def _printable(data):
    return "".join([chr(b) if 32 <= b < 127 else "?" for b in data])
