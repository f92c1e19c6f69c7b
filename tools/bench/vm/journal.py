"""Journal benchmark that runs in the VM: rates, bytes written, syncs, erases, heap per message.

The files are on the VM's littlefs, on a block device in RAM that counts writes and erases. The rates
therefore do not include the time of real flash. Heap is measured with files on this computer, because
the block device in RAM allocates, too.
"""

import gc
import json
import os

import micropython
from client_umqtt5 import Client
from driver import PAYLOAD, TOPIC, MessageCounter, allocated, rate, timed

from umqtt5.journal import Journal

_BLOCK = 4096  # bytes
_SIZE = 16384  # size of a journal file in bytes
_BATCH = 10  # number of messages synced together


class RamDevice:
    """Block device in RAM of `count` blocks that counts erases and bytes written."""

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

    def ioctl(self, operation, block):
        if operation == 6:  # erase
            self.erases += 1
        return {4: len(self.data) // _BLOCK, 5: _BLOCK}.get(operation, 0)


class JournalClient(Client):
    """A client with a journal at `path` that is synced after `every` records."""

    def __init__(self, port, path, every, size=_SIZE):
        self.inflight = 2 * _BATCH
        self.make_journal = lambda mqtt: Journal(mqtt, path, size, every, 1 << 20)
        super().__init__(port, TOPIC, PAYLOAD, MessageCounter(), True)

    def batches(self, n, qos):
        """Publish `n` messages in batches of ten; sync each batch, and records added by acknowledgements."""
        mqtt = self.mqtt
        while n > 0:
            self.acknowledged = 0
            batch = min(n, _BATCH)
            for _ in range(batch):
                mqtt.publish(self.topic, self.payload, qos)
            self.journal.sync()
            while self.acknowledged < batch:
                mqtt.poll(0)
                if self.journal.unsynced:
                    self.journal.sync()
            n -= batch


def measure(port, qos, every, seconds):
    """Return the rate and the figures per message at this QoS, synced after `every` records."""
    device = RamDevice(64)
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
    figures = {
        "bytes": round((log.bytes_written - before[0]) / n, 1),
        "syncs": round((log.syncs - before[1]) / n, 2),
        "programmed": round((device.programmed - before[2]) / n, 1),
        "erases": round((device.erases - before[3]) / n, 3),
        "per_s": round(rate(lambda n: timed(run, n), seconds)),
    }
    client.close()
    os.umount("/flash")
    # These files are too large to be rotated during the measurement, because opening a file allocates.
    client = JournalClient(port, "journal_%d_%d" % (qos, every), every, 1 << 20)
    figures["allocated"] = allocated(run, gc.mem_alloc, 50)
    figures["allocated_total"] = allocated(run, micropython.mem_total, 50)
    client.close()
    return figures


def main(port, seconds):
    """Print the figures of QoS 1 and 2, with a sync per record and in batches. `port`: see `driver.main`."""
    figures = {}
    for qos in (1, 2):
        for name, every in (("each", 1), ("batch", 1000)):
            figures["qos%d_%s" % (qos, name)] = measure(port, qos, every, seconds)
    print("BENCH " + json.dumps(figures))
