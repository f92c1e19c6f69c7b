"""Simulated `ds18x20`: DS18B20 on a 1-Wire bus.

Checked against ds18x20.py in micropython/drivers/sensor/ds18x20 of micropython-lib.
"""


class DS18X20:
    def __init__(self, onewire):
        self.ow = onewire
        self.buf = bytearray(9)

    def scan(self):
        return [rom for rom in self.ow.scan() if rom[0] in (0x10, 0x22, 0x28)]

    def convert_temp(self):
        self.ow.reset(True)
        self.ow.write(b"\xcc\x44")

    def read_scratch(self, rom):
        self.ow.reset(True)
        self.ow.select_rom(rom)
        self.ow.writebyte(0xBE)
        self.ow.readinto(self.buf)
        if self.ow.crc8(self.buf):
            raise Exception("CRC error")  # the exception of MicroPython's driver
        return self.buf

    def write_scratch(self, rom, buf):
        self.ow.reset(True)
        self.ow.select_rom(rom)
        self.ow.writebyte(0x4E)
        self.ow.write(buf)

    def read_temp(self, rom):
        scratch = self.read_scratch(rom)
        if rom[0] == 0x10:  # DS18S20
            half = scratch[0] >> 1
            if scratch[1]:
                half = -((~(half | 0x80) + 1) & 0xFF)
            return half - 0.25 + (scratch[7] - scratch[6]) / scratch[7]
        value = int.from_bytes(scratch[:2], "little")
        return (value - 0x10000 if value > 0x7FFF else value) / 16
