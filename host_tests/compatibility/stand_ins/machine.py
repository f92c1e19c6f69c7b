"""Stand-in for MicroPython's `machine`: pins whose inputs are scripted and whose outputs are printed."""

import lab  # noqa: F401  `time.sleep_ms` on CPython

_inputs = {0: [1, 1, 0, 1, 0, 1, 1, 0]}  # levels that a button on pin 0 shows, one per call of `value`


def unique_id():
    return b"\xe6\x61\x41\x04"


def reset():
    raise SystemExit("machine.reset")


def deepsleep(ms):
    print("deepsleep", ms)


class Pin:
    IN, OUT, PULL_UP = 0, 1, 1

    def __init__(self, number, mode=-1, pull=-1, value=0):
        self._number = number
        self._level = value

    def value(self, level=None):
        if level is not None:
            self._level = level
            print("pin %d is %d" % (self._number, level))
        elif self._number in _inputs:
            levels = _inputs[self._number]
            return levels.pop(0) if levels else 1
        return self._level

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)


class ADC:
    ATTN_11DB = 3

    def __init__(self, pin):
        self._reads = 0

    def atten(self, value):
        pass

    def read_u16(self):
        self._reads += 1
        return 20000 + 1000 * self._reads
