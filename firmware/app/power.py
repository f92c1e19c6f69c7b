"""A device that sleeps: it wakes, measures, publishes at QoS 1, waits for the acknowledgements,
carries out the commands that have waited for it, disconnects, and sleeps again.

The broker keeps the session meanwhile, and with it the commands. The device ends each connection
with Disconnect with Will Message (3.14.2.1), and its will is delayed for longer than it sleeps: it
is published where the device does not come back, and not where it does (3.1.3.2.2).
"""

import struct
from binascii import crc32
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

_WITH_WILL = const(0x04)
_LEAST = const(1000)  # ms of sleep: a period that is too short must not become none
_NAP = const(5000)  # ms that a watchdog sleeps through, and that every chip can
_KEPT = "<BIIH"  # kept while it sleeps: how it ended, cycles, ms awake, cycles without a delivery
_IN_ORDER = const(1)  # how it ended: in order; with a pin that wakes it when it comes to ON, else to OFF;
_TO_ON = const(2)
_BY_PIN = const(4)  # and, noted when it has woken: by this pin
_SESSION = "session"  # a file with the checksum of the config whose session the broker has


def remembered(pins):
    """(how it ended, cycles, ms awake in the last, cycles without a delivery), zeros for nothing."""
    data = pins.remembered()
    return struct.unpack(_KEPT, data) if len(data) == struct.calcsize(_KEPT) else (0, 0, 0, 0)


def woke(pins):
    """Whether this start ends a sleep that was meant, and is not one after a crash."""
    state = remembered(pins)
    by_pin = _BY_PIN if hasattr(pins, "woken") and pins.woken() else 0
    pins.remember(struct.pack(_KEPT, state[0] & _TO_ON | by_pin, *state[1:]))
    return bool(state[0] & _IN_ORDER)


def longest_absence(power):
    """Seconds without the device that are no cause for concern: it may miss one wake, not two."""
    return int(2 * power["period"] + power["awake"]) + 30


class Cycle:
    """The wake that is under way; it has begun at `began`, in ticks. `power` is of the config.

    One of the drivers of `sensors` may be what wakes it from a deep sleep.
    """

    _waker = None

    def __init__(self, client, pins, power, sensors, began):
        self._client = client
        self._pins = pins
        self.deep = power["mode"] == "deep"
        self._period = int(power["period"] * 1000)
        self._longest = int(power["awake"] * 1000)
        self._linger = int(power["linger"] * 1000)
        self.cycles = self.awake = self.missed = 0
        self.delivered = False  # all of this wake
        if self.deep:
            how, self.cycles, self.awake, self.missed = remembered(pins)
            for sensor in sensors:
                if getattr(sensor.driver, "wake", False):
                    self._waker = sensor.driver
                    if how & _BY_PIN:
                        self._waker.woken(1 if how & _TO_ON else 0)
            self._resume()
        self._wake(began)

    def _wake(self, began):
        self._began = self._quiet = began
        self._seen = self._client.session.messages_received

    def _resume(self):
        """Nothing is under way when it sleeps, so a session is known by its subscriptions: the config."""
        self._config = b"%08x" % (_checksum("config.json") & 0xFFFFFFFF)
        try:
            with open(_SESSION, "rb") as file:
                if file.read(8) == self._config:
                    self._client.session.clean_start = False
        except OSError:
            pass

    def _know(self):
        """Note on flash, once, that the broker has the session."""
        try:
            with open(_SESSION, "rb") as file:
                if file.read(8) == self._config:
                    return
        except OSError:
            pass
        try:
            with open(_SESSION, "wb") as file:
                file.write(self._config)
        except OSError as error:
            print("%s: %s: commands do not wait for this device" % (_SESSION, error))

    def over(self, now, told, active):
        """Whether it is time to sleep. `told`: all is measured and said; `active`: something is on."""
        session = self._client.session
        received = session.messages_received
        rest = self._client.connected and told and not session.outbox.count and not session.owed
        if not rest or session.subscriptions.pending or received != self._seen:
            self._seen = received
            self._quiet = now
        if active:
            return False
        self.delivered = ticks_diff(now, self._quiet) >= self._linger and bool(rest)
        return self.delivered or ticks_diff(now, self._began) >= self._longest

    def wait(self, now):
        """The ms until `over` has to be asked again."""
        return max(1, self._linger - ticks_diff(now, self._quiet))

    def figures(self, figures):
        """What is published of it: how often it was awake, how long the last time, in ms."""
        figures["cycles"] = self.cycles
        figures["awake"] = self.awake
        if self.missed:
            figures["cycles_missed"] = self.missed

    def sleep(self, off, feed):
        """Disconnect, switch the radio `off()`, and sleep; in light sleep this returns in the end.

        `feed` feeds the watchdog, None where there is none.
        """
        client = self._client
        if client.connected and self.deep:
            self._know()
        client.disconnect(_WITH_WILL if client.connected else 0)
        off()
        self.cycles = (self.cycles + 1) & 0x3FFFFFFF
        self.missed = 0 if self.delivered else min(self.missed + 1, 0xFFFF)
        self.awake = ticks_diff(ticks_ms(), self._began)
        left = max(_LEAST, self._period - self.awake)
        if self.deep:
            how = _IN_ORDER
            if self._waker and self._waker.arm(self._pins.wake_on):
                how |= _TO_ON
            self._pins.remember(struct.pack(_KEPT, how, self.cycles, self.awake, self.missed))
            self._pins.deep_sleep(left, feed)
        ends = ticks_add(ticks_ms(), left)
        while left > 0:  # an interrupt, such as that of a pulse, may end a nap
            self._pins.light_sleep(min(left, _NAP))
            left = ticks_diff(ends, ticks_ms())
            if feed:
                feed()
        self._wake(ticks_ms())


def _checksum(path):
    """CRC-32 of a file, read in pieces."""
    sum = 0
    piece = bytearray(64)
    with open(path, "rb") as file:
        n = file.readinto(piece)
        while n:
            sum = crc32(memoryview(piece)[:n], sum)
            n = file.readinto(piece)
    return sum
