"""Base class of all actuators: commands, limits of on-time and off-time, interlocks, safe state."""

from time import ticks_add, ticks_diff

from micropython import const

_IDLE = const(1000)  # ms
_MAX_COMMAND = const(256)  # bytes
# words of commands; one object takes less heap than a tuple of words
_ON = b" ON 1 1.0 TRUE OPEN "
_OFF = b" OFF 0 0.0 FALSE CLOSE CLOSED "


class Actuator:
    """An actuator that is on or off.

    Subclasses override `write`; subclasses with more states than on and off also override `parse_value`,
    `check`, `update` and `state`.
    """

    platform = "switch"
    command_fields = ("for",)  # fields of a JSON command in addition to `state`
    expected = "expected ON, OFF or TOGGLE"
    fade_time = 0  # ms from a change of `on` until the output has reached its level
    interlocked: tuple = ()  # actuators that must not be on while this one is on
    on = False
    state_version = 0
    has_failed = False  # whether the last attempt to set the output failed; `Commands` sets it
    _on_since = None  # ticks at which the actuator was switched on; None if it was on at the start
    _on_until = None  # ticks at which the actuator is switched off
    _off_until = None  # ticks before which the actuator cannot be switched on

    def __init__(self, config):
        self.name = config["name"]
        self._max_on = int(config["max_on"] * 1000)
        self._min_off = int(config["min_off"] * 1000)
        self._safe = config["safe"]
        self.safe_after = int(config["safe_after"] * 1000)

    # ---- overridden by kinds

    def write(self, on):
        """Set the output."""

    def parse_value(self, text):
        """Return the fields of a command that is neither JSON nor a word. Raises ValueError.

        `text` is bytes.
        """
        raise ValueError(self.expected)

    def check(self, fields, on):
        """Check the `command_fields` that are in `fields` and change nothing. Raises ValueError.

        `on` is what the field `state` requests, or None. Returns whether the actuator has to be on, None if
        the fields do not say it.
        """
        return on

    def update(self, fields):
        """Store the checked fields, before the output is set."""

    def state(self):
        """Return the payload of the state topic."""
        return "ON" if self.on else "OFF"

    # ---- common to all kinds

    def command(self, payload, now):
        """Execute a command. Raises ValueError if it is not valid, not allowed now, or if the output fails.

        docs/actuators.md defines the commands of each kind. A command that is not valid or not allowed
        changes nothing.
        """
        if len(payload) > _MAX_COMMAND:
            raise ValueError("%d bytes, expected at most %d" % (len(payload), _MAX_COMMAND))
        text = bytes(payload).strip()
        if text[:1] == b"{":
            from .command_json import parse_object

            fields = parse_object(text)
        else:
            on = self.parse_word(text)
            if on is not None:
                self._execute({}, on, now)
                return
            fields = self.parse_value(text)
        on = None
        if "state" in fields:
            word = fields.pop("state")
            if isinstance(word, str):
                on = self.parse_word(word.encode())
            if on is None:
                raise ValueError("state: " + self.expected)
        self._execute(fields, on, now)

    def parse_word(self, text):
        """Return whether a word, as bytes, switches on; None if it is not a word of a command."""
        word = b" " + text.upper() + b" "
        if b" " not in text:
            if word in _ON:
                return True
            if word in _OFF:
                return False
            if word == b" TOGGLE ":
                return not self.on
        return None

    def _execute(self, fields, on, now):
        for name in fields:
            if name not in self.command_fields:
                raise ValueError("%s: not a field of %s" % (name, self.name))
        seconds = check_range("for", fields["for"], 0.1, 86400) if "for" in fields else 0
        on = self.check(fields, on)
        if on is None:
            if not seconds:
                raise ValueError(self.expected)
            on = True
        self.check_allowed(on, now)
        try:
            self.update(fields)
            self.switch(on, now, seconds)
        except Exception as error:
            if isinstance(error, ValueError):
                raise
            raise ValueError("the output failed: %r" % error)

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

    def switch(self, on, now, seconds=0):
        """Switch on or off; `seconds`, if not 0, limits the on-time from now.

        `max_on` limits it from the time when the actuator was switched on. Raises ValueError if switching on
        is not allowed now. If the output fails, raises the error, and `run` switches off.
        """
        self.check_allowed(on, now)
        until = self._on_until  # a repeated ON does not change it
        if not self.on or self._on_since is None:
            self._on_since, until = now, None
        if on:
            if seconds:
                until = ticks_add(now, int(seconds * 1000))
            if self._max_on:
                end = ticks_add(self._on_since, self._max_on)
                if until is None or ticks_diff(until, end) > 0:
                    until = end
            self._off_until = None
        else:
            if self.on and self._min_off:
                self._off_until = ticks_add(now, self.fade_time + self._min_off)
            until = None
        try:
            self.write(on)
        except Exception:
            if on or self.on:  # the level of the output is not known
                self.on, self._on_until = True, now
            raise
        self._on_until = until
        if on != self.on:
            self.on = on
            self.on_changed()

    @property
    def is_fading(self):
        """True until the output has reached its level; only a light takes time for it."""
        return False

    def on_changed(self):
        """Count a change of `on` as a new state."""
        self.state_version += 1

    def delay_on(self, now):
        """Apply `min_off` from now on to an actuator that is off: the time since it went off is not known."""
        if self._min_off and not self.on:
            self._off_until = ticks_add(now, self._min_off)

    def run(self, now):
        """Switch off when the on-time is over; returns the time in ms until the next call."""
        if self._off_until is not None and ticks_diff(self._off_until, now) <= 0:
            self._off_until = None  # ticks wrap around: later this past time would look like a future time
        if self._on_until is None:
            if not self.on or not self._max_on:
                return _IDLE
            self._on_since, self._on_until = now, ticks_add(now, self._max_on)  # on since the start
        left = ticks_diff(self._on_until, now)
        if left <= 0:
            self.end_on_time(now)
            return _IDLE
        return min(left, _IDLE)

    def end_on_time(self, now):
        """Switch off because the on-time is over."""
        print("%s: on-time is over, switching off" % self.name)
        self.switch(False, now)

    def enter_safe_state(self, now, is_end=False):
        """Switch to the safe state, regardless of `min_off`. Raises an exception if the output fails.

        Actuators that are interlocked with this one are switched off first, except if ON is their safe state,
        too. If `safe` is HOLD, nothing changes. But at the end of the program (`is_end`) an actuator with an
        on-time is switched off, because the time can no longer be limited.
        """
        on = self._safe == "ON"
        if self._safe == "HOLD" and not (is_end and self._on_until is not None) or self.on == on:
            return
        if on and not self.release_interlocks(now):
            return
        print("%s: switching to its safe state %s" % (self.name, "ON" if on else "OFF"))
        self.switch(on, now)

    def release_interlocks(self, now):
        """Make switching on possible: end `min_off`, and switch off the actuators that are interlocked.

        Returns False if one of them has to stay on, because ON is its safe state.
        """
        for other in self.interlocked:
            if other.on:
                if other._safe == "ON":
                    return False
                other.switch(False, now)
        self._off_until = None
        return True


def check_range(name, value, low, high):
    """Return `value`, a field of a command. Raises ValueError if it is not a number from `low` to `high`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise ValueError("%s: expected a number, %s to %s" % (name, low, high))
    return value
