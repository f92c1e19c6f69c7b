"""What the chips of Espressif's have in common, beside `hardware`."""

import esp32
import machine

from hardware import resolve_pin, wifi_signal

# dB: volts up to which a pin is measured, about
ATTENUATIONS = {"0": 0.95, "2.5": 1.25, "6": 1.75, "11": 2.45}


def analog_input(pin, attenuation):
    """A function that measures the volts at a pin, by the chip's own calibration."""
    levels = {
        "0": machine.ADC.ATTN_0DB,
        "2.5": machine.ADC.ATTN_2_5DB,
        "6": machine.ADC.ATTN_6DB,
        "11": machine.ADC.ATTN_11DB,
    }
    adc = machine.ADC(machine.Pin(resolve_pin(pin)), atten=levels[attenuation or "11"])
    return lambda: adc.read_uv() / 1000000


def chip_temperature():
    """Degrees Celsius."""
    if hasattr(esp32, "mcu_temperature"):
        return esp32.mcu_temperature()
    return (esp32.raw_temperature() - 32) / 1.8


def write_rtc_memory(data):
    """Keep up to 2048 bytes over resets and deep sleep, but not without power."""
    machine.RTC().memory(data)


def read_rtc_memory():
    """What was kept, b"" where nothing was."""
    return machine.RTC().memory()


def wake_on(pin, level):
    """The next deep sleep ends as soon as this input has this level; one input at a time."""
    if hasattr(esp32, "wake_on_ext0"):
        esp32.wake_on_ext0(pin, bool(level))
    else:  # the chips without the one of an ESP32
        esp32.wake_on_gpio((pin,), bool(level))


def woke_by_pin():
    """Whether the start is a wake by such an input."""
    return machine.reset_cause() == machine.DEEPSLEEP_RESET and machine.wake_reason() != machine.TIMER_WAKE


# kind: (read, unit, device class as Home Assistant names it)
READINGS = {
    "chip_temperature": (chip_temperature, "°C", "temperature"),
    "wifi_signal": (wifi_signal, "dBm", "signal_strength"),
}
