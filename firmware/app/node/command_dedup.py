"""Command deduplication: detects duplicate commands, executes each once and repeats its response.

Two commands are the same if they have the same Response Topic and Correlation Data, or the same user property
`id`. The last commands are kept in RAM and, if a path is given, in a file of slots of 192 bytes, each with a
checksum; a power cut during a write loses only that slot. Commands with the user property `expires` are
rejected after that time.
"""

import os
from binascii import crc32
from hashlib import sha256

from micropython import const

from .timestamps import unix_time

_RESPONSE_TOPIC = const(0x08)
_CORRELATION_DATA = const(0x09)
_USER_PROPERTY = const(0x26)
_KEY = const(12)  # bytes
_SLOT = const(192)
_HEAD = const(4 + 4 + _KEY + 2)  # bytes: checksum, sequence number, key, length of the response
_STARTED = const(0xFFFF)  # length of a response that does not exist yet
_MAX_ANSWER = const(_SLOT - _HEAD)


class CommandDedup:
    """The last `capacity` commands with their responses.

    `path` is the file that keeps them across restarts, None for RAM only. Damaged slots are skipped.
    """

    def __init__(self, capacity, path=None):
        self._capacity = capacity
        self._path = path
        self._commands = []  # [sequence number, key, response], oldest first; no response yet: None
        self._next = 0
        if path:
            self._load()

    def find_answer(self, key):
        """Return the response to a known command: "" if it was not finished, None if the command is new."""
        for entry in self._commands:
            if entry[1] == key:
                return entry[2] or ""
        return None

    def mark_started(self, key):
        """Note that the command is about to be executed."""
        self._put(key, None)

    def store_answer(self, key, text):
        """Note that the command was executed, with this response."""
        self._put(key, text)

    def _put(self, key, text):
        if text is not None and len(text.encode()) > _MAX_ANSWER:
            text = '{"ok": true}'
        for entry in self._commands:
            if entry[1] == key:  # it keeps its slot
                entry[2] = text
                break
        else:
            entry = [self._next, key, text]
            self._next = (self._next + 1) & 0x3FFFFFFF
            self._commands.append(entry)
            if len(self._commands) > self._capacity:
                self._commands.pop(0)
        if self._path:
            self._write(entry)

    def _write(self, entry):
        number, key, text = entry
        data = b"" if text is None else text.encode()
        length = _STARTED if text is None else len(data)
        record = number.to_bytes(4, "big") + key + length.to_bytes(2, "big") + data
        record += bytes(_SLOT - 4 - len(record))
        try:
            with open(self._path, "r+b") as file:
                file.seek(number % self._capacity * _SLOT)
                file.write((crc32(record) & 0xFFFFFFFF).to_bytes(4, "big") + record)
        except OSError as error:
            print("%s: %s; duplicate commands are not detected after a restart" % (self._path, error))

    def _load(self):
        size = self._capacity * _SLOT
        try:
            if os.stat(self._path)[6] != size:
                raise OSError(0)
        except OSError:
            self._create_file()
            return
        with open(self._path, "rb") as file:
            for _ in range(self._capacity):
                record = file.read(_SLOT)
                if int.from_bytes(record[:4], "big") != crc32(record[4:]) & 0xFFFFFFFF:
                    continue
                length = int.from_bytes(record[_HEAD - 2 : _HEAD], "big")
                text = None if length == _STARTED else str(record[_HEAD : _HEAD + length], "utf-8")
                number = int.from_bytes(record[4:8], "big")
                self._commands.append([number, bytes(record[8 : 8 + _KEY]), text])
        self._commands.sort(key=lambda entry: entry[0])
        if self._commands:
            self._next = self._commands[-1][0] + 1

    def _create_file(self):
        try:
            with open(self._path, "wb") as file:
                for _ in range(self._capacity):
                    file.write(bytes(_SLOT))
        except OSError as error:
            print("%s: %s; duplicate commands are not detected after a restart" % (self._path, error))


def command_key(message, name):
    """Return the key that identifies a command to the actuator `name`, None if the command has none."""
    correlation = message.property(_CORRELATION_DATA)
    if correlation:
        who = (message.property(_RESPONSE_TOPIC) or "").encode() + b"\0" + bytes(correlation)
    else:
        who = _user_property(message, "id")
        if who is None:
            return None
        who = who.encode()
    return sha256(name.encode() + b"\0" + who).digest()[:_KEY]


def _user_property(message, name):
    """Return the value of the first user property of this name, None if there is none."""
    nth = 0
    while True:
        pair = message.property(_USER_PROPERTY, nth)
        if pair is None or pair[0] == name:
            return pair and pair[1]
        nth += 1


def is_expired(message):
    """Return True if the time in the user property `expires`, seconds since 1970, is over.

    Without a set clock it returns False. Raises ValueError if the property is not a number.
    """
    text = _user_property(message, "expires")
    now = unix_time()
    if text is None or not now:
        return False
    try:
        return now > int(text)
    except ValueError:
        raise ValueError("expires: expected seconds since 1970")


def is_idempotent(payload):
    """Return True if it makes no difference to execute the command twice: False for TOGGLE and `for`."""
    payload = payload.upper()
    return b"TOGGLE" not in payload and b'"FOR"' not in payload
