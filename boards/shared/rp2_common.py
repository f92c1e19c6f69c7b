"""Hardware functions for RP2040 and RP2350, in addition to `hardware`: ADC, deep sleep, wake pins."""

import sys
from binascii import crc32
from time import sleep_ms, ticks_diff, ticks_ms

import machine

from hardware import irq_pins, on_edge, resolve_pin, wifi_signal

PWM_SLICES = 8  # GPIO n uses slice n // 2 % 8; both channels of a slice have the same frequency
ATTENUATIONS: dict = {}  # the ADC has no attenuation and measures 0 to 3.3 V

_VOLTS = 3.3 / 65535
_NAP = 5000  # ms of light sleep between two calls of `feed`
# register REASON of the watchdog: bit 0 if it was not fed in time, bit 1 if the program caused the reset
_WATCHDOG_REASON = 0x400D8008 if "RP2350" in sys.implementation._machine else 0x40058008
# The backup memory has four words on both chips. The first one has a checksum in its upper half, then a mark,
# the flags and the size of the data; the data is in the others.
_MAX_SIZE = 12  # bytes that `write_rtc_memory` accepts
_MARK = 0x6D00
_WOKEN_BY_PIN = 0x80
_ASLEEP = 0x40  # the board is in a deep sleep
_thermometer = machine.ADC(machine.ADC.CORE_TEMP)


def analog_input(pin, attenuation):
    """Return a function that measures the voltage at a pin."""
    adc = machine.ADC(machine.Pin(resolve_pin(pin)))
    return lambda: adc.read_u16() * _VOLTS


def chip_temperature():
    """Return the temperature of the chip in degrees Celsius."""
    # data sheets of both chips: 0.706 V at 27 degrees, falling by 1.721 mV per degree
    return 27 - (_thermometer.read_u16() * _VOLTS - 0.706) / 0.001721


# the input that ends a deep sleep, the level that ends it, and whether the input has had this level
_wake_pin: list = []


def wake_on(pin, level):
    """Wake the board from the next deep sleep when the input `pin` has this level; one input only."""
    _wake_pin[:] = (pin, level, False)


def _wake(pin):
    _wake_pin[2] = True


def deep_sleep(ms, feed=None):
    """Sleep for `ms`, then start as after a reset. `feed()` feeds a running watchdog."""
    # MicroPython has no deep sleep on these chips: a light sleep and a reset replace it. In light sleep the
    # watchdog keeps counting, and any interrupt ends the sleep.
    for pin in irq_pins:
        pin.irq(handler=None)
    if _wake_pin:
        pin, level, _ = _wake_pin
        on_edge(pin, _wake, "rising" if level else "falling")
        if pin.value() == level:
            _wake(pin)
    while ms > (0 if _wake_pin else _NAP) and not (_wake_pin and _wake_pin[2]):
        before = ticks_ms()
        machine.lightsleep(min(ms, _NAP))
        slept = ticks_diff(ticks_ms(), before)
        if slept < 2:  # an interrupt of USB or of the radio is pending, and `lightsleep` returns at once
            sleep_ms(20)
            slept = 20
        ms -= slept
        if feed:
            feed()
    flags = _ASLEEP
    if _wake_pin:
        if _wake_pin[2]:
            flags |= _WOKEN_BY_PIN
        ms = 1
    _write(read_rtc_memory(), flags)
    machine.deepsleep(max(1, ms))


def woke_by_pin():
    """Return True if a pin has woken the board from deep sleep."""
    return bool(_flags_at_start & _WOKEN_BY_PIN)


def reset_cause():
    """Return the reset cause: "power on", "reset", "watchdog" or "deep sleep"."""
    if machine.reset_cause() == machine.PWRON_RESET:
        return "power on"
    if machine.mem32[_WATCHDOG_REASON] & 1:
        return "watchdog"
    # `machine` has no other value for a reset by the program, with or without a sleep before it
    return "deep sleep" if _flags_at_start & _ASLEEP else "reset"


def _words():
    """Return the backup memory, None on firmware older than MicroPython 1.29."""
    return machine.mem_backup() if hasattr(machine, "mem_backup") else None


def _write(data, flags=0):
    words = _words()
    if words is None:
        return
    words[0] = 0  # not valid if the power fails here
    for i in range((len(data) + 3) // 4):
        words[1 + i] = int.from_bytes(bytes(data[4 * i : 4 * i + 4]), "little")
    words[0] = (crc32(data) & 0xFFFF) << 16 | _MARK | flags | len(data)


def write_rtc_memory(data):
    """Store up to 12 bytes that survive resets and deep sleep, but not a power loss."""
    if len(data) > _MAX_SIZE:
        raise ValueError("data: expected at most %d bytes" % _MAX_SIZE)
    _write(data)


def read_rtc_memory():
    """Return the stored bytes, b"" if there are none or if they are damaged."""
    words = _words()
    if words is None or words[0] & 0xFF00 != _MARK or words[0] & 0x3F > _MAX_SIZE:
        return b""
    data = b"".join(int(words[i]).to_bytes(4, "little") for i in range(1, 4))[: words[0] & 0x3F]
    return data if crc32(data) & 0xFFFF == words[0] >> 16 else b""


def _take_flags():
    """Return the flags of the sleep that this start has ended, and clear them."""
    words = _words()
    if words is None or words[0] & 0xFF00 != _MARK:
        return 0
    flags = words[0] & (_ASLEEP | _WOKEN_BY_PIN)
    if flags:
        words[0] = words[0] ^ flags
    return flags


_flags_at_start = _take_flags()


# readings by kind: (function that returns the value, unit, device class of Home Assistant)
READINGS = {
    "chip_temperature": (chip_temperature, "°C", "temperature"),
    "wifi_signal": (wifi_signal, "dBm", "signal_strength"),
}
