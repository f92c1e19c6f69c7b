"""Base class of all actuators: command parsing, limits of on-time and off-time, interlocks, safe state."""

import json
from time import ticks_add, ticks_diff

from micropython import const

_IDLE = const(1000)  # ms
_ON = (b"ON", b"1", b"TRUE", b"OPEN")
_OFF = (b"OFF", b"0", b"FALSE", b"CLOSE")
_EXPECTED = "expected ON, OFF or TOGGLE"


class Actuator:
    """An actuator that is on or off.

    Subclasses override `write`; subclasses with more states than on and off also override `update`, `set`
    and `state`.
    """

    platform = "switch"
    command_fields = ()  # fields of a JSON command in addition to `state` and `for`

    def __init__(self, config):
        self.name = config["name"]
        self.interlocked = []  # actuators that must be off when this one is switched on
        self.on = False
        self.state_version = 0
        self._max_on = int(config["max_on"] * 1000)
        self._min_off = int(config["min_off"] * 1000)
        self._safe = config["safe"]
        self.safe_after = int(config["safe_after"] * 1000)
        self._on_until = None  # ticks at which the actuator is switched off
        self._off_until = None  # ticks before which the actuator cannot be switched on

    # ---- overridden by kinds

    def write(self, on):
        """Set the output."""

    def update(self, fields, now):
        """Apply the `command_fields` that are in `fields`.

        If a field is not valid, raises ValueError and changes nothing.
        """

    def state(self):
        """Return the payload of the state topic."""
        return "ON" if self.on else "OFF"

    def set(self, value, now):
        """Execute a command that is a plain number. Raises ValueError if it is not valid or not allowed."""
        raise ValueError(_EXPECTED)

    # ---- common to all kinds

    def command(self, payload, now):
        """Execute a command. Raises ValueError if it is not valid or not allowed now.

        `payload` is ON, OFF or TOGGLE (or another word in `_ON` or `_OFF`) in upper or lower case, a number,
        or a JSON object with `state`, `for` (seconds after which the actuator is switched off) and the
        `command_fields` of the actuator.
        """
        payload = bytes(payload).strip()
        if payload[:1] == b"{":
            self._json_command(payload, now)
            return
        word = payload.upper()
        if word in _ON or word in _OFF:
            self.switch(word in _ON, now)
        elif word == b"TOGGLE":
            self.switch(not self.on, now)
        else:
            try:
                value = float(payload)
            except ValueError:
                raise ValueError(_EXPECTED)
            self.set(value, now)

    def _json_command(self, payload, now):
        try:
            fields = json.loads(payload)
        except ValueError:
            raise ValueError("not JSON; check commas, quotes and brackets")
        if not fields:
            raise ValueError(_EXPECTED)
        word = fields.pop("state", None)
        seconds = fields.pop("for", None)
        if seconds is not None:
            seconds = check_range("for", seconds, 0.1, 86400)
        for name in fields:
            if name not in self.command_fields:
                raise ValueError("%s: not a field of %s" % (name, self.name))
        on = True if word is None else _parse_on_off(word, self.on)
        self.check_allowed(on, now)
        self.update(fields, now)
        self.switch(on, now, seconds)

    def check_allowed(self, on, now):
        """Raise ValueError if an interlock or `min_off` does not allow the actuator to be switched on now."""
        if not on or self.on:
            return
        for other in self.interlocked:
            if other.on:
                raise ValueError("%s is on" % other.name)
        if self._off_until is not None and ticks_diff(self._off_until, now) > 0:
            seconds = ticks_diff(self._off_until, now) // 1000 + 1
            raise ValueError("stays off for %d s more (min_off)" % seconds)

    def switch(self, on, now, seconds=None):
        """Switch on or off; `seconds`, if not None, limits the on-time.

        Raises ValueError if switching on is not allowed now.
        """
        self.check_allowed(on, now)
        if on:
            limit = int(seconds * 1000) if seconds else 0
            if self._max_on and not 0 < limit < self._max_on:
                limit = self._max_on
            # a repeated ON does not extend the on-time
            if not self.on or seconds:
                self._on_until = ticks_add(now, limit) if limit else None
        else:
            if self.on and self._min_off:
                self._off_until = ticks_add(now, self._min_off)
            self._on_until = None
        self.write(on)
        if on != self.on:
            self.on = on
            self.state_version += 1

    def run(self, now):
        """Switch off when the on-time is over; returns the time in ms until the next call."""
        if self._off_until is not None and ticks_diff(self._off_until, now) <= 0:
            self._off_until = None  # ticks wrap around: later this past time would look like a future time
        if self._on_until is None:
            return _IDLE
        left = ticks_diff(self._on_until, now)
        if left <= 0:
            print("%s: on-time is over, switching off" % self.name)
            self.switch(False, now)
            return _IDLE
        return min(left, _IDLE)

    def enter_safe_state(self, now):
        """Switch to the safe state, regardless of interlocks and `min_off`; do nothing if `safe` is HOLD."""
        if self._safe == "HOLD" or self.on == (self._safe == "ON"):
            return
        print("%s: switching to its safe state %s" % (self.name, self._safe))
        self._off_until = None
        interlocked, self.interlocked = self.interlocked, []
        self.switch(self._safe == "ON", now)
        self.interlocked = interlocked


def _parse_on_off(text, on):
    """Return True for ON, False for OFF, `not on` for TOGGLE. Raises ValueError."""
    if isinstance(text, str):
        code = text.upper().encode()
        if code in _ON:
            return True
        if code in _OFF:
            return False
        if code == b"TOGGLE":
            return not on
    raise ValueError("state: " + _EXPECTED)


def check_range(name, value, low, high):
    """Return `value`, a field of a command. Raises ValueError if it is not a number from `low` to `high`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise ValueError("%s: expected a number, %s to %s" % (name, low, high))
    return value
