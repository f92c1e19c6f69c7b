"""Updates over the air on the flash of a Pico W: littlefs with 848 KB. Runs in the VM.

    small_flash.update_device(image, count)   installs a version and `count` updates
    small_flash.find_limit(image)             finds with how much free flash an update is refused

The folder `image` has the files that `make deploy` installs. In each update every file has changed. The
download and the selection of the slot are those of the firmware.
"""

import os

import power_cuts
from block_device import BlockDevice

import archive
import rollback  # noqa: F401  loaded before the computer's files are unmounted
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


class _Flash:
    """`os` for a download; notes the number of free blocks at the check of the manifest."""

    free = 0

    def __getattr__(self, name):
        return getattr(os, name)

    def statvfs(self, path):
        found = os.statvfs(path)
        _Flash.free = found[4]
        return found


def _mount(content):
    device = BlockDevice(_BLOCK, bytearray(_BLOCK * _COUNT), None)
    os.VfsLfs2.mkfs(device, progsize=256)  # as the firmware of the RP2 does
    system = os.VfsLfs2(device, progsize=256)
    os.umount("/")  # at `/` as on a board, where a relative path can name a mount point
    os.mount(system, "/")
    os.chdir("/")
    for path, data in content.items():
        _write(path, data)
    power_cuts.update_download.os = _Flash()


def _unmount():
    archive.mount(".")
    os.umount("/")
    os.mount(os.VfsPosix(), "/")


def update_device(image, count):
    """Install an image and `count` updates, and print the blocks in use. Raises AssertionError."""
    content = {path: _read(image + "/" + path) for path in _list_files(image)}
    _mount(content)
    for path, size in _STATE.items():
        _write(path, b"x" * size)
    print("installed", _used(), "of", _COUNT)
    for version in range(1, count + 1):
        files = {path: _change(data, version) for path, data in content.items() if path not in _CABLE_FILES}
        peak = power_cuts.install(version, files, _used)
        print("update", version, "peak", peak, "after", _used())
        assert power_cuts.start() == "ab"[(version + 1) % 2]
        power_cuts.confirm()
        power_cuts.check_content(files)
    assert slot.read()[2] == slot.CONFIRMED
    _unmount()


def find_limit(image):
    """Install the update with less and less free flash until it is refused; print the blocks."""
    content = {path: _read(image + "/" + path) for path in _list_files(image)}
    files = {path: _change(data, 1) for path, data in content.items() if path not in _CABLE_FILES}
    free = sum([len(data) for data in files.values()]) // _BLOCK + 28
    is_refused = False
    while not is_refused:
        _mount({})
        _write("filler", b"x" * (_BLOCK * (_COUNT - free)))
        try:
            power_cuts.install(1, files)
            print("free", _Flash.free, "left", _COUNT - _used())
        except ValueError as error:
            print("free", _Flash.free, error)
            is_refused = True
        _unmount()
        free -= 1
