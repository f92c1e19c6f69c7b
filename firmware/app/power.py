"""Deep sleep and light sleep: the cycle of a battery-powered device.

The device wakes, measures, publishes at QoS 1, waits for the acknowledgements, executes the commands that
waited for it at the broker, disconnects and sleeps again. The broker keeps the session, and with it the
commands, while the device sleeps.

Each connection ends with DISCONNECT with Will Message (3.14.2.1), and the Will Delay Interval is longer than
the sleep: the will is published if the device does not come back, and not if it does (3.1.3.2.2).
"""

import struct
from binascii import crc32
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

_DISCONNECT_WITH_WILL = const(0x04)
_MIN_SLEEP = const(1000)  # ms, used if the device was awake for longer than its period
_NAP = const(5000)  # ms; shorter than the watchdog's timeout, and supported by every chip
_STATE_FORMAT = "<BIIH"  # in RTC memory: flags, cycles, ms awake, cycles without a delivery
_PLANNED = const(1)  # flag: the sleep was planned
_WAKE_AT_ON = const(2)  # flag: the pin wakes the board when it changes to ON, otherwise to OFF
_WOKEN_BY_PIN = const(4)  # flag, set after the wake: the pin has woken the board
_SESSION = "session"  # file with the checksum of the config for which the broker has a session


def load_state(pins):
    """Return (flags, cycles, ms awake in the last cycle, cycles without a delivery) from RTC memory.

    All are 0 if there is no state.
    """
    data = pins.read_rtc_memory()
    return struct.unpack(_STATE_FORMAT, data) if len(data) == struct.calcsize(_STATE_FORMAT) else (0, 0, 0, 0)


def is_planned_wake(pins):
    """Return True if this start ends a planned deep sleep; False after a reset, a crash or power-on."""
    state = load_state(pins)
    by_pin = _WOKEN_BY_PIN if hasattr(pins, "woke_by_pin") and pins.woke_by_pin() else 0
    pins.write_rtc_memory(struct.pack(_STATE_FORMAT, state[0] & _WAKE_AT_ON | by_pin, *state[1:]))
    return bool(state[0] & _PLANNED)


def max_absence(power):
    """Return the longest normal absence in seconds: the device may miss one wake, not two."""
    return int(2 * power["period"] + power["awake"]) + 30


class SleepCycle:
    """The current wake, which began at `start` (ticks), and the sleep after it.

    `power` is that part of the config. One of the drivers of `sensors` may wake the board from deep sleep.
    """

    _waker = None  # the driver that wakes the board

    def __init__(self, client, pins, power, sensors, start):
        self._client = client
        self._pins = pins
        self.is_deep = power["mode"] == "deep"
        self._period = int(power["period"] * 1000)
        self._max_awake = int(power["awake"] * 1000)
        self._linger = int(power["linger"] * 1000)
        self._cycles = self._awake_ms = self._undelivered = 0
        self.delivered = False  # whether all messages of this wake were acknowledged
        if self.is_deep:
            flags, self._cycles, self._awake_ms, self._undelivered = load_state(pins)
            for sensor in sensors:
                if getattr(sensor.driver, "wake", False):
                    self._waker = sensor.driver
                    if flags & _WOKEN_BY_PIN:
                        self._waker.on_wake(1 if flags & _WAKE_AT_ON else 0)
            self._resume_session()
        self._start_wake(start)

    def _start_wake(self, start):
        self._started_at = self._busy_at = start
        self._received = self._client.session.messages_received

    def _resume_session(self):
        """Ask for the earlier session if the config, and so the subscriptions, are those of that session."""
        self._config = b"%08x" % (_checksum("config.json") & 0xFFFFFFFF)
        try:
            with open(_SESSION, "rb") as file:
                if file.read(8) == self._config:
                    self._client.session.clean_start = False
        except OSError:
            pass

    def _save_session(self):
        """Note on flash that the broker has a session for this config; writes only if that is new."""
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
            print("%s: %s; commands sent during sleep are lost" % (_SESSION, error))

    def should_sleep(self, now, all_sent, active):
        """Return True if it is time to sleep.

        `all_sent`: all sensors are read and the status is published. `active`: an actuator is on or an update
        is in progress.
        """
        session = self._client.session
        received = session.messages_received
        idle = (
            self._client.is_connected and all_sent and not session.outbox.count and not session.pending_acks
        )
        if not idle or session.subscriptions.has_pending or received != self._received:
            self._received = received
            self._busy_at = now
        if active:
            return False
        self.delivered = ticks_diff(now, self._busy_at) >= self._linger and bool(idle)
        return self.delivered or ticks_diff(now, self._started_at) >= self._max_awake

    def next_check(self, now):
        """Return the ms until `should_sleep` has to be called again."""
        return max(1, self._linger - ticks_diff(now, self._busy_at))

    def add_metrics(self, metrics):
        """Add the number of cycles, the ms awake in the last one, and the cycles without a delivery."""
        metrics["cycles"] = self._cycles
        metrics["awake"] = self._awake_ms
        if self._undelivered:
            metrics["cycles_missed"] = self._undelivered

    def sleep(self, radio_off, feed):
        """Disconnect, call `radio_off()`, sleep until the next wake. Returns after a light sleep only.

        `feed()` feeds the watchdog; None if there is none.
        """
        client = self._client
        if client.is_connected and self.is_deep:
            self._save_session()
        client.disconnect(_DISCONNECT_WITH_WILL if client.is_connected else 0)
        radio_off()
        self._cycles = (self._cycles + 1) & 0x3FFFFFFF
        self._undelivered = 0 if self.delivered else min(self._undelivered + 1, 0xFFFF)
        self._awake_ms = ticks_diff(ticks_ms(), self._started_at)
        left = max(_MIN_SLEEP, self._period - self._awake_ms)
        if self.is_deep:
            flags = _PLANNED
            if self._waker and self._waker.arm_wake(self._pins.wake_on):
                flags |= _WAKE_AT_ON
            state = struct.pack(_STATE_FORMAT, flags, self._cycles, self._awake_ms, self._undelivered)
            self._pins.write_rtc_memory(state)
            self._pins.deep_sleep(left, feed)
        ends = ticks_add(ticks_ms(), left)
        while left > 0:  # an interrupt, such as that of a pulse counter, may end a nap early
            self._pins.light_sleep(min(left, _NAP))
            left = ticks_diff(ends, ticks_ms())
            if feed:
                feed()
        self._start_wake(ticks_ms())


def _checksum(path):
    """Return the CRC-32 of a file, reading 64 bytes at a time."""
    sum = 0
    buffer = bytearray(64)
    with open(path, "rb") as file:
        n = file.readinto(buffer)
        while n:
            sum = crc32(memoryview(buffer)[:n], sum)
            n = file.readinto(buffer)
    return sum
