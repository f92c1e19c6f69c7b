"""Each sensor is read at its period and its value published."""

from time import ticks_add, ticks_diff, ticks_ms


def text(value):
    """A reading as people write it: an int as it is, a float with two decimals."""
    return "%.2f" % value if isinstance(value, float) else str(value)


class Telemetry:
    """`sensors` have `name`, `period` in ms and `read()`; topics are `<base>/sensor/<name>`."""

    def __init__(self, client, base, sensors):
        self._client = client
        self._sensors = sensors
        self._topics = [client.topic("%s/sensor/%s" % (base, s.name)) for s in sensors]
        self._due = [ticks_ms()] * len(sensors)
        self._failed: list = [None] * len(sensors)

    def run(self, now):
        """Read and publish what is due; returns the ms until the next is.

        A sensor that fails is reported once and tried again at its next period.
        """
        wait = 1000
        for i in range(len(self._sensors)):
            if ticks_diff(self._due[i], now) <= 0:
                self._due[i] = ticks_add(now, self._sensors[i].period)
                self._read(i)
            wait = min(wait, ticks_diff(self._due[i], now))
        return max(0, wait)

    def _read(self, i):
        sensor = self._sensors[i]
        try:
            value = text(sensor.read())
        except Exception as error:
            if self._failed[i] != str(error):
                self._failed[i] = str(error)
                print("sensor %s: %s: %s" % (sensor.name, type(error).__name__, error))
            return
        if self._failed[i]:
            self._failed[i] = None
            print("sensor %s: works again" % sensor.name)
        self._client.publish(self._topics[i], value)
