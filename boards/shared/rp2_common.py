"""Hardware functions for RP2040 and RP2350, in addition to `hardware`: ADC, deep sleep, wake pins."""

import machine

from hardware import irq_pins, on_edge, resolve_pin, wifi_signal

PWM_SLICES = 8  # GPIO n uses slice n // 2 % 8; both channels of a slice have the same frequency
ATTENUATIONS: dict = {}  # the ADC has no attenuation and measures 0 to 3.3 V

_VOLTS = 3.3 / 65535
_NAP = 5000  # ms of light sleep between two calls of `feed`
_MAX_SIZE = 24  # bytes that `write_rtc_memory` accepts
_WOKEN_BY_PIN = 0x8000  # flag in the first word of the backup memory, which also contains the size
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
        machine.lightsleep(min(ms, _NAP))
        ms -= _NAP
        if feed:
            feed()
    if _wake_pin:
        if _wake_pin[2]:
            machine.mem_backup()[0] |= _WOKEN_BY_PIN  # type: ignore[index]
        ms = 1
    machine.deepsleep(ms)


def woke_by_pin():
    """Return True if a pin has woken the board from deep sleep; False after the next `write_rtc_memory`."""
    return bool(read_rtc_memory()) and bool(machine.mem_backup()[0] & _WOKEN_BY_PIN)


def write_rtc_memory(data):
    """Store up to 24 bytes that survive resets and deep sleep, but not a power loss."""
    words = machine.mem_backup()
    if len(data) > _MAX_SIZE:
        raise ValueError("data: expected at most %d bytes" % _MAX_SIZE)
    words[0] = 0x6D350000 + len(data)  # type: ignore[index]
    for i in range((len(data) + 3) // 4):
        words[1 + i] = int.from_bytes(bytes(data[4 * i : 4 * i + 4]), "little")  # type: ignore[index]


def read_rtc_memory():
    """Return the stored bytes, b"" if there are none."""
    words = machine.mem_backup()
    if words[0] >> 16 != 0x6D35:  # never written: the content is random
        return b""
    data = b"".join(int(words[i]).to_bytes(4, "little") for i in range(1, 1 + _MAX_SIZE // 4))
    return data[: words[0] & 0xFF]


# readings by kind: (function that returns the value, unit, device class of Home Assistant)
READINGS = {
    "chip_temperature": (chip_temperature, "°C", "temperature"),
    "wifi_signal": (wifi_signal, "dBm", "signal_strength"),
}
