"""Runs in the VM behind the proxy: publishes, receives, and tells what it saw, as lines of JSON.

Its argument is a JSON object: host, port, unique, count, seconds, and `options` for Client.
Upwards it sends `count` messages at each QoS, numbered; downwards it expects as many at each QoS,
until a message comes to UNIQUE/stop. Memory is the same however many there are.
"""

import gc
import json
import sys
from time import ticks_diff, ticks_ms, ticks_us

gc.threshold(1024)  # as in a device's boot.py: what importing leaves behind is no hole later

from umqtt5 import Client  # noqa: E402
from umqtt5.link_statistics import LinkStatistics  # noqa: E402

TIMEOUTS = {"connect": 2000, "connack": 2000, "ack": 2000, "write": 2000, "ping": 1000}


_AT_ONCE = 8  # messages of each QoS between two polls
_WINDOW = 1024  # numbers of which it is known one by one whether they came


class Arrivals:
    """The messages of one QoS: how many came, how many again, how many behind a later one, how many altered.

    mosquitto 2.0.11 may give up the order of QoS 2 where it sends again after a reconnect: what
    came is a bit each, in a window that moves.
    """

    def __init__(self):
        self._seen = bytearray(_WINDOW // 8)
        self._behind = 0  # the window: from here on
        self._last = -1
        self.once = self.again = self.late = self.strange = 0

    def add(self, number):
        while number >= self._behind + _WINDOW:
            self._seen[(self._behind >> 3) % len(self._seen)] = 0
            self._behind += 8
        place = (number >> 3) % len(self._seen)
        bit = 1 << (number & 7)
        if number < self._behind or self._seen[place] & bit:
            self.again += 1
            return
        self._seen[place] |= bit
        self.once += 1
        if number < self._last:
            self.late += 1
        self._last = max(self._last, number)


def transport(tls_and_path):
    """How the broker is reached: by TCP, or what `tls_and_path` says of TLS and WebSocket."""
    from umqtt5.tcp import connect

    if tls_and_path and tls_and_path.get("ca"):
        from umqtt5 import tls

        connect = tls.wrap(connect, tls.context(ca=tls_and_path["ca"]))
    if tls_and_path and tls_and_path.get("path"):
        from umqtt5 import websocket

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
            transport=transport(arguments.get("transport")),
            **(arguments.get("options") or {}),
        )
        self.count = arguments["count"]
        self.arrivals = [Arrivals() for _ in range(3)]
        self.numbers = [0, 0, 0]  # the next to send, by QoS
        self.acknowledged = self.refused = self.longest = 0
        self.waiting = 0  # sent and not acknowledged
        self.stopped = self.told = False
        client.max_reconnect_delay = 2000
        client.on_ack = self.ended
        client.on_state = lambda client, up, error: gc.collect()
        client.subscribe(unique + "/down/+", self.on_message, 2)
        client.subscribe(unique + "/stop", self.stop, 1)
        self.topics = [client.topic("%s/up/%d" % (unique, qos)) for qos in range(3)]
        self.done = client.topic(unique + "/done")

    def on_message(self, message):
        try:
            qos, number = message.payload.split(b"/")
            self.arrivals[int(qos)].add(int(number))
        except (ValueError, IndexError):
            self.arrivals[0].strange += 1  # altered on its way

    def stop(self, message):
        self.stopped = True

    def ended(self, answer):
        self.waiting -= 1
        if answer.reason < 0x80:
            self.acknowledged += 1
        else:
            self.refused += 1

    def step(self):
        client = self.client
        for i in range(_AT_ONCE * 3):
            qos = i % 3
            number = self.numbers[qos]
            if number < self.count and client.publish(self.topics[qos], b"%d/%d" % (qos, number), qos):
                self.numbers[qos] += 1
                if qos:
                    self.waiting += 1
        if min(self.numbers) == self.count and not self.waiting and not self.told:
            self.told = client.publish(self.done, b"", 1) > 0
            self.waiting += 1
        began = ticks_us()
        client.poll(50)
        self.longest = max(self.longest, ticks_diff(ticks_us(), began))


def main(arguments):
    gc.collect()
    gc.threshold(4096)
    device = Device(arguments)
    statistics = LinkStatistics(device.client)
    device.client.connect(wait=False)
    start = said = ticks_ms()
    allowed = arguments["seconds"] * 1000
    before = 0
    while not device.stopped and ticks_diff(ticks_ms(), start) < allowed:
        device.step()
        if device.client.connection_count and not before:
            gc.collect()
            before = gc.mem_alloc()
        if (
            arguments.get("report_interval_ms")
            and ticks_diff(ticks_ms(), said) > arguments["report_interval_ms"]
        ):
            said = ticks_ms()
            gc.collect()
            print(
                "heap",
                ticks_diff(said, start),
                gc.mem_free(),
                sum(device.numbers),
                device.client.connection_count,
            )
    device.client.disconnect()
    device.client.error = None
    gc.collect()
    heap = [before, gc.mem_alloc()]
    # one by one: a small heap has no room for all of it in one piece
    for name, value in (
        ("heap", heap),
        ("longest_poll", device.longest),
        ("acknowledged", device.acknowledged),
        ("refused_messages", device.refused),
        ("stopped", device.stopped),
        ("received", [[a.once, a.again, a.late, a.strange] for a in device.arrivals]),
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
