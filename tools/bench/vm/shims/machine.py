"""The clock of a board, which aiomqttc asks for each line of its log; the unix port has none."""

from time import gmtime


class RTC:
    def datetime(self, moment=None):
        year, month, day, hour, minute, second, weekday, _ = gmtime()[:8]
        return (year, month, day, weekday, hour, minute, second, 0)
