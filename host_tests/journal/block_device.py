"""The journal on MicroPython's own littlefs and FAT, over a block device whose power goes. Runs in the VM.

    block_device.cut_at_every_block(kind, every, first, step)   a cut at each block that is written or erased
    block_device.random_cuts(kind, seeds)               several boots, each ended by a cut by chance

The block device is RAM. What was being written when the power went is there in part, with littlefs,
whose promise that is; with FAT a sector is written or not, as an SD card and a wear levelling do it.
"""

import gc
import os

from power_cycles import DeviceHistory
from simulated_flash import PowerCut, SeededRandom

from umqtt5.journal import record_log

FOLDER = "/flash"
KINDS = {"littlefs": (os.VfsLfs2, 4096, 16), "fat": (os.VfsFat, 512, 128)}


class BlockDevice:
    """A block device as MicroPython asks for it. Each block written or erased is a step; `left` are left."""

    def __init__(self, size, data, rng):
        self.size = size
        self.data = data
        self.rng = rng
        self.steps_left = 1 << 30
        self.dead = False
        self.writes = self.erases = 0

    def readblocks(self, n, buf, offset=0):
        at = n * self.size + offset
        buf[:] = memoryview(self.data)[at : at + len(buf)]

    def writeblocks(self, n, buf, offset=None):
        if offset is not None:
            return self._put(n * self.size + offset, buf, True)
        for i in range(0, len(buf), self.size):
            if self._put(n * self.size + i, memoryview(buf)[i : i + self.size], False):
                return -5
        return 0

    def ioctl(self, what, block):
        if what == 4:
            return len(self.data) // self.size
        if what == 5:
            return self.size
        if what == 6 and self.size == 4096:
            self.erases += 1
            return self._put(block * self.size, b"\xff" * self.size, True)
        return 0

    def _put(self, at, data, torn):
        if self.dead:
            return -5
        self.writes += 1
        n = len(data)
        if not self.steps_left:
            self.dead = True
            n = self.rng.below(n + 1) if torn else 0
        self.steps_left -= 1
        self.data[at : at + n] = data[:n]
        return -5 if self.dead else 0


class _File:
    """An open file, none of whose methods returns when the power has gone."""

    def __init__(self, flash, file):
        self._flash = flash
        self._file = file

    def write(self, buf, at, n):
        return self._flash.do(self._file.write, buf, at, n)

    def readinto(self, buf, n):
        return self._flash.do(self._file.readinto, buf, n)

    def seek(self, *where):
        return self._flash.do(self._file.seek, *where)

    def flush(self):
        return self._flash.do(self._file.flush)

    def close(self):
        self._flash.files.remove(self)
        return self._flash.do(self._file.close)


class MountedFilesystem:
    """In place of `simulated_flash.SimulatedFlash`: a real file system on such a device."""

    failures = errors = 0

    def __init__(self, kind, rng):
        self.vfs, size, count = KINDS[kind]
        self.device = BlockDevice(size, bytearray(size * count), rng)
        self.vfs.mkfs(self.device)
        self.rng = rng
        self.files: list = []  # that are open
        self._mount()
        record_log.open = self.open
        record_log.remove = self.remove

    def _mount(self):
        os.mount(self.vfs(self.device), FOLDER)

    @property
    def steps_left(self):
        return self.device.steps_left

    @steps_left.setter
    def steps_left(self, steps):
        self.device.steps_left = steps

    def do(self, function, *arguments):
        try:
            done = function(*arguments)
        except OSError:
            if not self.device.dead:
                raise
        if self.device.dead:
            raise PowerCut
        return done

    def open(self, path, mode):
        return self.do(self._open, path, mode)

    def _open(self, path, mode):
        self.files.append(_File(self, open(path, mode)))
        return self.files[-1]

    def remove(self, path):
        self.do(os.remove, path)

    def off(self):
        """Let go of it; what the file system still writes comes too late for `power_up`."""
        self.device.dead = False
        self.device.steps_left = 1 << 30
        for file in self.files:
            try:
                file._file.close()
            except OSError:
                pass
        self.files = []
        os.umount(FOLDER)
        gc.collect()

    def power_up(self):
        """Mount what the device held when the power went."""
        kept = bytearray(self.device.data)
        self.off()
        self.device = BlockDevice(self.device.size, kept, self.rng)
        self._mount()


def journal(every):
    return {"path": FOLDER + "/outbox", "sync_every": every, "sync_ms": 10, "size": 2200}


def cut_at_every_block(kind, every, first=0, step=1):
    """One workload with a turn of the files, cut at each block; returns how many places those were."""
    cut = first
    while True:
        flash = MountedFilesystem(kind, SeededRandom(cut))
        history = DeviceHistory(SeededRandom(2), cut % 2, journal(every), {"outbox": 128}, flash=flash)
        flash.steps_left = cut
        ended = not history.run(120, [140] * 20)
        history.cut()
        history.run_to_completion()
        history.check()
        flash.off()
        if ended:
            assert history.rotations > 1, "the file was never full"
            return cut
        cut += step


def random_cuts(kind, seeds):
    """Several boots on one file system, cut by chance; returns how many cuts those were."""
    cuts = 0
    for seed in seeds:
        rng = SeededRandom(seed)
        history = DeviceHistory(
            rng, rng.below(2), journal((1, 4, 100)[seed % 3]), flash=MountedFilesystem(kind, rng)
        )
        while history.cuts < 12:
            history.flash.steps_left = rng.below(400) if rng.below(4) else rng.below(40)
            history.run(60, [rng.below(400) for _ in range(rng.below(3))])
            history.cut()
        history.run_to_completion()
        history.check()
        history.flash.off()
        cuts += history.cuts
    return cuts
