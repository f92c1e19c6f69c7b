"""A device's update part with a simulated client and clock, and the sender of updates. Not a test module."""

import json
import os
import sys
from binascii import crc32

import archive
import slot
from app import update, update_download, update_offer
from app.update import Update

try:
    import vfs
except ImportError:  # CPython

    class vfs:  # noqa: N801
        """The file systems that are mounted, by path."""

        mounted: dict = {}

        @classmethod
        def mount(cls, system, path):
            system.mount(True, False)
            cls.mounted[path] = system

        @classmethod
        def umount(cls, path):
            cls.mounted.pop(path).umount()

    sys.modules["vfs"] = vfs

KEY = "0f" * 32
_FILES = ("slot", "rolled_back", "crash_count", "update_nonce", "crash", "base_removed")
FILES = (("app/new.mpy", b"new" * 500),)

_nonces = [0]


def make_nonce():
    """Return another nonce at each call, because the 32-bit VM has no random numbers."""
    _nonces[0] += 1
    return "%032x" % _nonces[0]


update.make_nonce = make_nonce


class _NotedArchive(archive.Archive):
    """An archive whose folder is noted when it is mounted."""

    folder = ""

    def __init__(self, folder):
        super().__init__(folder)
        _NotedArchive.folder = folder


archive.Archive = _NotedArchive


def mounted_folder():
    """Return the folder of the archive from which modules are imported, "." if there is none."""
    return _NotedArchive.folder if sys.path[0] == archive.MOUNT_POINT else "."


def build_record(path, offset=0xFFFFFF):
    """Return the record of a module in an index, or of a folder."""
    return (crc32(path.encode()) & 0xFFFFFFFF).to_bytes(4, "big") + offset.to_bytes(3, "big")


def create_version(folder, version=0, files=FILES):
    """Create the folder of a slot with a complete version."""
    if folder not in os.listdir():
        os.mkdir(folder)
    index, data = b"", b""
    for path, content in files:
        index += build_record(path, len(data))
        data += content
    for name, content in (("index", index), ("files", data), ("version", b"%d\n" % version)):
        with open(folder + "/" + name, "wb") as file:
            file.write(content)


def read_installed(folder, path, size):
    """Return `size` bytes of a module in the archive of a folder. Raises OSError."""
    with archive.Archive(folder).open("/" + path, "rb") as file:
        return file.read(size)


def clean():
    """Delete the files of updates."""
    slot._unsaved = None
    archive.mount(".")
    for name in os.listdir():
        if name.split(".")[0] in _FILES:
            os.remove(name)
    update_download._clear("a")
    update_download._clear("b")


class Outbox:
    count = 0


class Session:
    outbox = Outbox()


class Client:
    """The part of the client that updates use; `sent` has the published messages."""

    def __init__(self):
        self.session = Session()
        self.is_connected = self.has_room = True
        self.handlers = {}
        self.sent = []

    def subscribe(self, topic, handler, qos=0, retain_handling=0):
        self.handlers[topic] = handler

    def unsubscribe(self, topic):
        self.handlers.pop(topic, None)

    def publish(self, topic, payload, qos=0, retain=False):
        if not self.has_room:
            return 0
        self.sent.append((topic, payload))
        return 1

    def disconnect(self):
        pass


class Message:
    def __init__(self, payload, retain=False):
        self.payload = payload
        self.retain = retain

    def __len__(self):
        return len(self.payload)


class Resets(Exception):
    """The board is reset."""


def resets():
    raise Resets


def digest(data):
    return update_download._hex(update_download.sha256(data))


class Device:
    """A device with the key `KEY`. `now` is its clock; each `Device` is a start of the board."""

    def __init__(self, confirm=30, is_deep=False, is_wake=False, now=0):
        self.client = Client()
        self.now = now
        config = {"key": KEY, "confirm": confirm}
        self.update = Update(self.client, "p/dut", "dut", "esp32", config, resets, now, is_deep, is_wake)

    def run(self, ms=0):
        """Run one iteration of the main loop, `ms` later."""
        self.now += ms
        return self.update.run(self.now)

    @property
    def state(self):
        """The update state that the device has published last."""
        self.run()
        return json.loads([payload for topic, payload in self.client.sent if topic == "p/dut/update"][-1])

    @property
    def download(self):
        return self.update._download

    def cancel(self):
        """Cancel the download without a report."""
        self.download.close()
        self.update._download = None

    def receive_offer(self, payload, retain=False):
        self.client.handlers["p/dut/update/set"](Message(payload, retain))

    def receive_chunk(self, payload, retain=False):
        if "p/dut/update/chunk" in self.client.handlers:
            self.client.handlers["p/dut/update/chunk"](Message(payload, retain))

    @property
    def requests(self):
        return [json.loads(payload) for topic, payload in self.client.sent if topic == "p/dut/update/request"]


def sign(line, key=KEY):
    """Return an offer that consists of this line and its signature."""
    if not isinstance(line, bytes):
        line = line.encode()
    signature = update_offer.compute_hmac(*update_offer.make_pads(bytes.fromhex(key)), line)
    return line + b"\n" + "".join(["%02x" % c for c in signature]).encode()


class Sender:
    """An update for a device: its parts (the manifest, then the files) and its offer."""

    def __init__(self, device, files=FILES, version=5, force=False, manifest=None):
        self.device = device
        if manifest is None:
            lines = ["%d %s %s\n" % (len(data), digest(data), path) for path, data in files]
            manifest = "".join(lines).encode()
        self.parts = [manifest] + [data for _, data in files]
        args = version, len(manifest), digest(manifest), device.update.load_nonce()
        line = "umqtt5 update 2 dut esp32 %s %d %s %s" % args
        self.offer = sign(line + " force" if force else line)
        signature = self.offer[-64:]
        self.tag = str(signature[:8], "utf-8")
        inner, self.outer = update_offer.make_pads(bytes.fromhex(KEY))
        self.inner = inner + b"umqtt5 chunk " + signature

    def chunk(self, number, at, size=300):
        """Return a chunk, with its authentication."""
        body = number.to_bytes(2, "big") + at.to_bytes(4, "big") + self.parts[number][at : at + size]
        return update_offer.compute_hmac(self.inner, self.outer, body)[:8] + body

    def send(self, size=300, rounds=900):
        """Offer the update, and send what the device requests, until its download has ended."""
        self.device.receive_offer(self.offer)
        self.serve(size, rounds)

    def serve(self, size=300, rounds=900):
        for _ in range(rounds):
            self.device.run()
            if not self.device.download:
                return
            requests = self.device.requests
            self.device.client.sent = [one for one in self.device.client.sent if one[0] == "p/dut/update"]
            if requests:
                number, at, tag = requests[-1]
                assert tag == self.tag
                while at < len(self.parts[number]):
                    self.device.receive_chunk(self.chunk(number, at, size))
                    at += size
        raise AssertionError("the download does not end")
