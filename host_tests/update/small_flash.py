"""Updates over the air on the flash of a Pico W: littlefs with 848 KB. Runs in the VM.

    small_flash.update_device(image, count)

installs the files in the folder `image` as `make deploy` does, then `count` updates in which every file has
changed, and prints the blocks in use and the estimates. The update and the selection of the slot are those of
the firmware.
"""

import os

import power_cuts
from block_device import FOLDER, BlockDevice

import archive
import slot

_BLOCK = 4096  # bytes
_COUNT = 212  # blocks: 848 KB
_CABLE_FILES = ("boot.py", "main.py", "slot.mpy", "archive.mpy", "rollback.mpy")
# what a device with a journal and other state writes beside its program
_STATE = {"config.json": 1500, "journal.0": 6144, "journal.1": 6144, "crash.txt": 1500, "backlog": 8000}


def _list_files(folder, prefix=""):
    for name, kind, *_ in os.ilistdir(folder):
        if kind == 0x4000:
            yield from _list_files(folder + "/" + name, prefix + name + "/")
        else:
            yield prefix + name


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _write(path, data):
    at = path.find("/")
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass
        at = path.find("/", at + 1)
    with open(path, "wb") as file:
        file.write(data)


def _change(data, version):
    """Return another content of the same size."""
    return data[:-1] + bytes([(data[-1] + version) & 0xFF])


def _used():
    status = os.statvfs(".")
    return status[2] - status[3]


class _Watch:
    """`os` for a download; notes the largest number of blocks in use, and the free ones at the check."""

    def __init__(self):
        self.free = 0

    def __getattr__(self, name):
        return getattr(os, name)

    def statvfs(self, path):
        found = os.statvfs(path)
        self.free = found[4]
        return found


def update_device(image, count, state=True):
    """Install an image and `count` updates. Raises AssertionError."""
    content = {path: _read(image + "/" + path) for path in _list_files(image)}
    device = BlockDevice(_BLOCK, bytearray(_BLOCK * _COUNT), None)
    os.VfsLfs2.mkfs(device, progsize=256)  # as the firmware of the RP2 does
    os.mount(os.VfsLfs2(device, progsize=256), FOLDER)
    os.chdir(FOLDER)
    for path, data in content.items():
        _write(path, data)
    if state:
        for path, size in _STATE.items():
            _write(path, b"x" * size)
    print("installed", _used(), "of", _COUNT)
    for version in range(1, count + 1):
        files = {p: _change(d, version) for p, d in content.items() if p not in _CABLE_FILES}
        watch = power_cuts.update_download.os = _Watch()
        peak = power_cuts.install(version, files, _used)
        download = power_cuts.last_download
        needed = download._total // (_BLOCK - 8) + 2
        taken = watch.free - (_COUNT - _used())
        print("update", version, "peak", peak, "estimate", needed, "taken", taken)
        assert power_cuts.start() == "ab"[(version + 1) % 2]
        power_cuts.confirm()
        power_cuts.check_content(files)
    archive.mount(".")
    assert slot.read()[2] == slot.CONFIRMED
    os.chdir("/")
    os.umount(FOLDER)
