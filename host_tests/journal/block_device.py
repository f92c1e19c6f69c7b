"""Power cuts of the journal on MicroPython's littlefs and FAT, on a RAM block device. Runs in the VM.

    block_device.cut_at_every_block(kind, every, first, step)   one power cut per block written or erased
    block_device.random_cuts(kind, seeds)                       several boots, each ends with a power cut

With littlefs, a power cut leaves a part of the current write, because littlefs tolerates that. With FAT, a
sector is written completely or not at all, as SD cards and wear levelling guarantee.
"""

import gc
import os

from power_cycles import DeviceHistory
from simulated_flash import PowerCut, SeededRandom

from umqtt5.journal import record_log

FOLDER = "/flash"
KINDS = {"littlefs": (os.VfsLfs2, 4096, 16), "fat": (os.VfsFat, 512, 128)}


class BlockDevice:
    """A RAM block device with MicroPython's interface.

    Each block written or erased is a step. The power fails when `steps_left` is used up.
    """

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

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // self.size
        if op == 5:
            return self.size
        if op == 6 and self.size == 4096:
            self.erases += 1
            return self._put(arg * self.size, b"\xff" * self.size, True)
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
    """An open file whose methods raise PowerCut if the power has failed."""

    def __init__(self, flash, file):
        self._flash = flash
        self._file = file

    def write(self, buf, at, n):
        return self._flash.do(self._file.write, buf, at, n)

    def readinto(self, buf, n):
        return self._flash.do(self._file.readinto, buf, n)

    def seek(self, *position):
        return self._flash.do(self._file.seek, *position)

    def flush(self):
        return self._flash.do(self._file.flush)

    def close(self):
        self._flash.files.remove(self)
        return self._flash.do(self._file.close)


class MountedFilesystem:
    """A real filesystem on a BlockDevice, with the interface of `simulated_flash.SimulatedFlash`."""

    failures = errors = 0

    def __init__(self, kind, rng):
        self.vfs, size, count = KINDS[kind]
        self.device = BlockDevice(size, bytearray(size * count), rng)
        self.vfs.mkfs(self.device)
        self.rng = rng
        self.files: list = []  # open files
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
        """Call a function of the filesystem. Raises PowerCut if the power fails meanwhile."""
        try:
            result = function(*arguments)
        except OSError:
            if not self.device.dead:
                raise
        if self.device.dead:
            raise PowerCut
        return result

    def open(self, path, mode):
        return self.do(self._open, path, mode)

    def _open(self, path, mode):
        self.files.append(_File(self, open(path, mode)))
        return self.files[-1]

    def remove(self, path):
        self.do(os.remove, path)

    def off(self):
        """Close the files and unmount. The block device accepts the writes that this causes."""
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
        """Mount the data that the block device had when the power failed."""
        data = bytearray(self.device.data)  # before `off`, which writes
        self.off()
        self.device = BlockDevice(self.device.size, data, self.rng)
        self._mount()


def journal(every):
    return {"path": FOLDER + "/outbox", "sync_every": every, "sync_ms": 10, "size": 2200}


def cut_at_every_block(kind, every, first=0, step=1):
    """Repeat one workload with a power cut at each block; return the number of blocks tried.

    The workload rotates the log. Only blocks `first`, `first + step` and so on are tried.
    """
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
    """Run several boots per seed, each ended by a power cut at a random block; return the number of cuts.

    The boots of one seed use the same filesystem.
    """
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
