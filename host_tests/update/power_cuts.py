"""An update on MicroPython's own littlefs and FAT, with the power cut at each block. Runs in the VM.

    power_cuts.cut_at_every_block(kind, first, step)

The receiver and the choice are those of the firmware; what a broker would bring is handed to them. After
each cut the board starts again: what it chooses is whole, and of a version that may be there; and it
takes the next update.
"""

import gc
import os
import sys
from time import ticks_ms

from block_device import FOLDER, BlockDevice
from simulated_flash import SeededRandom

import slot
from app import update_download

KINDS = {"littlefs": (os.VfsLfs2, 4096, 48), "fat": (os.VfsFat, 512, 320)}
_PIECE = 512


def files(version):
    """What a version consists of. One file is the same in all of them, and copied."""
    return {
        "app/node.mpy": b"version %d, " % version * 90,
        "app/same.mpy": b"the same, " * 60,
        "pins.mpy": b"pins %d" % version,
    }


class _Outbox:
    count = 0


class _Session:
    outbox = _Outbox()


class _Client:
    """As far as a receiver sees it."""

    session = _Session()
    take = None

    def subscribe(self, topic, handler, **options):
        self.take = handler

    def unsubscribe(self, topic):
        self.take = None

    def publish(self, topic, payload, qos=0):
        self.wanted = [int(word) for word in payload.strip("[]").split(",")]
        return 1


class _Owner:
    over = False

    def set_state(self, *what, **more):
        pass

    def download_ended(self, error=None):
        self.over = True


class _Piece:
    retain = False

    def __init__(self, payload):
        self.payload = payload

    def __len__(self):
        return len(self.payload)


def _digest(data):
    return update_download._hex(update_download.sha256(data))


def install(version):
    """Offer a version, and bring what is asked for. Raises OSError."""
    wanted = files(version)
    manifest = "".join(["%d %s %s\n" % (len(wanted[p]), _digest(wanted[p]), p) for p in sorted(wanted)])
    parts = [manifest.encode()] + [wanted[path] for path in sorted(wanted)]
    offer = {"version": version, "size": len(parts[0]), "sha256": _digest(parts[0])}
    client, owner = _Client(), _Owner()
    receiver = update_download.UpdateDownload(client, "dut", offer, owner)
    while not owner.over:
        receiver.run(ticks_ms())
        if client.take and not owner.over and receiver._size is not None:
            number, at = client.wanted
            head = number.to_bytes(2, "big") + at.to_bytes(4, "big")
            client.take(_Piece(head + parts[number][at : at + _PIECE]))
            client.wanted[1] += _PIECE
            receiver._due = ticks_ms()  # it asks at once


def start():
    """What `boot.py` does; returns the folder whose application would run."""
    path = list(sys.path)
    slot.select()
    found = sys.path[0] if len(sys.path) > len(path) else "."
    sys.path[:] = path
    return found


def confirm():
    current, before, _ = slot.read()
    slot.write(current, before, slot.CONFIRMED)


def crashes():
    """It is started, is never good, and goes back."""
    for _ in range(slot._MAX_TRIES + 1):
        start()


# what is done, and the versions that may run when the power goes in it
STEPS = (
    (lambda: install(1), (0, 1)),
    (start, (1,)),
    (confirm, (1,)),
    (lambda: install(2), (1, 2)),
    (crashes, (2, 1)),
    (lambda: install(3), (1, 3)),
    (lambda: check_boots((3,)), (3,)),
)


def check_boots(allowed):
    """What a start chooses is whole, and one of these versions."""
    folder = start()
    for version in allowed:
        good = 0
        for path, data in files(version).items():
            with open(folder + "/" + path, "rb") as file:
                good += file.read() == data
        if good == len(files(version)) and slot.read_version(folder) == version:
            return
    raise AssertionError("in %s is none of %s, after %s" % (folder, allowed, slot.read()))


class Board:
    """A file system on a device with what was flashed by cable."""

    def __init__(self, kind):
        self.vfs, self.size, count = KINDS[kind]
        self.device = BlockDevice(self.size, bytearray(self.size * count), None)
        self.vfs.mkfs(self.device)
        self.on()
        os.mkdir("app")
        for path, data in files(0).items():
            with open(path, "wb") as file:
                file.write(data)
        self.flashed = self.off()

    def on(self):
        os.mount(self.vfs(self.device), FOLDER)
        os.chdir(FOLDER)

    def off(self):
        """Let go of it; returns what it holds."""
        kept = bytearray(self.device.data)
        self.device.dead = False
        self.device.steps_left = 1 << 30
        os.chdir("/")
        os.umount(FOLDER)
        gc.collect()
        return kept

    def run_steps(self, data, cut, rng):
        """From this on, until the power goes or all is done; returns what there is then, and may run."""
        self.device = BlockDevice(self.size, bytearray(data), rng)
        self.on()
        self.device.steps_left = cut
        for what, allowed in STEPS:
            try:
                what()
            except OSError:
                if not self.device.dead:
                    raise
            if self.device.dead:
                return self.off(), allowed
        self.off()
        return None, ()


def cut_at_every_block(kind, first=0, step=1):
    """Cut at each block that is written or erased; returns how many places those were."""
    board = Board(kind)
    cut = first
    while True:
        left, allowed = board.run_steps(board.flashed, cut, SeededRandom(cut))
        if left is None:
            return cut
        board.device = BlockDevice(board.size, left, None)
        board.on()
        check_boots(allowed)
        install(9)
        check_boots((9,))
        board.off()
        cut += step
