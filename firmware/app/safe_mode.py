"""Safe mode: a device that has crashed repeatedly runs without sensors and actuators for an hour.

In safe mode the device connects, publishes the reason, executes restart commands and installs updates. After
an hour it starts normally. If it crashes again before its run is stable, it returns to safe mode.
"""

from time import ticks_diff, ticks_ms

from micropython import const

from . import crash

_DURATION = const(3600000)  # ms
_IDLE = const(1000)  # ms


class SafeMode:
    """The end of safe mode. `reason` is what `crash.begin_start` returns, `restart()` resets the board."""

    def __init__(self, name, reason, restart):
        print("%s: safe mode: %s" % (name, reason))
        self._name = name
        self._reason = reason
        self._restart = restart
        self._started_at = ticks_ms()
        self.update = None  # the Update of the device; safe mode does not end while it is busy

    def add_metrics(self, metrics):
        """Add the reason for safe mode to the health metrics."""
        metrics["safe_mode"] = self._reason

    def run(self, now):
        """Restart the device after an hour; returns the time in ms until the next call."""
        if ticks_diff(now, self._started_at) >= _DURATION and not (self.update and self.update.is_busy):
            print("%s: safe mode ends, restarting" % self._name)
            crash.leave_safe_mode()
            self._restart()
        return _IDLE
