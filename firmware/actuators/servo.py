"""Servo motor: the length of the PWM pulses, which are sent at 50 Hz, sets the angle."""

from micropython import const

from .base import Actuator, check_range

_PERIOD = const(20000)  # us
_REST = const(90)  # degrees


def make(config, pins):
    return Servo(config, pins.pwm(config["pin"], 1000000 // _PERIOD))


class Servo(Actuator):
    """A servo on the PWM output `pwm`, a `machine.PWM` whose duty cycle is 0.

    The state is the angle; `on` is True while pulses hold the angle. `max_on` and `min_off` have no effect.
    """

    platform = "number"
    command_fields = ("angle",)

    def __init__(self, config, pwm):
        super().__init__(config)
        self._max_on = self._min_off = 0
        self._pwm = pwm
        self.low, self.high = config["low"], config["high"]
        self._low_us, self._high_us = config["low_us"], config["high_us"]
        rest = _REST if config["rest"] is None else config["rest"]
        self._rest = min(max(rest, self.low), self.high)
        self._release = config["release"]
        self._target = None  # the angle of the next movement
        self.angle = None  # unknown until the first command
        self.expected = "expected an angle, %s to %s" % (self.low, self.high)
        pwm.duty_u16(0)

    def parse_word(self, text):
        """Return whether a word holds the servo, None if it is not a word. Numbers are angles, not words."""
        if text.upper() == b"TOGGLE":
            raise ValueError(self.expected)
        return None if text[:1] in b"01" else super().parse_word(text)

    def parse_value(self, text):
        """Return the angle as fields of a command."""
        from .command_json import parse_number

        try:
            return {"angle": parse_number(text.decode())}
        except (ValueError, UnicodeError):
            return {"angle": None}  # `check` refuses it

    def check(self, fields, on):
        """Check `angle`, in degrees. A servo that is released must not move at the same time."""
        if "angle" in fields:
            check_range("angle", fields["angle"], self.low, self.high)
            if on is False:
                raise ValueError("angle: not allowed with OFF, which releases the servo")
            return True
        if on is not False:
            raise ValueError(self.expected)
        return False

    def update(self, fields):
        """Store the angle of the next movement."""
        self._target = fields.get("angle", self._target)

    def switch(self, on, now, seconds=0):
        """Move to the stored angle, or release the servo if `on` is False."""
        super().switch(on, now, self._release)
        if on and self._target != self.angle:
            self.angle = self._target
            self.state_version += 1

    def on_changed(self):
        """Do nothing: the state is the angle."""

    def end_on_time(self, now):
        """Stop the pulses when the movement is over."""
        self.switch(False, now)

    def write(self, on):
        us = self._low_us + int((self._high_us - self._low_us) * self._target / 180) if on else 0
        self._pwm.duty_u16(us * 65535 // _PERIOD)

    def enter_safe_state(self, now, is_end=False):
        """Move to the angle `rest`, unless `safe` is HOLD or the servo has not been moved yet."""
        if self._safe == "HOLD" or self.angle is None or self.angle == self._rest:
            return
        if self.release_interlocks(now):
            print("%s: switching to its safe state %s" % (self.name, self._rest))
            self._target = self._rest
            self.switch(True, now)

    def state(self):
        return "unknown" if self.angle is None else "%g" % self.angle
