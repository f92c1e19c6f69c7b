"""Benchmark driver that runs in the VM: measures rates, heap and socket writes of one client.

`main()` prints one line: `BENCH ` and a JSON object with the figures. The interface of the adapters
(`client_<name>`) is documented in client_baseline.
"""

import gc
import json
from time import ticks_diff, ticks_us

import micropython

TOPIC = "building-7/room-12/humidity"
PAYLOAD = b"0123456789abcdef0123456789abcdef"
# The payload of a message to this topic is the number of messages that the responder sends.
SEND = "bench/send"


class MessageCounter:
    """Counts received messages, and records the time in microseconds of the first and the last one."""

    def __init__(self):
        self.received = self.wanted = self.began = self.ended = 0

    def expect(self, n):
        """Start to count `n` messages."""
        self.received = 0
        self.wanted = n

    def increment(self):
        """Count a message."""
        self.received += 1
        if self.received == 1:
            self.began = ticks_us()
        elif self.received == self.wanted:
            self.ended = ticks_us()


def receive(client, count, n):
    """Request and receive `n` messages; returns the time in microseconds.

    The `n - 1` intervals from the first to the last message are measured and extrapolated to `n` intervals.
    """
    count.expect(n)
    client.publish(SEND, b"%d" % n)
    while count.received < n:
        client.poll()
    return ticks_diff(count.ended, count.began) * n // (n - 1)


def timed(run, n):
    """Return the microseconds that `run(n)` takes."""
    gc.collect()
    start = ticks_us()
    run(n)
    return ticks_diff(ticks_us(), start)


def rate(measure, seconds, n=2):
    """Return the messages per second of `measure`, from a run of about `seconds`.

    `measure(number)` handles that many messages and returns microseconds. `n` is the smallest number.
    """
    least = n
    while True:
        took = measure(n)
        if took > seconds * 100000:
            break
        n *= 4
    n = max(least, int(n * seconds * 1000000 / took))
    return n * 1000000 / measure(n)


def rates(connect, count, seconds):
    """Return the rates in messages per second; None if the client does not support a feature."""
    figures = {}
    client = connect(False)
    for name in ("qos0", "qos1"):
        run = getattr(client, name)
        figures[name + "_per_s"] = rate(lambda n, run=run: timed(run, n), seconds)
    client.subscribe(TOPIC)
    figures["received_per_s"] = rate(lambda n: receive(client, count, n), seconds)
    client.close()
    client = connect(True)
    figures["qos0_aliased_per_s"] = client and rate(lambda n: timed(client.qos0, n), seconds)
    if client:
        client.close()
    client = connect(False, 20)
    figures["qos1_window_per_s"] = None
    if hasattr(client, "qos1_window"):
        figures["qos1_window_per_s"] = rate(lambda n: timed(client.qos1_window, n), seconds, 60)
    return figures


def allocated(run, counter, n):
    """Return the bytes of heap that `run` allocates per message, with the collector disabled.

    `counter` returns the bytes allocated so far. The difference between `3 * n` and `n` messages excludes
    one-time allocations.
    """
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
    """Return the bytes of heap that a connected client holds, without its code, and allocations per message.

    The figures in `total` also count memory that is freed at once.
    """
    gc.collect()
    before = gc.mem_alloc()
    client = connect(True) or connect(False)
    gc.collect()
    figures = {"connect_held": gc.mem_alloc() - before}
    total = figures["total"] = {}
    for name in ("qos0", "qos1", "qos2", "idle", "received"):
        run = getattr(client, name, None)
        n = 10
        if name == "received":
            # many messages, so that allocations while the client waits for the first one do not count
            n = 300
            client.subscribe(TOPIC)
            run = lambda n: receive(client, count, n)  # noqa: E731
        figures[name + "_bytes"] = allocated(run, gc.mem_alloc, n) if run else None
        total[name + "_bytes"] = allocated(run, micropython.mem_total, n) if run else None
    return figures


def structure(connect, counts):
    """Return the socket writes of a QoS 0 publish, and its bytes on the wire without the payload."""
    client = connect(True) or connect(False)
    client.qos0(3)
    writes, sent = counts.writes, counts.bytes
    client.qos0(100)
    return {
        "writes": (counts.writes - writes) / 100,
        "wire_bytes": (counts.bytes - sent) / 100 - len(PAYLOAD),
    }


def main(kind, name, import_code, port, seconds):
    """Take one kind of measurement ("rates", "memory" or "structure") of a client and print it.

    `name` selects the adapter. `import_code` imports the client's modules. `port` is that of the
    responder. `seconds` is the duration of each rate measurement.
    """
    counts = None
    if kind == "structure":
        import counting_socket

        counts = counting_socket.install()
    exec(import_code, {})
    module = __import__("client_" + name)
    count = MessageCounter()

    def connect(aliased, inflight=8):
        if aliased and not module.ALIASES:
            return None
        module.Client.inflight = inflight  # for clients that allocate their memory once, at the start
        return module.Client(port, TOPIC, PAYLOAD, count, aliased)

    if kind == "rates":
        figures = rates(connect, count, seconds)
    elif kind == "memory":
        figures = memory(connect, count)
    else:
        figures = structure(connect, counts)
    print("BENCH " + json.dumps(figures))
