"""Servo motor: the length of the PWM pulses, which are sent at 50 Hz, sets the angle."""

from time import ticks_add, ticks_diff

from micropython import const

from .base import Actuator, check_range

_PERIOD = const(20000)  # us


def make(config, pins):
    return Servo(config, pins.pwm(config["pin"], 1000000 // _PERIOD))


class Servo(Actuator):
    """A servo on the PWM output `pwm`, a `machine.PWM`.

    The state is the angle; `on` is True while pulses hold the angle.
    """

    platform = "number"
    command_fields = ("angle",)

    def __init__(self, config, pwm):
        super().__init__(config)
        self._pwm = pwm
        self.low, self.high = config["low"], config["high"]
        self._low_us, self._high_us = config["low_us"], config["high_us"]
        self._rest = config["rest"]
        self._release = int(config["release"] * 1000)
        self._release_at = None  # ticks at which the pulses stop
        self.angle = None  # unknown until the first command
        pwm.duty_u16(0)

    def set(self, value, now):
        """Move to an angle in degrees."""
        check_range("angle", value, self.low, self.high)
        self.check_allowed(True, now)
        us = self._low_us + int((self._high_us - self._low_us) * value / 180)
        self._pwm.duty_u16(us * 65535 // _PERIOD)
        self._release_at = ticks_add(now, self._release) if self._release else None
        self.on = True
        if value != self.angle:
            self.angle = value
            self.state_version += 1

    def update(self, fields, now):
        """Apply `angle`, in degrees."""
        if "angle" in fields:
            self.set(fields["angle"], now)

    def switch(self, on, now, seconds=None):
        """Stop the pulses and release the servo if `on` is False.

        Raises ValueError if `on` is True and the servo is released.
        """
        if on and not self.on:
            raise ValueError("expected an angle, %s to %s" % (self.low, self.high))
        if not on:
            self.write(False)

    def write(self, on):
        self._pwm.duty_u16(0)
        self._release_at = None
        self.on = False

    def run(self, now):
        if self._release_at is not None and ticks_diff(self._release_at, now) <= 0:
            self.write(False)
        return super().run(now) if self._release_at is None else min(1000, ticks_diff(self._release_at, now))

    def enter_safe_state(self, now):
        """Move to the angle `rest`, unless `safe` is HOLD or the servo has not been moved yet."""
        if self._safe != "HOLD" and self.angle is not None and self.angle != self._rest:
            print("%s: switching to its safe state %s" % (self.name, self._rest))
            self.set(self._rest, now)

    def state(self):
        return "unknown" if self.angle is None else "%g" % self.angle
