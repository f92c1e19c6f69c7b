"""Hardware functions for all ESP32 chips, in addition to `hardware`: ADC, RTC memory, wake pins."""

import esp32
import machine

from hardware import resolve_pin, wifi_signal

# for each attenuation in dB, the approximate maximum voltage that the ADC can measure
ATTENUATIONS = {"0": 0.95, "2.5": 1.25, "6": 1.75, "11": 2.45}


def analog_input(pin, attenuation):
    """Return a function that measures the voltage at a pin, with the calibration of the chip."""
    levels = {
        "0": machine.ADC.ATTN_0DB,
        "2.5": machine.ADC.ATTN_2_5DB,
        "6": machine.ADC.ATTN_6DB,
        "11": machine.ADC.ATTN_11DB,
    }
    adc = machine.ADC(machine.Pin(resolve_pin(pin)), atten=levels[attenuation or "11"])
    return lambda: adc.read_uv() / 1000000


def chip_temperature():
    """Return the temperature of the chip in degrees Celsius."""
    if hasattr(esp32, "mcu_temperature"):
        return esp32.mcu_temperature()
    return (esp32.raw_temperature() - 32) / 1.8


def write_rtc_memory(data):
    """Store up to 2048 bytes that survive resets and deep sleep, but not a power loss."""
    machine.RTC().memory(data)


def read_rtc_memory():
    """Return the stored bytes, b"" if there are none."""
    return machine.RTC().memory()


def wake_on(pin, level):
    """Wake the board from the next deep sleep when the input `pin` has this level; one input only."""
    if hasattr(esp32, "wake_on_ext0"):
        esp32.wake_on_ext0(pin, bool(level))
    else:  # chips without ext0, such as the ESP32-C3
        esp32.wake_on_gpio((pin,), bool(level))


def woke_by_pin():
    """Return True if a pin has woken the board from deep sleep."""
    return machine.reset_cause() == machine.DEEPSLEEP_RESET and machine.wake_reason() != machine.TIMER_WAKE


# readings by kind: (function that returns the value, unit, device class of Home Assistant)
READINGS = {
    "chip_temperature": (chip_temperature, "°C", "temperature"),
    "wifi_signal": (wifi_signal, "dBm", "signal_strength"),
}
