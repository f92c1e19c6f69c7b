"""Simulated `neopixel`: WS2812 strips.

Checked against neopixel.py in micropython/drivers/led/neopixel of micropython-lib.
"""

from machine import bitstream


class NeoPixel:
    ORDER = (1, 0, 2, 3)  # position of red, green, blue (and white) in the data

    def __init__(self, pin, n, bpp=3, timing=1):
        pin.init(pin.OUT)
        self.pin, self.n, self.bpp = pin, n, bpp
        self.buf = bytearray(n * bpp)
        if isinstance(timing, int):
            timing = (400, 850, 800, 450) if timing else (800, 1700, 1600, 900)
        self.timing = timing

    def __len__(self):
        return self.n

    def __setitem__(self, index, color):
        for i in range(self.bpp):
            self.buf[index * self.bpp + self.ORDER[i]] = color[i]

    def __getitem__(self, index):
        return tuple(self.buf[index * self.bpp + self.ORDER[i]] for i in range(self.bpp))

    def fill(self, color):
        for index in range(self.n):
            self[index] = color

    def write(self):
        bitstream(self.pin, 0, self.timing, self.buf)
