"""A flash file system that keeps what was synced, and of the rest what it likes, when the power goes."""

from umqtt5.journal import record_log as module

REAL = module.open if hasattr(module, "open") else open, module.remove


class PowerCut(BaseException):
    """No code of the device runs on from here."""


class Dice:
    """Numbers by chance, the same for the same seed on each interpreter."""

    def __init__(self, seed):
        self._state = (seed * 7919 + 12345) & 0x3FFFFFFF

    def below(self, n):
        self._state = (self._state * 1103515245 + 12345) & 0x3FFFFFFF
        return (self._state >> 8) % n


class _File:
    """One that is open."""

    def __init__(self, flash, path, writing):
        self.flash = flash
        self.path = path
        self.writing = writing
        self.at = 0

    def write(self, buf, at, n):
        assert self.writing
        done = self.flash.spend(n + 1) - 1
        whole, tail = self.flash.files[self.path]
        if done > 0:
            self.flash.files[self.path] = whole, tail + bytes(buf[at : at + min(n, done)])
        if done < n:
            raise PowerCut
        self.flash.fail()
        return n

    def flush(self):
        if not self.flash.spend(1):
            raise PowerCut
        self.flash.fail()
        self.flash.syncs += 1
        whole, tail = self.flash.files[self.path]
        self.flash.files[self.path] = whole + tail, b""
        self.flash.ghosts.clear()

    def seek(self, offset, whence=0):
        self.at = offset if whence == 0 else len(self.flash.content(self.path))
        return self.at

    def readinto(self, buf, n):
        data = self.flash.content(self.path)[self.at : self.at + n]
        buf[: len(data)] = data
        self.at += len(data)
        return len(data)

    def close(self):
        if self.writing and self.flash.left:
            whole, tail = self.flash.files[self.path]
            self.flash.files[self.path] = whole + tail, b""


class Flash:
    """`files` has by path what was synced and what was written since.

    The power goes after `left` steps: each byte, and each other thing that is done, is one.
    """

    def __init__(self, dice=None):
        self.files = {}
        self.ghosts = {}  # what was removed or overwritten and may be there again after a cut
        self.removed = []
        self.dice = dice or Dice(1)
        self.left = 1 << 30
        self.errors = self.spare = 0  # so many writes fail after so many that do not
        self.failures = 0
        self.syncs = 0
        self.use()

    def use(self):
        module.open = self.open
        module.remove = self.remove

    @staticmethod
    def restore():
        module.open, module.remove = REAL

    def spend(self, n):
        """How many of `n` steps are done before the power goes."""
        done = min(n, self.left)
        self.left -= done
        return done

    def fail(self):
        if self.spare:
            self.spare -= 1
        elif self.errors:
            self.errors -= 1
            self.failures += 1
            raise OSError(5, "flash")

    def fails_in(self, writes, times):
        """After so many writes, so many fail."""
        self.spare, self.errors = writes, times

    def content(self, path):
        whole, tail = self.files[path]
        return whole + tail

    def open(self, path, mode):
        if mode == "rb":
            if path not in self.files:
                raise OSError(2, "none")
            return _File(self, path, False)
        if not self.spend(1):
            raise PowerCut
        self.fail()
        if mode == "wb":
            if path in self.files:
                self.ghosts[path] = self.files[path]
            self.files[path] = b"", b""
        return _File(self, path, True)

    def remove(self, path):
        if not self.spend(1):
            raise PowerCut
        if path not in self.files:
            raise OSError(2, "none")
        self.ghosts[path] = self.files.pop(path)
        self.removed.append(self.ghosts[path])

    def power_up(self):
        """What the device finds after a cut."""
        dice = self.dice
        for path, (whole, tail) in list(self.files.items()):
            how = dice.below(5)
            if how == 0:
                tail = b""
            elif how == 1:
                tail = tail[: dice.below(len(tail) + 1)]
            elif how == 2:  # its length was kept, but not all of its bytes
                n = dice.below(len(tail) + 1)
                tail = tail[:n] + bytes((dice.below(2) * 255,)) * (len(tail) - n)
            elif how == 3:
                n = dice.below(len(tail) + 1)
                old = b"".join([whole + tail for whole, tail in self.ghosts.values()])
                old = old[len(whole) + n :] + b"stale"
                tail = tail[:n] + old[: len(tail) - n]
            self.files[path] = whole + tail, b""
        for path, content in list(self.ghosts.items()):
            if dice.below(2):
                self.files[path] = b"".join(content), b""
        self.ghosts.clear()
        self.left = 1 << 30
