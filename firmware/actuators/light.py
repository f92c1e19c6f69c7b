"""Dimmable light: a PWM output with brightness and fades."""

import json
from time import ticks_diff

from micropython import const

from .dimmable import Dimmable

_STEP = const(20)  # ms between two steps of a fade
_FULL = const(255)


def make(config, pins):
    light = Light(config, None)
    args = (config["pin"], config["frequency"])
    light.pwm = pins.pwm(*args, light.duty) if light.duty else pins.pwm(*args)
    return light


class Light(Dimmable):
    """A light on the PWM output `pwm`, a `machine.PWM`; only its method `duty_u16(value)` is used."""

    def __init__(self, config, pwm):
        super().__init__(config)
        self.pwm = pwm
        self._fade = int(config["fade"] * 1000)
        self.fade_time = self._time = self._fade  # durations of the next and of the current fade in ms
        self._from = self._level = self._to = self.brightness if self.on else 0
        self._fade_started = None  # ticks; None if there is no fade, ... if the fade starts at the next `run`

    def update(self, fields):
        """Store the brightness and `transition`, the length of the fade in seconds."""
        super().update(fields)
        self.fade_time = int(fields["transition"] * 1000) if "transition" in fields else self._fade

    def write(self, on):
        to = self.brightness if on else 0
        if to != self._to:
            self._from, self._to, self._fade_started = self._level, to, ...
            self._time = self.fade_time
        if not self.fade_time:
            self._finish_fade()

    def run(self, now):
        wait = super().run(now)
        if self._fade_started is None:
            self.fade_time = self._fade
            return wait
        if self._fade_started is ...:
            self._fade_started = now
        elapsed = ticks_diff(now, self._fade_started)
        if not 0 <= elapsed < self._time:
            self._finish_fade()
            return wait
        self._level = self._from + (self._to - self._from) * elapsed // self._time
        self.pwm.duty_u16(self.duty)
        return _STEP

    def _finish_fade(self):
        self._level = self._to
        self.pwm.duty_u16(self.duty)
        self._fade_started = None  # only now: if the output fails, `run` tries again

    @property
    def is_fading(self):
        """True until the output has reached its level."""
        return self._fade_started is not None

    @property
    def duty(self):
        """The duty cycle of the present level, 0 to 65535."""
        # the eye perceives ratios: a fade looks even if the duty cycle is the square of the level
        level = self._level * self._max_brightness // _FULL
        return level * level * 65535 // (_FULL * _FULL)

    def enter_safe_state(self, now, is_end=False):
        """Switch to the safe state; at the end of the program without a fade: nothing would continue it."""
        super().enter_safe_state(now, is_end)
        if is_end:
            self._finish_fade()

    def state(self):
        return json.dumps({"state": "ON" if self.on else "OFF", "brightness": self.brightness})
