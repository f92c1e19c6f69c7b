"""A servo: an angle, by the width of a pulse fifty times a second."""

from time import ticks_add, ticks_diff

from micropython import const

from .base import Actuator, limited

_PERIOD = const(20000)  # us


def make(config, pins):
    return Servo(config, pins.pwm(config["pin"], 1000000 // _PERIOD))


class Servo(Actuator):
    """Its state is the angle; on is whether it is held there."""

    platform = "number"
    takes = ("angle",)

    def __init__(self, config, pwm):
        super().__init__(config)
        self._pwm = pwm
        self._low, self._high = config["low"], config["high"]
        self._low_us, self._high_us = config["low_us"], config["high_us"]
        self._rest = config["rest"]
        self._release = int(config["release"] * 1000)
        self._let_go = None
        self.angle = None  # unknown until it has been told
        pwm.duty_u16(0)

    def number(self, value, now):
        """The angle in degrees, within its limits."""
        limited("angle", value, self._low, self._high)
        self.allowed(True, now)
        us = self._low_us + int((self._high_us - self._low_us) * value / 180)
        self._pwm.duty_u16(us * 65535 // _PERIOD)
        self._let_go = ticks_add(now, self._release) if self._release else None
        self.on = True
        if value != self.angle:
            self.angle = value
            self.changes += 1

    def set(self, wish, now):
        """`angle`, in degrees."""
        if "angle" in wish:
            self.number(wish["angle"], now)

    def switch(self, on, now, seconds=None):
        """OFF lets it go; ON alone says nothing."""
        if on and not self.on:
            raise ValueError("expected an angle, %s to %s" % (self._low, self._high))
        if not on:
            self.write(False)

    def write(self, on):
        self._pwm.duty_u16(0)
        self._let_go = None
        self.on = False

    def run(self, now):
        if self._let_go is not None and ticks_diff(self._let_go, now) <= 0:
            self.write(False)
        return super().run(now) if self._let_go is None else min(1000, ticks_diff(self._let_go, now))

    def safe(self, now):
        if self._safe != "HOLD" and self.angle is not None and self.angle != self._rest:
            print("%s: to its safe state, %s" % (self.name, self._rest))
            self.number(self._rest, now)

    def state(self):
        return "unknown" if self.angle is None else "%g" % self.angle
