"""Simulated `dht`: DHT11 and DHT22.

Checked against dht.py in micropython/drivers/sensor/dht of micropython-lib.
"""

from machine import dht_readinto


class DHTBase:
    def __init__(self, pin):
        self.pin = pin
        self.buf = bytearray(5)

    def measure(self):
        dht_readinto(self.pin, self.buf)
        if sum(self.buf[:4]) & 0xFF != self.buf[4]:
            raise Exception("checksum error")  # the exception of MicroPython's driver


class DHT11(DHTBase):
    def humidity(self):
        return self.buf[0]

    def temperature(self):
        return self.buf[2]


class DHT22(DHTBase):
    def humidity(self):
        return int.from_bytes(self.buf[:2], "big") * 0.1

    def temperature(self):
        value = (self.buf[2] & 0x7F) * 256 + self.buf[3]
        return value * (-0.1 if self.buf[2] > 0x7F else 0.1)
