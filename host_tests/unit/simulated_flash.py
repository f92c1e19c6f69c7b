"""Simulated flash filesystem with power cuts: synced data survive, unsynced data may be lost or garbled."""

from umqtt5.journal import record_log

REAL_FILE_FUNCTIONS = record_log.open if hasattr(record_log, "open") else open, record_log.remove


class PowerCut(BaseException):
    """The power has failed; the device runs no further code."""


class SeededRandom:
    """Pseudo-random numbers; a seed gives the same sequence on every interpreter."""

    def __init__(self, seed):
        self._state = (seed * 7919 + 12345) & 0x3FFFFFFF

    def below(self, n):
        self._state = (self._state * 1103515245 + 12345) & 0x3FFFFFFF
        return (self._state >> 8) % n


class _File:
    """An open file."""

    def __init__(self, flash, path, writing):
        self.flash = flash
        self.path = path
        self.writing = writing
        self.at = 0

    def write(self, buf, at, n):
        assert self.writing
        done = self.flash.take_steps(n + 1) - 1
        whole, tail = self.flash.files[self.path]
        if done > 0:
            self.flash.files[self.path] = whole, tail + bytes(buf[at : at + min(n, done)])
        if done < n:
            raise PowerCut
        self.flash.raise_pending_error()
        return n

    def flush(self):
        if not self.flash.take_steps(1):
            raise PowerCut
        self.flash.raise_pending_error()
        self.flash.syncs += 1
        whole, tail = self.flash.files[self.path]
        self.flash.files[self.path] = whole + tail, b""
        self.flash.removed_contents.clear()

    def seek(self, offset, whence=0):
        self.at = offset if whence == 0 else len(self.flash.content(self.path))
        return self.at

    def readinto(self, buf, n):
        data = self.flash.content(self.path)[self.at : self.at + n]
        buf[: len(data)] = data
        self.at += len(data)
        return len(data)

    def close(self):
        if self.writing and self.flash.steps_left:
            whole, tail = self.flash.files[self.path]
            self.flash.files[self.path] = whole + tail, b""


class SimulatedFlash:
    """A simulated filesystem for the journal; `files` maps a path to its synced and its unsynced bytes.

    The power fails after `steps_left` steps. A step is one byte written or one other operation.
    """

    def __init__(self, rng=None):
        self.files = {}
        self.removed_contents = {}  # removed or overwritten files, which may reappear after a cut
        self.removed = []
        self.rng = rng or SeededRandom(1)
        self.steps_left = 1 << 30
        self.errors = self.writes_before_errors = 0  # see `fail_after`
        self.failures = 0
        self.syncs = 0
        self.install()

    def install(self):
        record_log.open = self.open
        record_log.remove = self.remove

    @staticmethod
    def restore():
        record_log.open, record_log.remove = REAL_FILE_FUNCTIONS

    def take_steps(self, n):
        """Return how many of `n` steps complete before the power fails."""
        done = min(n, self.steps_left)
        self.steps_left -= done
        return done

    def raise_pending_error(self):
        if self.writes_before_errors:
            self.writes_before_errors -= 1
        elif self.errors:
            self.errors -= 1
            self.failures += 1
            raise OSError(5, "flash")

    def fail_after(self, writes, times):
        """Make `times` writes fail after `writes` successful ones."""
        self.writes_before_errors, self.errors = writes, times

    def content(self, path):
        whole, tail = self.files[path]
        return whole + tail

    def open(self, path, mode):
        if mode == "rb":
            if path not in self.files:
                raise OSError(2, "none")
            return _File(self, path, False)
        if not self.take_steps(1):
            raise PowerCut
        self.raise_pending_error()
        if mode == "wb":
            if path in self.files:
                self.removed_contents[path] = self.files[path]
            self.files[path] = b"", b""
        return _File(self, path, True)

    def remove(self, path):
        if not self.take_steps(1):
            raise PowerCut
        if path not in self.files:
            raise OSError(2, "none")
        self.removed_contents[path] = self.files.pop(path)
        self.removed.append(self.removed_contents[path])

    def power_up(self):
        """Decide at random what the device finds in its files after a power cut."""
        rng = self.rng
        for path, (whole, tail) in list(self.files.items()):
            how = rng.below(5)
            if how == 0:
                tail = b""
            elif how == 1:
                tail = tail[: rng.below(len(tail) + 1)]
            elif how == 2:  # the length was stored, but not all bytes
                n = rng.below(len(tail) + 1)
                tail = tail[:n] + bytes((rng.below(2) * 255,)) * (len(tail) - n)
            elif how == 3:
                n = rng.below(len(tail) + 1)
                old = b"".join([whole + tail for whole, tail in self.removed_contents.values()])
                old = old[len(whole) + n :] + b"stale"
                tail = tail[:n] + old[: len(tail) - n]
            self.files[path] = whole + tail, b""
        for path, content in list(self.removed_contents.items()):
            if rng.below(2):
                self.files[path] = b"".join(content), b""
        self.removed_contents.clear()
        self.steps_left = 1 << 30
