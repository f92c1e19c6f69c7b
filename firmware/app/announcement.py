"""One announcement of entities, on its way; and the file that tells what was announced before.

`announced` has the topic in its first line and a key in each of the others. A key is there before it
is announced and until it is withdrawn, wherever the power goes. Loaded and let go by `discovery`.
"""

import os

from umqtt5 import stream

FILE = "announced"
_NEW = "announced.new"


def announced():
    """The topic and the keys of what was announced, None and none where nothing was."""
    try:
        with open(FILE) as file:
            lines = file.read().split("\n")
    except (OSError, ValueError):  # a file that is no text
        return None, []
    return lines[0] or None, [line for line in lines[1:] if line]


def forget():
    """All of it was withdrawn."""
    os.remove(FILE)


class Announcement:
    """A reader for `stream.send`, which reads it a second time where the link was lost."""

    def __init__(self, entities, topic):
        self._entities = entities
        self._topic = topic
        before, keys = announced()
        now = [key for key, _ in entities.table()]
        self.gone = [key for key in keys if key not in now]
        if before is None:
            self._write(FILE, "w", now)
        else:
            self._write(FILE, "a", [key for key in now if key not in keys])
        self.size = 0  # bytes
        for piece in entities.pieces(self.gone):
            self.size += len(piece.encode())
        self.seek(0)

    def send(self, client):
        """Begin; returns the packet identifier, 0 where there is no room now."""
        return stream.send(client, self._topic, self, self.size, qos=1, retain=True)

    def arrived(self):
        """What is gone is told: it can be forgotten."""
        if self.gone:
            self._write(_NEW, "w", [key for key, _ in self._entities.table()])
            os.rename(_NEW, FILE)

    def _write(self, path, mode, keys):
        """An announcement is worth more than to know later what was in it."""
        if mode == "a" and not keys:
            return
        try:
            with open(path, mode) as file:
                if mode == "w":
                    file.write(self._topic + "\n")
                for key in keys:
                    file.write(key + "\n")
        except OSError as error:
            print("%s: %s: what goes can't be withdrawn" % (path, error))

    # ---- as a reader

    def tell(self):
        """It begins where it begins."""
        return 0

    def seek(self, at):
        """From the start again; there is no other place to go to."""
        self._pieces = self._entities.pieces(self.gone)
        self._piece = b""
        self._at = 0

    def readinto(self, buf):
        """Fill `buf`; returns how many bytes, fewer only at the end."""
        n = 0
        while n < len(buf):
            if self._at == len(self._piece):
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._piece, self._at = piece.encode(), 0
            some = self._piece[self._at : self._at + len(buf) - n]
            buf[n : n + len(some)] = some
            n += len(some)
            self._at += len(some)
        return n
