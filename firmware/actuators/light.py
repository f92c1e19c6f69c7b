"""Dimmable light: a PWM output with brightness and fades."""

import json
from time import ticks_diff

from micropython import const

from .base import Actuator, check_range

_STEP = const(20)  # ms between two steps of a fade
_FULL = const(255)


def make(config, pins):
    return Light(config, pins.pwm(config["pin"], config["frequency"]))


class Light(Actuator):
    """A light on the PWM output `pwm`, a `machine.PWM`; only its method `duty_u16(value)` is used."""

    platform = "light"
    command_fields = ("brightness", "transition")

    def __init__(self, config, pwm):
        super().__init__(config)
        self._pwm = pwm
        self._max_brightness = config["max_brightness"]
        self._fade = int(config["fade"] * 1000)
        self._time = self._fade  # duration of the current or next fade in ms
        self.brightness = _FULL  # brightness when the light is on
        self._from = self._level = self._to = 0
        self._fade_started = None  # ticks; None if there is no fade, ... if the fade starts at the next `run`
        self._set_duty()
        if self._safe == "ON":
            self.on = True
            self._level = self._to = self.brightness
            self._set_duty()

    def set(self, value, now):
        """Set the brightness, 0 to 255; 0 switches off."""
        check_range("brightness", value, 0, _FULL)
        self.check_allowed(value > 0, now)
        if value:
            self._set_brightness(int(value))
        self.switch(value > 0, now)

    def update(self, fields, now):
        """Apply `brightness`, 1 to 255, and `transition`, the length of the fade in seconds."""
        brightness = int(check_range("brightness", fields.get("brightness", self.brightness), 1, _FULL))
        seconds = check_range("transition", fields.get("transition", self._fade / 1000), 0, 60)
        self._time = int(seconds * 1000)
        self._set_brightness(brightness)

    def _set_brightness(self, brightness):
        if brightness != self.brightness:
            self.brightness = brightness
            self.state_version += 1

    def write(self, on):
        to = self.brightness if on else 0
        if to != self._to:
            self._from, self._to, self._fade_started = self._level, to, ...
        if not self._time:
            self._level, self._fade_started = self._to, None
            self._set_duty()

    def run(self, now):
        wait = super().run(now)
        if self._fade_started is None:
            self._time = self._fade
            return wait
        if self._fade_started is ...:
            self._fade_started = now
        elapsed = ticks_diff(now, self._fade_started)
        if elapsed >= self._time:
            self._level, self._fade_started = self._to, None
        else:
            self._level = self._from + (self._to - self._from) * elapsed // self._time
        self._set_duty()
        return _STEP if self._fade_started is not None else wait

    def _set_duty(self):
        # the eye perceives ratios: a fade looks even if the duty cycle is the square of the level
        level = self._level * self._max_brightness // _FULL
        self._pwm.duty_u16(level * level * 65535 // (_FULL * _FULL))

    def state(self):
        return json.dumps({"state": "ON" if self.on else "OFF", "brightness": self.brightness})
