"""Measures one client in the VM: what is the same for all of them.

`main(what, name, load, port, seconds)` prints one line, BENCH and a JSON object. `load` is the code
that brings in the client's modules; `client_<name>` has the rest, see there.
"""

import gc
import json
from time import ticks_diff, ticks_us

import micropython

TOPIC = "building-7/room-12/humidity"
PAYLOAD = b"0123456789abcdef0123456789abcdef"
# the responder sends as many messages as the payload of a message to this topic says
SEND = "bench/send"


class MessageCounter:
    """What a message handler has to do: count, and note when the first and the last one came."""

    def __init__(self):
        self.received = self.wanted = self.began = self.ended = 0

    def expect(self, n):
        self.received = 0
        self.wanted = n

    def increment(self):
        self.received += 1
        if self.received == 1:
            self.began = ticks_us()
        elif self.received == self.wanted:
            self.ended = ticks_us()


def receive(client, count, n):
    """Have `n` messages sent and received; returns the microseconds from the first to the last one."""
    count.expect(n)
    client.publish(SEND, b"%d" % n)
    while count.received < n:
        client.poll()
    return ticks_diff(count.ended, count.began) * n // (n - 1)


def timed(run, n):
    gc.collect()
    start = ticks_us()
    run(n)
    return ticks_diff(ticks_us(), start)


def rate(measure, seconds, n=2):
    """Messages a second of `measure(n)`, over about this time; measure returns microseconds."""
    least = n
    while True:
        took = measure(n)
        if took > seconds * 100000:
            break
        n *= 4
    n = max(least, int(n * seconds * 1000000 / took))
    return n * 1000000 / measure(n)


def rates(connect, count, seconds):
    found = {}
    client = connect(False)
    for name in ("qos0", "qos1"):
        run = getattr(client, name)
        found[name + "_per_s"] = rate(lambda n, run=run: timed(run, n), seconds)
    client.subscribe(TOPIC)
    found["received_per_s"] = rate(lambda n: receive(client, count, n), seconds)
    client.close()
    client = connect(True)
    found["qos0_aliased_per_s"] = client and rate(lambda n: timed(client.qos0, n), seconds)
    if client:
        client.close()
    client = connect(False, 20)
    found["qos1_window_per_s"] = None
    if hasattr(client, "qos1_window"):
        found["qos1_window_per_s"] = rate(lambda n: timed(client.qos1_window, n), seconds, 60)
    return found


def allocated(run, counter, n):
    """Bytes of heap that one message takes, by one of the two counters: `3 * n` against `n` messages."""
    run(n)
    gc.collect()
    gc.disable()
    start = counter()
    run(n)
    once = counter()
    run(3 * n)
    thrice = counter()
    gc.enable()
    gc.collect()
    return round(((thrice - once) - (once - start)) / (2 * n))


def memory(connect, count):
    """Bytes of heap that a connected client holds beside its code, and that a message takes.

    `total` also has what is given back at once.
    """
    gc.collect()
    before = gc.mem_alloc()
    client = connect(True) or connect(False)
    gc.collect()
    found = {"connect_held": gc.mem_alloc() - before}
    total = found["total"] = {}
    for name in ("qos0", "qos1", "qos2", "idle", "received"):
        run = getattr(client, name, None)
        n = 10
        if name == "received":
            # many, for what is allocated while none has come yet is not theirs
            n = 300
            client.subscribe(TOPIC)
            run = lambda n: receive(client, count, n)  # noqa: E731
        found[name + "_bytes"] = allocated(run, gc.mem_alloc, n) if run else None
        total[name + "_bytes"] = allocated(run, micropython.mem_total, n) if run else None
    return found


def structure(connect, counts):
    """Socket writes, and bytes on the wire beside the payload, of one QoS 0 publish."""
    client = connect(True) or connect(False)
    client.qos0(3)
    writes, sent = counts.writes, counts.bytes
    client.qos0(100)
    return {
        "writes": (counts.writes - writes) / 100,
        "wire_bytes": (counts.bytes - sent) / 100 - len(PAYLOAD),
    }


def main(what, name, load, port, seconds):
    counts = None
    if what == "structure":
        import counting_socket

        counts = counting_socket.install()
    exec(load, {})
    module = __import__("client_" + name)
    count = MessageCounter()

    def connect(aliased, inflight=8):
        if aliased and not module.ALIASES:
            return None
        module.Client.inflight = inflight  # who fixes its memory beforehand has to know
        return module.Client(port, TOPIC, PAYLOAD, count, aliased)

    if what == "rates":
        found = rates(connect, count, seconds)
    elif what == "memory":
        found = memory(connect, count)
    else:
        found = structure(connect, counts)
    print("BENCH " + json.dumps(found))
