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
_STATE_FORMAT = "<BIIH"  # kept while it sleeps: how it ended, cycles, ms awake, cycles without a delivery
_IN_ORDER = const(1)  # how it ended: in order; with a pin that wakes it when it comes to ON, else to OFF;
_TO_ON = const(2)
_BY_PIN = const(4)  # and, noted when it has woken: by this pin
_SESSION = "session"  # a file with the checksum of the config whose session the broker has


def load_state(pins):
    """(how it ended, cycles, ms awake in the last, cycles without a delivery), zeros for nothing."""
    data = pins.read_rtc_memory()
    return struct.unpack(_STATE_FORMAT, data) if len(data) == struct.calcsize(_STATE_FORMAT) else (0, 0, 0, 0)


def is_planned_wake(pins):
    """Whether this start ends a sleep that was meant, and is not one after a crash."""
    state = load_state(pins)
    by_pin = _BY_PIN if hasattr(pins, "woke_by_pin") and pins.woke_by_pin() else 0
    pins.write_rtc_memory(struct.pack(_STATE_FORMAT, state[0] & _TO_ON | by_pin, *state[1:]))
    return bool(state[0] & _IN_ORDER)


def max_absence(power):
    """Seconds without the device that are no cause for concern: it may miss one wake, not two."""
    return int(2 * power["period"] + power["awake"]) + 30


class SleepCycle:
    """The wake that is under way; it has begun at `began`, in ticks. `power` is of the config.

    One of the drivers of `sensors` may be what wakes it from a deep sleep.
    """

    _waker = None

    def __init__(self, client, pins, power, sensors, started_at):
        self._client = client
        self._pins = pins
        self.is_deep = power["mode"] == "deep"
        self._period = int(power["period"] * 1000)
        self._longest = int(power["awake"] * 1000)
        self._linger = int(power["linger"] * 1000)
        self.cycles = self.awake_ms = self.undelivered = 0
        self.delivered = False  # all of this wake
        if self.is_deep:
            how, self.cycles, self.awake_ms, self.undelivered = load_state(pins)
            for sensor in sensors:
                if getattr(sensor.driver, "wake", False):
                    self._waker = sensor.driver
                    if how & _BY_PIN:
                        self._waker.on_wake(1 if how & _TO_ON else 0)
            self._resume()
        self._wake(started_at)

    def _wake(self, started_at):
        self._began = self._quiet = started_at
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

    def _save_session(self):
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

    def should_sleep(self, now, told, active):
        """Whether it is time to sleep. `told`: all is measured and said; `active`: something is on."""
        session = self._client.session
        received = session.messages_received
        rest = self._client.is_connected and told and not session.outbox.count and not session.pending_acks
        if not rest or session.subscriptions.has_pending or received != self._seen:
            self._seen = received
            self._quiet = now
        if active:
            return False
        self.delivered = ticks_diff(now, self._quiet) >= self._linger and bool(rest)
        return self.delivered or ticks_diff(now, self._began) >= self._longest

    def next_check(self, now):
        """The ms until `should_sleep` has to be asked again."""
        return max(1, self._linger - ticks_diff(now, self._quiet))

    def add_metrics(self, metrics):
        """What is published of it: how often it was awake, how long the last time, in ms."""
        metrics["cycles"] = self.cycles
        metrics["awake"] = self.awake_ms
        if self.undelivered:
            metrics["cycles_missed"] = self.undelivered

    def sleep(self, radio_off, feed):
        """Disconnect, switch the radio `radio_off()`, and sleep; in light sleep this returns in the end.

        `feed` feeds the watchdog, None where there is none.
        """
        client = self._client
        if client.is_connected and self.is_deep:
            self._save_session()
        client.disconnect(_WITH_WILL if client.is_connected else 0)
        radio_off()
        self.cycles = (self.cycles + 1) & 0x3FFFFFFF
        self.undelivered = 0 if self.delivered else min(self.undelivered + 1, 0xFFFF)
        self.awake_ms = ticks_diff(ticks_ms(), self._began)
        left = max(_LEAST, self._period - self.awake_ms)
        if self.is_deep:
            how = _IN_ORDER
            if self._waker and self._waker.arm_wake(self._pins.wake_on):
                how |= _TO_ON
            self._pins.write_rtc_memory(
                struct.pack(_STATE_FORMAT, how, self.cycles, self.awake_ms, self.undelivered)
            )
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
