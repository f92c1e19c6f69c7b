"""Replacement for parts of `machine`, which the unix port lacks.

aiomqttc reads `RTC` for each line of its log, and mqtt_as makes its default client identifier of `unique_id`.
"""

from time import gmtime


class RTC:
    def datetime(self, moment=None):
        year, month, day, hour, minute, second, weekday, _ = gmtime()[:8]
        return (year, month, day, weekday, hour, minute, second, 0)


def unique_id():
    return b"\x01\x02\x03\x04"
