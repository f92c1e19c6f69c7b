"""Command deduplication: keeps the last commands with their responses, so that duplicates are not executed.

The commands are kept in RAM and, if `path` is not None, also in a file. The file consists of slots of 192
bytes, each with a checksum, so a power cut during a write damages only the slot that is being written.
"""

import os
from binascii import crc32

from micropython import const

KEY_SIZE = const(12)  # bytes that identify a command
_SLOT = const(192)
_HEAD = const(4 + 4 + KEY_SIZE + 2)  # bytes: checksum, sequence number, key, length of the response
_STARTED = const(0xFFFF)  # value of the length field while there is no response yet
_MAX_ANSWER = const(_SLOT - _HEAD)


class CommandDedup:
    """The last `size` commands with their responses; a key of `KEY_SIZE` bytes identifies a command.

    `path` is the file that keeps the commands across restarts, None to keep them in RAM only.
    Damaged slots are skipped.
    """

    def __init__(self, size, path=None):
        self._size = size
        self._path = path
        self._commands = []  # [sequence number, key, response or None if there is none yet], oldest first
        self._next = 0
        if path:
            self._load()

    def get(self, key):
        """Return the response to a known command, "" if the command did not finish, None if it is unknown."""
        for command in self._commands:
            if command[1] == key:
                return command[2] or ""
        return None

    def start(self, key):
        """Record that the command is about to be executed."""
        self._put(key, None)

    def set(self, key, text):
        """Record that the command was executed, with this response."""
        self._put(key, text)

    def _put(self, key, text):
        if text is not None and len(text.encode()) > _MAX_ANSWER:
            text = '{"ok": false}' if '"ok": false' in text else '{"ok": true}'
        for command in self._commands:
            if command[1] == key:  # a known command keeps its slot
                command[2] = text
                break
        else:
            command = [self._next, key, text]
            self._next = (self._next + 1) & 0x3FFFFFFF
            self._commands.append(command)
            if len(self._commands) > self._size:
                self._commands.pop(0)
        if self._path:
            self._write(command)

    def _write(self, command):
        number, key, text = command
        data = b"" if text is None else text.encode()
        length = _STARTED if text is None else len(data)
        record = number.to_bytes(4, "big") + key + length.to_bytes(2, "big") + data
        record += bytes(_SLOT - 4 - len(record))
        try:
            with open(self._path, "r+b") as file:
                file.seek(number % self._size * _SLOT)
                file.write((crc32(record) & 0xFFFFFFFF).to_bytes(4, "big") + record)
        except (OSError, MemoryError) as error:
            self._report(error)

    def _load(self):
        try:
            if os.stat(self._path)[6] != self._size * _SLOT:
                raise OSError(0)
        except (OSError, MemoryError):
            self._create_file()
            return
        with open(self._path, "rb") as file:
            for _ in range(self._size):
                record = file.read(_SLOT)
                if int.from_bytes(record[:4], "big") != crc32(record[4:]) & 0xFFFFFFFF:
                    continue
                length = int.from_bytes(record[_HEAD - 2 : _HEAD], "big")
                text = None if length == _STARTED else str(record[_HEAD : _HEAD + length], "utf-8")
                number = int.from_bytes(record[4:8], "big")
                self._commands.append([number, bytes(record[8 : 8 + KEY_SIZE]), text])
        self._commands.sort(key=lambda command: command[0])
        if self._commands:
            self._next = self._commands[-1][0] + 1

    def _create_file(self):
        try:
            with open(self._path, "wb") as file:
                for _ in range(self._size):
                    file.write(bytes(_SLOT))
        except (OSError, MemoryError) as error:
            self._report(error)

    def _report(self, error):
        from ..flash_error import report

        report(self._path, error, "duplicate commands are not detected after a restart")
