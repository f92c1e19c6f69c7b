"""Power cuts during over-the-air updates on MicroPython's littlefs and FAT, at each block. Runs in the VM.

    power_cuts.cut_at_every_block(kind, first, step)

The download and the slot selection are those of the firmware; the data that a broker would send are passed to
them directly. After each power cut the board starts again. The folder that it selects must have a complete
version, one that is allowed at this step, a version that was rolled back must be known, and the board must
accept the next update.
"""

import gc
import json
import os
import sys

from block_device import FOLDER, BlockDevice
from simulated_flash import SeededRandom

import archive
import slot
from app import update_download, update_offer
from app.update import Update

KINDS = {"littlefs": (os.VfsLfs2, 4096, 48), "fat": (os.VfsFat, 512, 320)}
_PIECE = 512  # bytes per message
last_download = None
_SIZES = {}  # size of each module, which an archive does not tell


def files(version):
    """Return the files of a version. `app/same.mpy` is the same in all versions, so it is copied."""
    return {
        "app/node.mpy": b"version %d, " % version * 90,
        "app/same.mpy": b"the same, " * 60,
        "pins.mpy": b"pins %d" % version,
    }


class _Client:
    """The part of the client that a download uses."""

    is_connected = True
    handler = None

    def subscribe(self, topic, handler, **options):
        self.handler = handler

    def unsubscribe(self, topic):
        self.handler = None

    def publish(self, topic, payload, qos=0, retain=False):
        self.requested = json.loads(payload)
        return 1


class _Owner(Update):
    """The update state of the device; `has_ended` is True when the download has ended."""

    has_ended = False
    error = None

    def set_state(self, *state, **details):
        pass

    def download_ended(self, tag, error=None):
        self.has_ended = True
        self.error = error


class _Message:
    """A message with a piece of a file."""

    retain = False

    def __init__(self, payload):
        self.payload = payload

    def __len__(self):
        return len(self.payload)


def _digest(data):
    return update_download._hex(update_download.sha256(data))


def install(version, content=None, measure=lambda: 0):
    """Offer a version, and send the pieces that the download requests. Raises OSError.

    `content` has the data of each file by path, None is `files(version)`. Returns the largest result of
    `measure()`, which is called after each piece.
    """
    global last_download
    content = content or files(version)
    highest = 0
    manifest = "".join(["%d %s %s\n" % (len(content[p]), _digest(content[p]), p) for p in sorted(content)])
    parts = [manifest.encode()] + [content[path] for path in sorted(content)]
    inner, outer = update_offer.make_pads(b"key" * 10)
    offer = {"version": version, "size": len(parts[0]), "sha256": _digest(parts[0])}
    offer.update({"tag": "0123abcd", "inner": inner, "outer": outer})
    client, owner = _Client(), _create_update(_Owner)
    download = update_download.UpdateDownload(client, "dut", offer, owner)
    last_download = download
    now = 0
    while not owner.has_ended:
        now += 1
        download.run(now)
        highest = max(highest, measure())
        if client.handler and download._is_receiving:
            number, at, _ = client.requested
            while at < len(parts[number]) and client.handler:
                body = number.to_bytes(2, "big") + at.to_bytes(4, "big") + parts[number][at : at + _PIECE]
                client.handler(_Message(update_offer.compute_hmac(inner, outer, body)[:8] + body))
                at += _PIECE
                highest = max(highest, measure())
    if owner.error:
        raise ValueError(owner.error)
    return highest


def find_rolled_back():
    """Return the version that the device refuses because it was rolled back, 0 if there is none."""
    return _create_update(Update).rolled_back


def _create_update(kind):
    return kind(_Client(), "dut", "dut", "esp32", {"key": "0f" * 32, "confirm": 1}, None, 0)


def start():
    """Start as `boot.py` and `main.py` do, and return the folder from which the application would run."""
    archive.mount(".")
    slot.select()
    slot.begin_trial()
    return slot.read()[0]


