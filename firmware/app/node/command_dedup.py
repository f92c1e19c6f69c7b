"""Commands that were carried out: a repeat is answered from here, and not carried out again.

A command is the same when its Response Topic and Correlation Data are, or else its user property
`id`. The last so many are kept in RAM; with `path` also in a file of slots of a fixed size, each
with its checksum, so that a cut while one is written loses that one and no other.
"""

import os
from binascii import crc32
from hashlib import sha256

from micropython import const

from .timestamps import seconds

_RESPONSE_TOPIC = const(0x08)
_CORRELATION_DATA = const(0x09)
_USER_PROPERTY = const(0x26)
_KEY = const(12)  # bytes
_SLOT = const(192)
_HEAD = const(4 + 4 + _KEY + 2)  # checksum, number, key, length of the answer
_BEGUN = const(0xFFFF)  # for the length: there is no answer yet
_LONGEST = const(_SLOT - _HEAD)


class Repeats:
    """`keep`: how many. What can't be read of the file is left out."""

    def __init__(self, keep, path=None):
        self._keep = keep
        self._path = path
        self._known = []  # [number, key, answer], the oldest first; the answer is None where it is begun
        self._number = 0
        if path:
            self._load()

    def find(self, key):
        """The answer that a command got, "" where it was begun and never ended, None for a new one."""
        for entry in self._known:
            if entry[1] == key:
                return entry[2] or ""
        return None

    def begin(self, key):
        """It is about to be carried out."""
        self._put(key, None)

    def done(self, key, answer):
        """It was carried out, and got this answer."""
        self._put(key, answer)

    def _put(self, key, answer):
        if answer is not None and len(answer.encode()) > _LONGEST:
            answer = '{"ok": true}'
        for entry in self._known:
            if entry[1] == key:  # it keeps its slot
                entry[2] = answer
                break
        else:
            entry = [self._number, key, answer]
            self._number = (self._number + 1) & 0x3FFFFFFF
            self._known.append(entry)
            if len(self._known) > self._keep:
                self._known.pop(0)
        if self._path:
            self._write(entry)

    def _write(self, entry):
        number, key, answer = entry
        data = b"" if answer is None else answer.encode()
        length = _BEGUN if answer is None else len(data)
        record = number.to_bytes(4, "big") + key + length.to_bytes(2, "big") + data
        record += bytes(_SLOT - 4 - len(record))
        try:
            with open(self._path, "r+b") as file:
                file.seek(number % self._keep * _SLOT)
                file.write((crc32(record) & 0xFFFFFFFF).to_bytes(4, "big") + record)
        except OSError as error:
            print("%s: %s: repeats are known until the next restart only" % (self._path, error))

    def _load(self):
        size = self._keep * _SLOT
        try:
            if os.stat(self._path)[6] != size:
                raise OSError(0)
        except OSError:
            try:
                with open(self._path, "wb") as file:
                    for _ in range(self._keep):
                        file.write(bytes(_SLOT))
            except OSError as error:
                print("%s: %s" % (self._path, error))
            return
        with open(self._path, "rb") as file:
            for _ in range(self._keep):
                record = file.read(_SLOT)
                if int.from_bytes(record[:4], "big") != crc32(record[4:]) & 0xFFFFFFFF:
                    continue
                length = int.from_bytes(record[_HEAD - 2 : _HEAD], "big")
                answer = None if length == _BEGUN else str(record[_HEAD : _HEAD + length], "utf-8")
                number = int.from_bytes(record[4:8], "big")
                self._known.append([number, bytes(record[8 : 8 + _KEY]), answer])
        self._known.sort(key=lambda entry: entry[0])
        if self._known:
            self._number = self._known[-1][0] + 1


def key_of(message, name):
    """What makes this command to `name` the same as another, None where it does not say."""
    correlation = message.property(_CORRELATION_DATA)
    if correlation:
        who = (message.property(_RESPONSE_TOPIC) or "").encode() + b"\0" + bytes(correlation)
    else:
        who = user_property(message, "id")
        if who is None:
            return None
        who = who.encode()
    return sha256(name.encode() + b"\0" + who).digest()[:_KEY]


def user_property(message, name):
    """The value of the first user property of this name, None where there is none."""
    nth = 0
    while True:
        pair = message.property(_USER_PROPERTY, nth)
        if pair is None or pair[0] == name:
            return pair and pair[1]
        nth += 1


def expired(message):
    """Whether the user property `expires`, seconds since 1970, is over. Raises ValueError.

    A clock that was never set can't tell: then it is not.
    """
    text = user_property(message, "expires")
    now = seconds()
    if text is None or not now:
        return False
    try:
        return now > int(text)
    except ValueError:
        raise ValueError("expires: expected seconds since 1970")


def can_be_repeated(payload):
    """Whether carrying it out again leads to the same: ON does, TOGGLE does not."""
    payload = payload.upper()
    return b"TOGGLE" not in payload and b'"FOR"' not in payload
