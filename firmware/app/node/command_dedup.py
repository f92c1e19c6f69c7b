"""Command deduplication: keeps the last commands with their responses, so that duplicates are not executed.

A command is kept for 10 minutes. The commands are kept in RAM and, if `path` is not None, also in a file. The
file consists of slots of 192 bytes, each with a checksum, so a power cut during a write damages only the slot
that is being written. The age of a command in the file is known if the clock was set when it arrived and is
set now. Otherwise its age counts from the start of the device.
"""

import os
from binascii import crc32
from time import ticks_diff, ticks_ms

from micropython import const

from .timestamps import unix_time

KEY_SIZE = const(12)  # bytes that identify a command
_MAX_AGE = const(600000)  # ms
_SLOT = const(192)
# bytes: checksum, sequence number, Unix time (0 if unknown), key, length of the response
_HEAD = const(4 + 4 + 4 + KEY_SIZE + 2)
_FORMAT = const(2)  # initial value of the checksum, so that slots with another layout are not valid
_STARTED = const(0xFFFF)  # value of the length field while there is no response yet
_MAX_ANSWER = const(_SLOT - _HEAD)


class CommandDedup:
    """The last `size` commands with their responses; a key of `KEY_SIZE` bytes identifies a command.

    `path` is the file that keeps the commands across restarts, None to keep them in RAM only. Damaged slots
    are skipped. If the file cannot be used, the commands are kept in RAM only.
    """

    def __init__(self, size, path=None):
        self._size = size
        self._path = path
        # Oldest first: [sequence number, key, response or None if there is none yet, ticks, Unix time in the
        # file]. The Unix time of a command that has arrived since the start is 0: its age in ticks is exact,
        # and the clock may be corrected by hours.
        self._commands = []
        self._next = 0
        if path:
            self._load()

    def get(self, key):
        """Return the response to a known command, "" if the command did not finish, None if it is unknown."""
        self.expire(ticks_ms())
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

    def expire(self, now):
        """Forget the commands that are too old. Call this regularly, because ticks wrap around."""
        while self._commands:
            command = self._commands[0]
            clock = unix_time() if command[4] else 0
            if ticks_diff(now, command[3]) < _MAX_AGE and (
                not clock or clock - command[4] < _MAX_AGE // 1000
            ):
                return
            self._commands.pop(0)

    def _put(self, key, text):
        if text is not None and len(text.encode()) > _MAX_ANSWER:
            text = '{"ok": false}' if '"ok": false' in text else '{"ok": true}'
        for command in self._commands:
            if command[1] == key:  # a known command keeps its slot
                command[2] = text
                break
        else:
            command = [self._next, key, text, ticks_ms(), 0]
            self._next = (self._next + 1) & 0x3FFFFFFF
            self._commands.append(command)
            if len(self._commands) > self._size:
                self._commands.pop(0)
        if self._path:
            self._write(command)

    def _write(self, command):
        number, key, text, _, clock = command
        clock = clock or unix_time()
        data = b"" if text is None else text.encode()
        length = _STARTED if text is None else len(data)
        record = number.to_bytes(4, "big") + clock.to_bytes(4, "big") + key + length.to_bytes(2, "big") + data
        record += bytes(_SLOT - 4 - len(record))
        try:
            with open(self._path, "r+b") as file:
                file.seek(number % self._size * _SLOT)
                file.write((crc32(record, _FORMAT) & 0xFFFFFFFF).to_bytes(4, "big") + record)
        except (OSError, MemoryError) as error:
            self._report(error)

    def _load(self):
        try:
            if os.stat(self._path)[6] != self._size * _SLOT:
                raise OSError(0)
        except (OSError, MemoryError):
            self._create_file()
            return
        try:
            with open(self._path, "rb") as file:
                for _ in range(self._size):
                    self._load_slot(file.read(_SLOT), ticks_ms())
        except (OSError, MemoryError) as error:
            self._report(error)
        self._commands.sort(key=lambda command: command[0])
        if self._commands:
            self._next = self._commands[-1][0] + 1

    def _load_slot(self, record, now):
        if int.from_bytes(record[:4], "big") != crc32(record[4:], _FORMAT) & 0xFFFFFFFF:
            return
        length = int.from_bytes(record[_HEAD - 2 : _HEAD], "big")
        text = None if length == _STARTED else str(record[_HEAD : _HEAD + length], "utf-8")
        number, clock = int.from_bytes(record[4:8], "big"), int.from_bytes(record[8:12], "big")
        self._commands.append([number, bytes(record[12 : 12 + KEY_SIZE]), text, now, clock])

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