def read_module(path):
    """Return the content of a module of the version that runs."""
    if sys.path[0] == archive.MOUNT_POINT:
        with open(archive.MOUNT_POINT + "/" + path, "rb") as file:
            return file.read(_SIZES[path])
    with open(path, "rb") as file:
        return file.read()


def check_content(content):
    """Check that the version that runs has these files."""
    for path, data in content.items():
        _SIZES[path] = len(data)
        if read_module(path) != data:
            raise AssertionError("%s is not complete" % path)


def confirm():
    """Confirm the current version."""
    current, previous, _ = slot.read()
    slot.write(current, previous, slot.CONFIRMED)
    find_rolled_back()  # deletes the record if it is about an older version


def start_until_rolled_back():
    """Start the current version without confirming it, until it is rolled back."""
    for _ in range(slot._MAX_TRIES + 1):
        start()


# (step, versions that may run after a power cut during this step, and for each the version that must be known
# as rolled back)
STEPS = (
    (lambda: install(1), {0: (0,), 1: (0,)}),
    (start, {1: (0,)}),
    (confirm, {1: (0,)}),
    (lambda: install(2), {1: (0,), 2: (0,)}),
    (start_until_rolled_back, {2: (0, 2), 1: (2,)}),
    (lambda: install(3), {1: (2,), 3: (2,)}),
    (lambda: check_boots({3: (2,)}), {3: (2,)}),
    (confirm, {3: (0, 2)}),
    (lambda: check_boots({3: (0,)}), {3: (0,)}),
)


def check_boots(allowed):
    """Start, and check that the selected folder has one of these versions, completely."""
    folder = start()
    for version in allowed:
        valid = 0
        for path, data in files(version).items():
            _SIZES[path] = len(data)
            valid += read_module(path) == data
        if valid == len(files(version)) and slot.read_version(folder) == version:
            rolled_back = find_rolled_back()
            if rolled_back not in allowed[version]:
                raise AssertionError("version %d runs, %d was rolled back" % (version, rolled_back))
            return
    raise AssertionError("%s has none of the versions %s; slot is %s" % (folder, allowed, slot.read()))


class Board:
    """A board with a filesystem that has version 0, which was installed by cable."""

    def __init__(self, kind):
        self.vfs, self.size, count = KINDS[kind]
        self.device = BlockDevice(self.size, bytearray(self.size * count), None)
        self.vfs.mkfs(self.device)
        self.on()
        os.mkdir("app")
        for path, data in files(0).items():
            with open(path, "wb") as file:
                file.write(data)
        self.initial_data = self.off()

    def on(self):
        """Mount the filesystem."""
        os.mount(self.vfs(self.device), FOLDER)
        os.chdir(FOLDER)

    def off(self):
        """Unmount the filesystems, and return the data of the block device from before that."""
        data = bytearray(self.device.data)
        self.device.dead = False
        self.device.steps_left = 1 << 30
        archive.mount(".")
        os.chdir("/")
        os.umount(FOLDER)
        gc.collect()
        return data

    def run_steps(self, data, cut, rng):
        """Run the steps, beginning with this data, until the power fails before the block with number `cut`.

        Returns the data on the block device and the versions that may run, or (None, {}) if the steps end
        before that.
        """
        self.device = BlockDevice(self.size, bytearray(data), rng)
        self.on()
        self.device.steps_left = cut
        for step, allowed in STEPS:
            try:
                step()
            except (OSError, ValueError, AssertionError):
                if not self.device.dead:
                    raise
            if self.device.dead:
                return self.off(), allowed
        self.off()
        return None, {}


def cut_at_every_block(kind, first=0, step=1):
    """Run the steps once per block with a power cut at it; return the number of blocks.

    Only blocks `first`, `first + step` and so on are tried.
    """
    board = Board(kind)
    cut = first
    while True:
        data, allowed = board.run_steps(board.initial_data, cut, SeededRandom(cut))
        if data is None:
            return cut
        board.device = BlockDevice(board.size, data, None)
        board.on()
        check_boots(allowed)
        rolled_back = find_rolled_back()
        install(9)
        check_boots({9: (rolled_back,)})
        confirm()
        check_boots({9: (0,)})
        board.off()
        cut += step
