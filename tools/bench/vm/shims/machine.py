"""Replacement for `machine.RTC`, which the unix port lacks: aiomqttc reads it for each line of its log."""

from time import gmtime


class RTC:
    def datetime(self, moment=None):
        year, month, day, hour, minute, second, weekday, _ = gmtime()[:8]
        return (year, month, day, weekday, hour, minute, second, 0)
