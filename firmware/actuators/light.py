"""A lamp that is dimmed by PWM, with fades."""

import json
from time import ticks_diff

from micropython import const

from .base import Actuator, check_range

_STEP = const(20)  # ms between two steps of a fade
_FULL = const(255)


def make(config, pins):
    return Light(config, pins.pwm(config["pin"], config["frequency"]))


class Light(Actuator):
    """`pwm` has `duty_u16(value)` as `machine.PWM`."""

    platform = "light"
    command_fields = ("brightness", "transition")

    def __init__(self, config, pwm):
        super().__init__(config)
        self._pwm = pwm
        self._max_brightness = config["max_brightness"]
        self._fade = int(config["fade"] * 1000)
        self._time = self._fade  # ms that the next change takes
        self.brightness = _FULL  # what it has when it is on
        self._from = self._level = self._to = 0
        self._began = None
        self._duty()
        if self._safe == "ON":
            self.on = True
            self._level = self._to = self.brightness
            self._duty()

    def apply_number(self, value, now):
        """Its brightness, 0 to 255; 0 is off."""
        check_range("brightness", value, 0, _FULL)
        self.check_allowed(value > 0, now)
        if value:
            self._bright(int(value))
        self.switch(value > 0, now)

    def apply_fields(self, fields, now):
        """`brightness`, 0 to 255; `transition`, seconds."""
        brightness = int(check_range("brightness", fields.get("brightness", self.brightness), 1, _FULL))
        self._time = int(check_range("transition", fields.get("transition", self._fade / 1000), 0, 60) * 1000)
        self._bright(brightness)

    def _bright(self, brightness):
        if brightness != self.brightness:
            self.brightness = brightness
            self.state_version += 1

    def write(self, on):
        to = self.brightness if on else 0
        if to != self._to:
            self._from, self._to, self._began = self._level, to, ...
        if not self._time:
            self._level, self._began = self._to, None
            self._duty()

    def run(self, now):
        wait = super().run(now)
        if self._began is None:
            self._time = self._fade
            return wait
        if self._began is ...:  # it begins with the first step
            self._began = now
        gone = ticks_diff(now, self._began)
        if gone >= self._time:
            self._level, self._began = self._to, None
        else:
            self._level = self._from + (self._to - self._from) * gone // self._time
        self._duty()
        return _STEP if self._began is not None else wait

    def _duty(self):
        # eyes see ratios: the square of the level looks even
        level = self._level * self._max_brightness // _FULL
        self._pwm.duty_u16(level * level * 65535 // (_FULL * _FULL))

    def state(self):
        return json.dumps({"state": "ON" if self.on else "OFF", "brightness": self.brightness})
