"""Deep sleep and light sleep: the wake and sleep cycle of a battery-powered device.

The device wakes, measures, publishes at QoS 1, waits for the acknowledgements, executes the commands that the
broker has queued, disconnects and sleeps again. While the device sleeps, the broker keeps the session and
queues commands.

Each connection ends with DISCONNECT with Will Message (3.14.2.1), and the Will Delay Interval is longer than
the sleep. The broker publishes the will only if the device does not reconnect before this delay has passed
(3.1.3.2.2).
"""

import struct
from binascii import crc32
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

import umqtt5.optional.disconnect  # noqa: F401  loaded now: flash may fail when the device has to sleep

_DISCONNECT_WITH_WILL = const(0x04)
_MIN_SLEEP = const(1000)  # ms; used if the device was awake for nearly its whole period or longer
_NAP = const(5000)  # ms per light sleep; shorter than the watchdog's timeout, possible on every chip
_ACTIVE_CHECK = const(500)  # ms between two checks while an actuator is on or an update is in progress
_STATE_FORMAT = "<BIIH"  # in RTC memory: flags, cycles, ms awake, cycles since the last complete delivery
_PLANNED = const(1)  # flag: the sleep was planned
_WAKE_AT_ON = const(2)  # flag: the board wakes at a change of the pin to ON; if not set: to OFF
_WOKEN_BY_PIN = const(4)  # flag, set at the start after the sleep: the pin woke the board
_UNKNOWN_ABSENCE = const(86400000)  # ms
_SESSION = "session"  # file with the checksum of the config with which the broker's session was created


def load_state(pins):
    """Return (flags, cycles, ms awake in the last cycle, cycles since the last complete delivery).

    These values are read from RTC memory; all are 0 if RTC memory contains no state.
    """
    data = pins.read_rtc_memory()
    return struct.unpack(_STATE_FORMAT, data) if len(data) == struct.calcsize(_STATE_FORMAT) else (0, 0, 0, 0)


def is_planned_wake(pins):
    """Return True if this start ends a planned deep sleep; False after a reset, a crash or power-on.

    Call this function only once per start, because it clears the flag in RTC memory.
    """
    state = load_state(pins)
    by_pin = _WOKEN_BY_PIN if hasattr(pins, "woke_by_pin") and pins.woke_by_pin() else 0
    pins.write_rtc_memory(struct.pack(_STATE_FORMAT, state[0] & _WAKE_AT_ON | by_pin, *state[1:]))
    return bool(state[0] & _PLANNED)


def max_absence(power):
    """Return the maximum normal time offline in seconds: one failed cycle is normal, two in a row are not."""
    return int(2 * power["period"] + power["awake"]) + 30


class SleepCycle:
    """The wake and sleep cycle of the device; the first cycle began at `start` (ticks).

    `power` is the `power` object of the config. The driver of one of `sensors` may wake the board from deep
    sleep.
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
        self.delivered = False  # whether all messages of this cycle were acknowledged
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
        self._counted_at = self._busy_at = start
        self._awake = 0  # ms awake in this cycle; added up here because ticks wrap around
        self._sleep_by = self._max_awake  # value of `_awake` at which the device sleeps in any case
        self._received = self._client.session.messages_received

    def _resume_session(self):
        """Resume the broker's session if the config, and therefore the subscriptions, have not changed."""
        self._config = b""
        try:
            self._config = b"%08x" % (_checksum("config.json") & 0xFFFFFFFF)
            with open(_SESSION, "rb") as file:
                if file.read(8) == self._config:
                    self._client.session.clean_start = False
        except (OSError, MemoryError):
            pass

    def _save_session(self):
        """Record on flash that the broker has a session for this config, if this is not recorded yet."""
        try:
            with open(_SESSION, "rb") as file:
                if file.read(8) == self._config:
                    return
        except (OSError, MemoryError):
            pass
        try:
            with open(_SESSION, "wb") as file:
                file.write(self._config)
        except (OSError, MemoryError) as error:
            from .flash_error import report

            report(_SESSION, error, "commands sent during sleep are lost")

    def should_sleep(self, now, all_sent, active):
        """Return True if it is time to sleep.

        `all_sent` is True if all sensors have been read and the status has been published, `active` if an
        actuator is on or an update is in progress.
        """
        session = self._client.session
        received = session.messages_received
        waiting = session.outbox.count + session.pending_acks + session.pending_subacks
        idle = self._client.is_connected and all_sent and not waiting
        if active or not idle or session.subscriptions.has_pending or received != self._received:
            self._received = received
            self._busy_at = now
        self._count_awake(now)
        if active:
            self._sleep_by = self._awake + self._max_awake  # time to publish the end of it
            return False
        self.delivered = ticks_diff(now, self._busy_at) >= self._linger and bool(idle)
        return self.delivered or self._awake >= self._sleep_by

    def _count_awake(self, now):
        self._awake += ticks_diff(now, self._counted_at)
        self._counted_at = now

    def max_absence(self, pins):
        """Return the maximum age in ms of a command that the broker has queued during deep sleep."""
        is_known = hasattr(pins, "reset_cause") and pins.reset_cause() == "deep sleep" and self._cycles
        # after a loss of power or a crash, the time that has passed is not known
        return (self._undelivered + 1) * self._period + self._max_awake if is_known else _UNKNOWN_ABSENCE

    def next_check(self, now):
        """Return the time in ms until `should_sleep` has to be called again."""
        left = self._linger - ticks_diff(now, self._busy_at)
        return left if left > 0 else _ACTIVE_CHECK  # only an actuator or an update keeps the board awake

    def add_metrics(self, metrics):
        """Add the number of cycles, the ms awake in the last one, and the cycles since the last delivery."""
        metrics["cycles"] = self._cycles
        metrics["awake"] = self._awake_ms
        if self._undelivered:
            metrics["cycles_missed"] = self._undelivered

    def sleep(self, radio_off, feed):
        """Disconnect, call `radio_off()` and sleep until the next cycle. Returns only after a light sleep.

        `radio_off` is None if there is no Wi-Fi. `feed()` feeds the watchdog; it is None if there is none.
        """
        client = self._client
        if client.is_connected and self.is_deep:
            self._save_session()
        client.disconnect(_DISCONNECT_WITH_WILL if client.is_connected else 0)
        if radio_off:
            radio_off()
        self._cycles = (self._cycles + 1) & 0x3FFFFFFF
        self._undelivered = 0 if self.delivered else min(self._undelivered + 1, 0xFFFF)
        self._count_awake(ticks_ms())
        self._awake_ms = min(self._awake, 0x3FFFFFFF)  # an actuator may have been on for months
        left = max(_MIN_SLEEP, self._period - self._awake_ms)
        if self.is_deep:
            flags = _PLANNED
            if self._waker and self._waker.arm_wake(self._pins.wake_on):
                flags |= _WAKE_AT_ON
            state = struct.pack(_STATE_FORMAT, flags, self._cycles, self._awake_ms, self._undelivered)
            self._pins.write_rtc_memory(state)
            self._pins.deep_sleep(left, feed)
        ends = ticks_add(ticks_ms(), left)
        while left > 0:  # an interrupt, for example from a pulse counter, may end a light sleep early
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
