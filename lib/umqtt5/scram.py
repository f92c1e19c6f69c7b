"""SCRAM-SHA-256 (RFC 5802, RFC 7677), a method for enhanced authentication (AUTH).

The password is never sent, and the broker must prove that it knows the password.

client.auth = Scram("user", "password")
"""

from binascii import a2b_base64, b2a_base64
from hashlib import sha256

from micropython import const

_BATCH = const(32)  # iterations in one `work`; each takes about 1 ms on a small board
_MIN_ITERATIONS = const(4096)  # RFC 7677
_MAX_MESSAGE = const(1024)  # bytes


def _base64(data):
    return b2a_base64(data).rstrip(b"\n")


def _unbase64(text):
    """Decode base64. Raises ValueError if the text is not canonical."""
    try:
        data = a2b_base64(text)
    except Exception:  # binascii.Error on CPython, ValueError on MicroPython
        data = b""
    if _base64(data) != text:
        raise ValueError("SCRAM: not base64")
    return data


def _xor(a, b):
    return bytes([a[i] ^ b[i] for i in range(len(b))])


class _Hmac:
    """HMAC-SHA-256 (RFC 2104) with one key; call it with the data."""

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


class _Pbkdf2:
    """PBKDF2 (RFC 8018) for one block of 32 bytes, a few iterations at a time."""

    def __init__(self, password, salt, iterations):
        self.salt = salt
        self.iterations = self.left = iterations
        self._hmac = _Hmac(password)
        self._last = salt + b"\x00\x00\x00\x01"
        self._sum = 0

    def run(self, n):
        """Do at most `n` iterations; return True if all are done."""
        mac, last, total = self._hmac, self._last, self._sum
        for _ in range(min(n, self.left)):
            last = mac(last)
            total ^= int.from_bytes(last, "big")
        self._last, self._sum = last, total
        self.left = max(0, self.left - n)
        return not self.left

    def key(self):
        """Return the derived key, 32 bytes."""
        return self._sum.to_bytes(32, "big")


class Scram:
    """SCRAM-SHA-256 as a method for `client.auth`; see `optional.enhanced_auth` for the interface.

    The broker chooses the number of iterations, at least 4096. All iterations together take seconds on a
    small board, so each `poll` does a few of them. The derived key is kept for the next connection. A program
    with a watchdog connects with `wait=False` and feeds the watchdog between polls.

    `max_iterations` is the largest number of iterations to accept. `random` is a function of n that returns n
    random bytes; None means `os.urandom`.
    The caller must normalize a password that is not ASCII (SASLprep, RFC 4013).
    """

    method = "SCRAM-SHA-256"

    def __init__(self, user, password, *, max_iterations=32768, random=None):
        user = user.replace("=", "=3D").replace(",", "=2C")
        self._user = user.encode()
        self._password = password.encode() if isinstance(password, str) else bytes(password)
        self._max_iterations = max_iterations
        self._random = random
        self._pbkdf2 = _Pbkdf2(b"", b"", 0)
        self._nonce = self._first = self._without_proof = self._messages = self._signature = None

    def start(self):
        """Begin an exchange; return the client-first-message."""
        random = self._random
        if random is None:
            from os import urandom as random
        self._nonce = _base64(random(18))
        self._first = b"n=" + self._user + b",r=" + self._nonce
        self._messages = self._signature = None
        return b"n,," + self._first

    def challenge(self, data):
        """Handle the server-first-message; return the client-final-message, or None.

        After None the caller must call `work`. Raises ValueError if the message is wrong.
        """
        if self._first is None or self._messages is not None:
            raise ValueError("SCRAM: unexpected message")
        nonce, salt, iterations = self._parse(bytes(data))
        self._without_proof = b"c=biws,r=" + nonce
        self._messages = self._first + b"," + data + b"," + self._without_proof
        if self._pbkdf2.salt != salt or self._pbkdf2.iterations != iterations:
            self._pbkdf2 = _Pbkdf2(self._password, salt, iterations)
        return self.work()

    def work(self):
        """Do some iterations; return the client-final-message when all are done, otherwise None."""
        if not self._pbkdf2.run(_BATCH):
            return None
        mac = _Hmac(self._pbkdf2.key())
        key = mac(b"Client Key")
        proof = _xor(key, _Hmac(sha256(key).digest())(self._messages))
        self._signature = _Hmac(mac(b"Server Key"))(self._messages)
        return self._without_proof + b",p=" + _base64(proof)

    def finish(self, data):
        """Handle the server-final-message.

        Raises ValueError unless the message proves that the broker knows the password.
        """
        signature, self._signature = self._signature, None
        self._first = None
        data = bytes(data)[:_MAX_MESSAGE].split(b",")[0]
        if data.startswith(b"e="):
            raise ValueError("SCRAM: the broker reports %s" % _printable(data[2:]))
        if signature is None or data != b"v=" + _base64(signature):
            raise ValueError("SCRAM: the broker has not proved that it knows the password")

    def _parse(self, data):
        """Return nonce, salt and iteration count of the server-first-message. Raises ValueError."""
        parts = data.split(b",")
        if len(data) > _MAX_MESSAGE or len(parts) < 3:
            raise ValueError("SCRAM: wrong server-first-message")
        for part, name in zip(parts, (b"r=", b"s=", b"i=")):
            if not part.startswith(name):  # for example `m=`, an extension that must not be ignored
                raise ValueError("SCRAM: wrong server-first-message")
        nonce, salt, iterations = parts[0][2:], _unbase64(parts[1][2:]), parts[2][2:]
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ValueError("SCRAM: wrong nonce")
        if not salt:
            raise ValueError("SCRAM: no salt")
        count = int(iterations) if iterations.isdigit() and len(iterations) < 8 else 0
        if not _MIN_ITERATIONS <= count <= self._max_iterations:
            raise ValueError("SCRAM: %s iterations refused" % _printable(iterations[:10]))
        return nonce, salt, count


def _printable(data):
    return "".join([chr(b) if 32 <= b < 127 else "?" for b in data])
