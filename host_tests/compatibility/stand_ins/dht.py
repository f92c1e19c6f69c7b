"""Stand-in for MicroPython's `dht`: a sensor whose readings rise."""


class DHT22:
    def __init__(self, pin):
        self._count = 0

    def measure(self):
        self._count += 1

    def temperature(self):
        return 20.5 + self._count

    def humidity(self):
        return 40.5 + self._count
