"""What the RP2040 and the RP2350 have in common, beside `hardware`."""

import machine

from hardware import irq_pins, on_edge, resolve_pin, wifi_signal

ATTENUATIONS: dict = {}  # the chip has none: 0 to 3.3 V

_VOLTS = 3.3 / 65535
_NAP = 5000  # ms
_LARGEST = 24  # bytes that `write_rtc_memory` takes
_BY_PIN = 0x8000  # in its first word, beside their number: a pin has ended the sleep
_thermometer = machine.ADC(machine.ADC.CORE_TEMP)


def analog_input(pin, attenuation):
    """A function that measures the volts at a pin."""
    adc = machine.ADC(machine.Pin(resolve_pin(pin)))
    return lambda: adc.read_u16() * _VOLTS


def chip_temperature():
    """Degrees Celsius."""
    # both data sheets: 0.706 V at 27 degrees, 1.721 mV less for each degree more
    return 27 - (_thermometer.read_u16() * _VOLTS - 0.706) / 0.001721


_wake_pin: list = []  # the input that ends a deep sleep, at which level, whether it has


def wake_on(pin, level):
    """The next deep sleep ends as soon as this input has this level; one input at a time."""
    _wake_pin[:] = (pin, level, False)


def _wake(pin):
    _wake_pin[2] = True


def deep_sleep(ms, feed=None):
    """Does not return: after `ms` the board starts as after a reset. `feed` feeds a watchdog that runs."""
    # the chip has no deep sleep of its own: it is a light one and a reset, through which a watchdog counts,
    # and any interrupt ends it
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
            machine.mem_backup()[0] |= _BY_PIN  # type: ignore[index]
        ms = 1
    machine.deepsleep(ms)


def woke_by_pin():
    """Whether the start is a wake by such an input, as long as nothing is remembered anew."""
    return bool(read_rtc_memory()) and bool(machine.mem_backup()[0] & _BY_PIN)


def write_rtc_memory(data):
    """Keep up to 24 bytes over resets and deep sleep, but not without power."""
    words = machine.mem_backup()
    if len(data) > _LARGEST:
        raise ValueError("only %d bytes are kept" % _LARGEST)
    words[0] = 0x6D350000 + len(data)  # type: ignore[index]
    for i in range((len(data) + 3) // 4):
        words[1 + i] = int.from_bytes(bytes(data[4 * i : 4 * i + 4]), "little")  # type: ignore[index]


def read_rtc_memory():
    """What was kept, b"" where nothing was."""
    words = machine.mem_backup()
    if words[0] >> 16 != 0x6D35:  # what happened to be there
        return b""
    kept = b"".join(int(words[i]).to_bytes(4, "little") for i in range(1, 1 + _LARGEST // 4))
    return kept[: words[0] & 0xFF]


# kind: (read, unit, device class as Home Assistant names it)
READINGS = {
    "chip_temperature": (chip_temperature, "°C", "temperature"),
    "wifi_signal": (wifi_signal, "dBm", "signal_strength"),
}
