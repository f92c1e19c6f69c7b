"""Simulated analog inputs, PWM and pulses, a part of `machine`.

Checked against extmod/machine_adc.c, machine_pulse.c and machine_bitstream.c, drivers/dht/dht.c, and
machine_adc.c and machine_pwm.c in ports/rp2 and ports/esp32 of MicroPython 1.29; functions are named below.
"""

import simulated_io
from simulated_io import RP2
from simulated_pins import Pin, _find, _interrupts, _line, _only_input, _pins

_ANALOG = {
    "esp32": (0, 2, 4, 12, 13, 14, 15, 25, 26, 27, 32, 33, 34, 35, 36, 37, 38, 39),
    "esp32s3": range(1, 21),
    "esp32c3": range(0, 6),
}


class ADC:
    """An analog input, with its voltage in the file `adc-<pin>`; `adc-4` of an RP2 is its own thermometer."""

    if RP2:
        CORE_TEMP = 4

        def __init__(self, id):
            """ports/rp2/machine_adc.c mp_machine_adc_make_new: one argument, a channel or a pin."""
            if isinstance(id, int) and 0 <= id <= 4:
                number = id if id == 4 else 26 + id
            else:
                number = _find(id)
                if number not in (26, 27, 28, 29):
                    raise ValueError("Pin doesn't have ADC capabilities")
            if number > 4:
                line = _line(number)  # adc_gpio_init of pico-sdk: no output, no pull
                line.mode, line.pull, line.driver = None, 0, None
                line.update()
            self._file = "adc-%d" % number
            self._own = number == 4

        def read_u16(self):
            """ports/rp2/machine_adc.c adc_config_and_read_u16: 12 bits; there is no `read_uv`."""
            raw = min(4095, max(0, round(self._volts() / 3.3 * 4095)))
            return raw << 4 | raw >> 8

        def _volts(self):
            _interrupts()
            found = simulated_io.read_text(self._file)
            return float(found) if found else 0.706 if self._own else 0.0  # 0.706 V is 27 degrees Celsius

    else:
        ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3
        _FULL = (1.0, 1.34, 2.0, 3.3)  # approximate voltage that reads as 65535, by attenuation

        def __init__(self, id, *, atten=-1):
            """ports/esp32/machine_adc.c mp_machine_adc_make_new: by default the attenuation is 11 dB."""
            number = _find(id)
            if number not in _ANALOG[simulated_io.CHIP]:
                raise ValueError("invalid pin")
            self._file = "adc-%d" % number
            self.init(atten=atten)

        def init(self, *, atten=-1):
            self.atten(self.ATTN_11DB if atten == -1 else atten)

        def atten(self, atten):
            """mp_machine_adc_atten_set_helper."""
            if not 0 <= atten <= 3:
                raise ValueError("invalid attenuation")
            self._full = self._FULL[atten]

        def _volts(self):
            _interrupts()
            return float(simulated_io.read_text(self._file) or 0)

        def read_u16(self):
            """mp_machine_adc_read_u16: 12 bits, scaled."""
            raw = min(4095, max(0, round(self._volts() / self._full * 4095)))
            return raw << 4 | raw >> 8

        def read_uv(self):
            """mp_machine_adc_read_uv: with the calibration of the chip, in steps of a millivolt."""
            return round(min(self._full, max(0, self._volts())) * 1e3) * 1000


# ---- PWM

_HZ = 125_000_000 if simulated_io.CHIP == "rp2040" else 150_000_000
_slices: dict = {}  # RP2: [divider, top, enabled] by slice; the two channels of a slice share its frequency
_channels: dict = {}  # RP2: [duty, unit of the duty, inverted] by (slice, channel)
_outputs: dict = {}  # ESP32: [frequency, duty] by pin


class _PWM:
    """A PWM output; its frequency and duty are in the file `pwm-<pin>`, which `deinit` removes."""

    def freq(self, freq=None):
        if freq is None:
            return self._get_freq()
        self._set_freq(freq)

    def duty_u16(self, duty=None):
        if duty is None:
            return self._get_u16()
        self._set_u16(duty)

    def duty_ns(self, duty=None):
        if duty is None:
            return self._get_ns()
        self._set_ns(duty)


