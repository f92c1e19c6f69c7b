"""What a journal costs: rates, bytes written, syncs, erases and heap per message. Runs in the VM.

The files are on the VM's own littlefs, over a block device of RAM that counts: rates have no flash's
own time in them. The heap is measured with files of this computer, for the device of RAM takes some.
"""

import gc
import json
import os

import micropython
from client_umqtt5 import Client
from driver import PAYLOAD, TOPIC, MessageCounter, allocated, rate, timed

from umqtt5.journal import Journal

_BLOCK = 4096
_SIZE = 16384
_BATCH = 10


class Ram:
    def __init__(self, count):
        self.data = bytearray(_BLOCK * count)
        self.erases = self.programmed = 0

    def readblocks(self, n, buf, offset=0):
        at = n * _BLOCK + offset
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, n, buf, offset=0):
        self.programmed += len(buf)
        at = n * _BLOCK + offset
        self.data[at : at + len(buf)] = buf

    def ioctl(self, what, block):
        if what == 6:
            self.erases += 1
        return {4: len(self.data) // _BLOCK, 5: _BLOCK}.get(what, 0)


class JournalClient(Client):
    """A client whose connection begins with a journal."""

    def __init__(self, port, path, every, size=_SIZE):
        self.inflight = 2 * _BATCH
        self.make = lambda mqtt: Journal(mqtt, path, size, every, 1 << 20)
        super().__init__(port, TOPIC, PAYLOAD, MessageCounter(), True)

    def batches(self, n, qos):
        """`n` messages, as many at a time as are synced together."""
        mqtt = self.mqtt
        while n > 0:
            self.acknowledged = 0
            many = min(n, _BATCH)
            for _ in range(many):
                mqtt.publish(self.topic, self.payload, qos)
            self.journal.sync()
            while self.acknowledged < many:
                mqtt.poll(0)
                if self.journal.unsynced:
                    self.journal.sync()
            n -= many


def measure(port, qos, every, seconds):
    device = Ram(64)
    os.VfsLfs2.mkfs(device)
    os.mount(os.VfsLfs2(device), "/flash")
    client = JournalClient(port, "/flash/outbox", every)
    log = client.journal.record_log

    def run(n):
        if every == 1:
            client.qos1(n, qos)
        else:
            client.batches(n, qos)

    n = 2000
    run(100)
    before = log.bytes_written, log.syncs, device.programmed, device.erases
    run(n)
    found = {
        "bytes": round((log.bytes_written - before[0]) / n, 1),
        "syncs": round((log.syncs - before[1]) / n, 2),
        "programmed": round((device.programmed - before[2]) / n, 1),
        "erases": round((device.erases - before[3]) / n, 3),
        "per_s": round(rate(lambda n: timed(run, n), seconds)),
    }
    client.close()
    os.umount("/flash")
    # in files so large that they do not take turns meanwhile: to open one takes heap
    client = JournalClient(port, "journal_%d_%d" % (qos, every), every, 1 << 20)
    found["allocated"] = allocated(run, gc.mem_alloc, 50)
    found["allocated_total"] = allocated(run, micropython.mem_total, 50)
    client.close()
    return found


def main(port, seconds):
    found = {}
    for qos in (1, 2):
        for name, every in (("each", 1), ("batch", 1000)):
            found["qos%d_%s" % (qos, name)] = measure(port, qos, every, seconds)
    print("BENCH " + json.dumps(found))
