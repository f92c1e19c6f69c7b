"""Program for the VM behind the fault proxy: publishes and receives numbered messages, prints statistics.

Its argument is a JSON object with `host`, `port`, `unique`, `count`, `seconds`, `report_interval_ms`,
`options` for Client and `transport`, see `make_transport`. It publishes `count` messages at each QoS to
UNIQUE/up/QOS and receives those of UNIQUE/down/+ until a message arrives at UNIQUE/stop. Its memory use does
not depend on `count`.
"""

import gc
import json
import sys
from time import ticks_diff, ticks_ms, ticks_us

gc.threshold(1024)  # as in boot.py: collect early, so that importing does not fragment the heap

from umqtt5 import Client  # noqa: E402
from umqtt5.link_statistics import LinkStatistics  # noqa: E402

# The client loads these when the first connection is lost, and keeps them. They are loaded here, so that the
# heap must not grow after that.
for module in ("error_texts", "give_up", "link_error", "protocol_error"):
    __import__("umqtt5.optional." + module)
__import__("umqtt5.reason_codes")

TIMEOUTS = {"connect": 2000, "connack": 2000, "ack": 2000, "write": 2000, "ping": 1000}


_BATCH = 8  # how many messages of each QoS are sent at most between two polls
_WINDOW = 1024  # for this many of the latest numbers, Arrivals stores whether each one has arrived


class Arrivals:
    """Counts the messages received at one QoS: new, repeated, out of order, corrupt.

    One bit per number in a moving window stores whether the number has arrived, because mosquitto 2.0.11 may
    send QoS 2 messages out of order after a reconnect.
    """

    def __init__(self):
        self._bits = bytearray(_WINDOW // 8)
        self._start = 0  # first number in the window
        self._last = -1  # highest number so far
        self.new = self.repeated = self.out_of_order = self.corrupt = 0

    def add(self, number):
        while number >= self._start + _WINDOW:
            self._bits[(self._start >> 3) % len(self._bits)] = 0
            self._start += 8
        index = (number >> 3) % len(self._bits)
        bit = 1 << (number & 7)
        if number < self._start or self._bits[index] & bit:
            self.repeated += 1
            return
        self._bits[index] |= bit
        self.new += 1
        if number < self._last:
            self.out_of_order += 1
        self._last = max(self._last, number)


def make_transport(tls_and_path):
    """Return a TCP transport. `tls_and_path` adds TLS if it has "ca" and WebSocket if it has "path"."""
    from umqtt5.tcp import connect

    if tls_and_path and tls_and_path.get("ca"):
        from umqtt5 import tls

        connect = tls.wrap(connect, tls.context(ca=tls_and_path["ca"]))
    if tls_and_path and tls_and_path.get("path"):
        from umqtt5 import websocket

        __import__("umqtt5.optional.websocket_errors")

        connect = websocket.wrap(connect, tls_and_path["path"])
    return connect


class Device:
    def __init__(self, arguments):
        unique = arguments["unique"]
        self.client = client = Client(
            arguments["host"],
            arguments["port"],
            client_id=unique,
            keep_alive=2,
            session_expiry=3600,
            rx=512,
            tx=512,
            outbox=1024,
            inflight=8,
            aliases=4,
            timeout=TIMEOUTS,
            transport=make_transport(arguments.get("transport")),
            **(arguments.get("options") or {}),
        )
        self.count = arguments["count"]
        self.arrivals = [Arrivals() for _ in range(3)]
        self.numbers = [0, 0, 0]  # next number to send, by QoS
        self.acknowledged = self.refused = self.longest_poll_us = 0
        self.unacknowledged = 0  # number of messages of QoS 1 and 2 that wait for an acknowledgement
        self.stopped = self.done_sent = False
        client.max_reconnect_delay = 2000
        client.on_ack = self.on_ack
        client.on_state = lambda client, connected, error: gc.collect()
        client.subscribe(unique + "/down/+", self.on_message, 2)
        client.subscribe(unique + "/stop", self.on_stop, 1)
        self.topics = [client.topic("%s/up/%d" % (unique, qos)) for qos in range(3)]
        self.done_topic = client.topic(unique + "/done")

    def on_message(self, message):
        try:
            qos, number = message.payload.split(b"/")
            self.arrivals[int(qos)].add(int(number))
        except (ValueError, IndexError):
            self.arrivals[0].corrupt += 1  # corrupted by the network

    def on_stop(self, message):
        self.stopped = True

    def on_ack(self, answer):
        self.unacknowledged -= 1
        if answer.reason < 0x80:
            self.acknowledged += 1
        else:
            self.refused += 1

    def step(self):
        client = self.client
        for i in range(_BATCH * 3):
            qos = i % 3
            number = self.numbers[qos]
            if number < self.count and client.publish(self.topics[qos], b"%d/%d" % (qos, number), qos):
                self.numbers[qos] += 1
                if qos:
                    self.unacknowledged += 1
        if min(self.numbers) == self.count and not self.unacknowledged and not self.done_sent:
            self.done_sent = client.publish(self.done_topic, b"", 1) > 0
            self.unacknowledged += 1
        start = ticks_us()
        client.poll(50)
        self.longest_poll_us = max(self.longest_poll_us, ticks_diff(ticks_us(), start))


def load_error_modules():
    """Import what the library imports when a connection ends, so that it does not count as growth."""
    from umqtt5.optional import give_up, link_error, protocol_error  # noqa: F401


def main(arguments):
    load_error_modules()
    gc.collect()
    gc.threshold(4096)
    device = Device(arguments)
    statistics = LinkStatistics(device.client)
    device.client.connect(wait=False)
    start = last_report = ticks_ms()
    limit_ms = arguments["seconds"] * 1000
    heap_at_connect = 0
    while not device.stopped and ticks_diff(ticks_ms(), start) < limit_ms:
        device.step()
        if device.client.connection_count and not heap_at_connect:
            gc.collect()
            heap_at_connect = gc.mem_alloc()
        if (
            arguments.get("report_interval_ms")
            and ticks_diff(ticks_ms(), last_report) > arguments["report_interval_ms"]
        ):
            last_report = ticks_ms()
            gc.collect()
            print(
                "heap",
                ticks_diff(last_report, start),
                gc.mem_free(),
                sum(device.numbers),
                device.client.connection_count,
            )
    device.client.disconnect()
    device.client.error = None
    gc.collect()
    heap = [heap_at_connect, gc.mem_alloc()]
    # printed separately, because a small heap may have no free block for one long string
    for name, value in (
        ("heap", heap),
        ("longest_poll", device.longest_poll_us),
        ("acknowledged", device.acknowledged),
        ("refused_messages", device.refused),
        ("stopped", device.stopped),
        ("received", [[a.new, a.repeated, a.out_of_order, a.corrupt] for a in device.arrivals]),
    ):
        report(name, value)
    figures = statistics.snapshot()
    for name in figures:
        report(name, figures[name])
    print("end")


def report(name, value):
    print("report", name, json.dumps(value))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