if RP2:

    class PWM(_PWM):
        """ports/rp2/machine_pwm.c. Pins 0 and 16, 1 and 17, ... are the same channel of the same slice."""

        def __init__(self, dest, freq=None, **more):
            """mp_machine_pwm_make_new: the PWM is set and started before the pin gets its function."""
            number = _find(dest)
            self._key = (number >> 1 & 7, number & 1)
            _slices.setdefault(self._key[0], [0, 0, False])
            _channels[self._key] = [None, None, False]
            self.init(freq, **more)
            _line(number).driver = "0"
            self._show()

        def init(self, freq=None, *, duty_u16=None, duty_ns=None, invert=None):
            """mp_machine_pwm_init_helper."""
            if freq is not None:
                self._set_freq(freq)
            if duty_u16 is not None:
                self._set_u16(duty_u16)
            if duty_ns is not None:
                self._set_ns(duty_ns)
            if invert is not None:
                _channels[self._key][2] = bool(invert)
            self._start()

        def deinit(self):
            """mp_machine_pwm_deinit: stops both channels of the slice, at the level that they have."""
            _slices[self._key[0]][2] = False
            self._show()

        def _start(self):
            """machine_pwm_start: only with a frequency and a duty."""
            if _slices[self._key[0]][1] and _channels[self._key][1]:
                _slices[self._key[0]][2] = True
            self._show()

        def _show(self):
            for number, line in list(_pins.items()):
                if line.driver is None or not isinstance(number, int) or number >> 1 & 7 != self._key[0]:
                    continue
                channel = _channels[(self._key[0], number & 1)]
                if _slices[self._key[0]][2]:
                    freq, duty = self._get_freq(), _duty(self._key[0], channel)
                    line.driver = "pwm %d %d" % (freq, 65535 - duty if channel[2] else duty)
                    simulated_io.write_text("pwm-%d" % number, line.driver[4:])
                else:  # where the counter stopped: high if it is ever high
                    words = line.driver.split()
                    line.driver = "1" if words[-1] not in ("0",) else "0"
                    simulated_io.remove("pwm-%d" % number)
                line.update()

        def _get_freq(self):
            """mp_machine_pwm_freq_get: the frequency that the divider and the counter give."""
            divider, top, _ = _slices[self._key[0]]
            return _rounded_hz(divider * (top + 1)) if top else 0

        def _set_freq(self, freq):
            """mp_machine_pwm_freq_set: of the slice, so the duty of the other channel is set again."""
            if (_HZ + freq // 2) // freq < 65534:
                divider, top = 16, (_HZ + freq // 2) // freq - 1
            else:
                divider = (16 * _HZ + 65534 * freq - 1) // (65534 * freq)
                top = _rounded_hz(divider * freq) - 1
            if divider >= 4096:
                raise ValueError("freq too small")
            _slices[self._key[0]][:2] = [divider, top]
            self._start()

        def _get_u16(self):
            """mp_machine_pwm_duty_get_u16: rounded to the steps of the counter."""
            return _duty(self._key[0], _channels[self._key])

        def _set_u16(self, duty):
            """mp_machine_pwm_duty_set_u16: a duty above 65535 is 65535."""
            _channels[self._key][:2] = [min(duty, 65535), "u16"]
            self._start()

        def _get_ns(self):
            """mp_machine_pwm_duty_get_ns."""
            divider, top, _ = _slices[self._key[0]]
            if not top or not _channels[self._key][1]:
                return 0
            hz = _rounded_hz(divider)
            return (_compare(divider, top, _channels[self._key]) * 1_000_000_000 + hz // 2) // hz

        def _set_ns(self, duty):
            """mp_machine_pwm_duty_set_ns."""
            _channels[self._key][:2] = [duty, "ns"]
            self._start()

        def __repr__(self):
            return "<PWM slice=%d channel=%d invert=%d>" % (self._key + (_channels[self._key][2],))

    def _rounded_hz(divider):
        """get_slice_hz_round."""
        return (16 * _HZ + divider // 2) // divider

    def _compare(divider, top, channel):
        """Return the value with which the counter is compared."""
        if channel[1] == "ns":
            return min((channel[0] * _rounded_hz(divider) + 500_000_000) // 1_000_000_000, top + 1)
        return (channel[0] * (top + 1) + 32767) // 65535

    def _duty(number, channel):
        divider, top, _ = _slices[number]
        if not top or not channel[1]:
            return 0
        return (_compare(divider, top, channel) * 65535 + (top + 1) // 2) // (top + 1)

else:
    _LIMITS = {"esp32": (16, 8), "esp32s3": (8, 4), "esp32c3": (6, 4)}[simulated_io.CHIP]  # channels, timers

    class PWM(_PWM):
        """ports/esp32/machine_pwm.c. Outputs of one frequency share a timer."""

        def __init__(self, dest, freq=-1, **more):
            """mp_machine_pwm_make_new."""
            self._number = _find(dest)
            self._invert = False
            self._duty = None
            self.init(freq, **more)

        def init(self, freq=-1, *, duty=-1, duty_u16=-1, duty_ns=-1, invert=None, lightsleep=False):
            """mp_machine_pwm_init_helper: 5000 Hz and half of the period unless they are given."""
            if freq != -1:
                _check_freq(freq)
            if duty_u16 >= 0:
                _check(duty_u16, 65535, "duty_u16 must be from 0 to 65536")
                self._duty = duty_u16
            elif duty >= 0:
                _check(duty, 1023, "duty must be from 0 to 1023")
                self._duty = 65535 if duty == 1023 else duty << 6
            elif duty_ns < 0 and self._duty is None:
                self._duty = 32768
            if invert is not None:
                self._invert = bool(invert)
            if _only_input(self._number):  # ledc_channel_config of ESP-IDF; check_esp_err
                raise OSError(-258, "ESP_ERR_INVALID_ARG")
            if self._number not in _outputs and len(_outputs) >= _LIMITS[0]:
                raise RuntimeError("out of PWM channels:%d" % _LIMITS[0])
            if freq == -1:
                freq = _outputs[self._number][0] if self._number in _outputs else 5000
            self._select(freq)
            if duty_ns >= 0:
                self._set_ns(duty_ns)

        def deinit(self):
            """mp_machine_pwm_deinit: the output goes to the idle level, low unless it is inverted."""
            if _outputs.pop(self._number, None):
                simulated_io.remove("pwm-%d" % self._number)
                _line(self._number).driver = "01"[self._invert]
                _line(self._number).update()
            self._duty = None

        def _select(self, freq):
            """select_timer, set_freq and apply_duty."""
            frequencies = {other[0] for number, other in _outputs.items() if number != self._number}
            if freq not in frequencies and len(frequencies) >= _LIMITS[1]:
                raise RuntimeError("out of PWM timers:%d" % _LIMITS[1])
            _outputs[self._number] = [freq, self._duty]
            shown = "%d %d" % (freq, self._duty)
            simulated_io.write_text("pwm-%d" % self._number, shown)
            line = _line(self._number)
            inverted = "%d %d" % (freq, 65535 - self._duty)
            line.driver = "pwm " + (inverted if self._invert else shown)
            line.update()

        def _active(self):
            """pwm_is_active."""
            if self._number not in _outputs:
                raise RuntimeError("PWM is inactive")
            return _outputs[self._number]

        def _get_freq(self):
            return self._active()[0]

        def _set_freq(self, freq):
            """mp_machine_pwm_freq_set."""
            self._active()
            _check_freq(freq)
            self._select(freq)

        def _get_u16(self):
            """get_duty_u16: in steps of the resolution that the frequency leaves."""
            freq, duty = self._active()
            bits = 16
            while 80_000_000 >> bits < freq:
                bits -= 1
            if simulated_io.CHIP != "esp32":
                bits = min(bits, 13)  # find_suitable_duty_resolution
            return min(65535, ((65536 if duty == 65535 else duty) >> 16 - bits) << 16 - bits)

        def _set_u16(self, duty):
            """check_duty_u16."""
            freq = self._active()[0]
            _check(duty, 65535, "duty_u16 must be from 0 to 65536")
            self._duty = duty
            self._select(freq)

        def _get_ns(self):
            """duty_to_ns."""
            freq, duty = self._active()
            duty = 65536 if duty == 65535 else duty
            return (duty * 1_000_000_000 + freq * 32768) // (freq * 65536)

        def _set_ns(self, duty):
            """check_duty_ns and ns_to_duty."""
            freq = self._active()[0]
            period = (1_000_000_000 + freq // 2) // freq
            _check(duty, period, "duty_ns must be from 0 to %d ns" % period)
            self._duty = min(65535, (duty * 65536 * freq + 500_000_000) // 1_000_000_000)
            self._select(freq)

    def _check(value, top, text):
        if not 0 <= value <= top:
            raise ValueError(text)

    def _check_freq(freq):
        """check_freq_ranges."""
        _check(freq - 1, 40_000_000 - 1, "frequency must be from 1Hz to 40MHz")


# ---- pulses


def time_pulse_us(pin, pulse_level, timeout_us=1_000_000):
    """Return the length in the file `pulse-<pin>`, -2 if there is no file, -1 if it exceeds the timeout.

    extmod/machine_pulse.c machine_time_pulse_us.
    """
    found = simulated_io.read_text("pulse-%s" % _find(pin))
    if found is None:
        return -2 if _line(_find(pin)).level() != pulse_level else -1
    return int(found) if int(found) <= timeout_us else -1


def bitstream(pin, encoding, timing, data):
    """Write the data to the file `stream-<pin>`. extmod/machine_bitstream.c machine_bitstream_."""
    if encoding != 0:
        raise ValueError("encoding")
    if len(timing) != 4:
        raise ValueError("requested length 4 but object has length %d" % len(timing))
    simulated_io.write_text("stream-%s" % _find(pin), bytes(data).hex())


def dht_readinto(pin, buf):
    """Read the five bytes in the file `dht-<pin>`. drivers/dht/dht.c dht_readinto.

    On a board it takes 268 ms and more, and the pin becomes an open-drain output.
    """
    if len(buf) < 5:
        raise ValueError("buffer too small")
    line = _line(_find(pin))
    line.mode, line.driver, line.latch, line.open_drain_low = Pin.OPEN_DRAIN, None, 0 if RP2 else 1, False
    line.update()
    found = simulated_io.read_hex("dht-%s" % _find(pin))
    if found is None:
        raise OSError(110 if RP2 else 116)  # ETIMEDOUT
    buf[:5] = found
