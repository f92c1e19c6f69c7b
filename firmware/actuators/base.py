"""What all actuators have in common: words, limits of time, interlocks, a safe state."""

import json
from time import ticks_add, ticks_diff

IDLE = 1000  # ms
_ON = (b"ON", b"1", b"TRUE", b"OPEN")
_OFF = (b"OFF", b"0", b"FALSE", b"CLOSE")
_WORDS = "not understood, expected ON, OFF or TOGGLE"


class Actuator:
    """On or off. A kind overrides `write`, and `apply_fields` and `state` where it has more than that."""

    platform = "switch"
    command_fields = ()  # fields of a command in JSON, beside `state` and `for`

    def __init__(self, config):
        self.name = config["name"]
        self.interlock_names = config["interlock"]
        self.interlocked = []
        self.on = False
        self.state_version = 0
        self._max_on = int(config["max_on"] * 1000)
        self._min_off = int(config["min_off"] * 1000)
        self._safe = config["safe"]
        self.safe_after = int(config["safe_after"] * 1000)
        self._on_until = None  # ticks at which it goes off
        self._off_until = None  # ticks until which it stays off

    # ---- of a kind

    def write(self, on):
        """Carry it out."""

    def apply_fields(self, fields, now):
        """Carry out what of `command_fields` is in `fields`. Raises ValueError before anything is changed."""

    def state(self):
        """What is published, retained."""
        return "ON" if self.on else "OFF"

    def apply_number(self, value, now):
        """A plain number, where a kind knows what that means."""
        raise ValueError(_WORDS)

    # ---- of all

    def command(self, payload, now):
        """ON, OFF, TOGGLE in any case, 1, 0, a number, or JSON with `state` and what the kind knows.

        `for` in JSON: seconds after which it goes off by itself. Raises ValueError.
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
                raise ValueError(_WORDS)
            self.apply_number(value, now)

    def _json_command(self, payload, now):
        try:
            fields = json.loads(payload)
        except ValueError:
            raise ValueError("not JSON; check commas, quotes and brackets")
        if not fields:
            raise ValueError(_WORDS)
        word = fields.pop("state", None)
        seconds = fields.pop("for", None)
        if seconds is not None:
            seconds = check_range("for", seconds, 0.1, 86400)
        for field in fields:
            if field not in self.command_fields:
                raise ValueError("%s: unknown to %s" % (field, self.name))
        on = True if word is None else parse_on_off(word, self.on)
        self.check_allowed(on, now)
        self.apply_fields(fields, now)
        self.switch(on, now, seconds)

    def check_allowed(self, on, now):
        """Raises ValueError where it may not be switched so now."""
        if not on or self.on:
            return
        for other in self.interlocked:
            if other.on:
                raise ValueError("%s is on" % other.name)
        if self._off_until is not None and ticks_diff(self._off_until, now) > 0:
            raise ValueError("it rests, %d s more" % (ticks_diff(self._off_until, now) // 1000 + 1))

    def switch(self, on, now, seconds=None):
        """On or off, within its limits; raises ValueError. `seconds`: for how long it is on."""
        self.check_allowed(on, now)
        if on:
            limit = int(seconds * 1000) if seconds else 0
            if self._max_on and not 0 < limit < self._max_on:
                limit = self._max_on
            # a command that repeats what is does not make it longer than the limit
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
        """What is due; the ms until it has to run again."""
        if self._off_until is not None and ticks_diff(self._off_until, now) <= 0:
            self._off_until = None  # ticks come round: an old time must not look like a new one
        if self._on_until is None:
            return IDLE
        left = ticks_diff(self._on_until, now)
        if left <= 0:
            print("%s: its time is over" % self.name)
            self.switch(False, now)
            return IDLE
        return min(left, IDLE)

    def enter_safe_state(self, now):
        """To its safe state, interlocks and rests or not; `HOLD` leaves it as it is."""
        if self._safe == "HOLD" or self.on == (self._safe == "ON"):
            return
        print("%s: to its safe state, %s" % (self.name, self._safe))
        self._off_until = None
        interlocked, self.interlocked = self.interlocked, []
        self.switch(self._safe == "ON", now)
        self.interlocked = interlocked


def parse_on_off(word, now):
    """True for what means on, False for off."""
    if isinstance(word, str):
        code = word.upper().encode()
        if code in _ON:
            return True
        if code in _OFF:
            return False
        if code == b"TOGGLE":
            return not now
    raise ValueError("state: expected ON, OFF or TOGGLE")


def check_range(field, value, low, high):
    """A number of a command, within its bounds. Raises ValueError."""
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not right or not low <= value <= high:
        raise ValueError("%s: expected a number, %s to %s" % (field, low, high))
    return value
