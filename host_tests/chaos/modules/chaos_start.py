"""Starts the firmware in the VM: mounts the flash, and runs boot.py and main.py as a board does.

chaos_start.run()         run the device until it ends
chaos_start.make_flash()  create the file system from the folder in the environment variable CHAOS_IMAGE
"""

import gc
import json
import os
import sys

import chaos_link as link

BLOCK = 4096
_ERASED = b"\xff" * 256


class Flash:
    """A block device in a file of this computer. The world decides about each write."""

    def __init__(self, path, sector, is_asked=True):
        self._sector = sector
        self._size = os.stat(path)[6]
        self._file = open(path, "r+b")
        self._is_asked = is_asked

    def readblocks(self, n, buf, offset=0):
        self._file.seek(n * self._sector + offset)
        self._file.readinto(buf)

    def writeblocks(self, n, buf, offset=0):
        return self._put(n * self._sector + offset, buf)

    def ioctl(self, op, arg):
        if op == 4:
            return self._size // self._sector
        if op == 5:
            return self._sector
        if op == 6 and self._sector == BLOCK:
            return self._erase(arg * BLOCK)
        return 0

    def _erase(self, at):
        for i in range(0, BLOCK, 256):
            error = self._put(at + i, _ERASED)
            if error:
                return error
        return 0

    def _put(self, at, data):
        allowed = len(data)
        if self._is_asked:
            allowed = int.from_bytes(link.call("f", len(data).to_bytes(4, "little")), "little")
            if allowed & 0x80000000:  # an error number
                return -(allowed & 0xFFFF)
        self._file.seek(at)
        self._file.write(memoryview(data)[:allowed])
        if allowed < len(data):
            link.end("cut")
        return 0


def _mount(path, kind, is_asked, format=False):
    import vfs

    flash = Flash(path, BLOCK if kind == "littlefs" else 512, is_asked)
    system = vfs.VfsLfs2 if kind == "littlefs" else vfs.VfsFat
    if format:
        system.mkfs(flash)
    mounted = system(flash)
    vfs.umount("/")
    vfs.mount(mounted, "/")
    os.chdir("/")


def make_flash():
    """Create the file system, with the files in the folder CHAOS_IMAGE."""
    source = os.getenv("CHAOS_IMAGE")
    files = []
    _collect(source, "", files)
    import vfs

    host = vfs.VfsPosix(source)
    _mount(os.getenv("CHAOS_FLASH"), os.getenv("CHAOS_KIND"), False, True)
    for name in files:
        at = name.find("/")
        while at > 0:
            try:
                os.mkdir(name[:at])
            except OSError:
                pass
            at = name.find("/", at + 1)
        with host.open("/" + name, "rb") as read, open(name, "wb") as written:
            while True:
                data = read.read(512)
                if not data:
                    break
                written.write(data)
    os.umount("/")


def _collect(folder, prefix, files):
    for name, kind, *_ in os.ilistdir(folder):
        if kind == 0x4000:
            _collect(folder + "/" + name, prefix + name + "/", files)
        else:
            files.append(prefix + name)


def _track_messages():
    """Report each message at QoS 1 or 2 that the client accepts."""
    client = sys.modules["umqtt5"].Client
    publish = client.publish

    def publish_and_report(self, topic, payload, qos=0, **options):
        number = publish(self, topic, payload, qos=qos, **options)
        if qos and number:
            name = topic.name if hasattr(topic, "name") else topic.encode()
            data = payload if isinstance(payload, (bytes, bytearray)) else payload.encode()
            link.send("a", bytes(name) + b"\0" + bytes(data))
        return number

    client.publish = publish_and_report


def _prepare(settings):
    """Put the replacements in place of the modules."""
    import random

    import chaos_net
    import machine

    is_rp2 = settings["rp2"]
    chaos_net.choose_port(is_rp2)
    machine.choose_port(is_rp2, settings["cause"], settings["woken"], bytes(settings["memory"]))
    for number, level in settings["levels"]:
        machine.levels[number] = level
    for number, voltage in settings["voltages"]:
        machine._voltages[number] = voltage
    machine._reads[0] = settings["reads"]
    for number, level in settings["driven"]:
        machine.Pin._lines[int(number) if number.isdigit() else number] = [machine.Pin.OUT, level, None]
    __import__("rp2" if is_rp2 else "esp32")
    for name in settings["drivers"]:
        __import__(name)
    link.ticks_offset = settings["ticks"]
    link.Time.clock = settings["clock"]
    random.seed(settings["seed"])
    sys.modules["time"] = link.Time
    sys.modules["socket"] = chaos_net.Module
    sys.modules["select"] = chaos_net.Select
    sys.modules["network"] = chaos_net.Network
    if settings["track"]:
        connect = chaos_net.Socket.connect

        def first_connect(self, address):
            if not self.is_udp and "umqtt5" in sys.modules:
                chaos_net.Socket.connect = connect
                _track_messages()
            return connect(self, address)

        chaos_net.Socket.connect = first_connect


def _describe_version():
    """Return the folder that boot.py has selected, and the version in it."""
    folder = sys.path[0] or "."
    try:
        with open(folder + "/version") as file:
            return folder + " " + file.read(40).strip()
    except OSError:
        return folder


def run():
    """Run boot.py and main.py; what a board does at the end of them is up to the world."""
    settings = json.loads(link.call("b"))
    _prepare(settings)
    _mount(settings["flash"], settings["kind"], True)
    commands = settings["commands"]
    sys.path[:] = ["", ".frozen", "/lib"]
    settings = None
    for command in commands:
        link.run_command(0, json.dumps(command))
    commands = None
    link._report()
    gc.collect()
    names = {"__name__": "__main__"}
    try:
        execfile("boot.py", names)  # noqa: F821
        link.send("v", _describe_version().encode())
        execfile("main.py", names)  # noqa: F821
    except SystemExit:
        link.end("soft")
    except BaseException as error:
        sys.print_exception(error)
    link.end("prompt")
