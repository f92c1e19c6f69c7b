"""Simulated `onewire`: a 1-Wire bus with DS18B20 thermometers.

Checked against onewire.py in micropython/drivers/bus/onewire of micropython-lib, and extmod/modonewire.c.

The file `onewire-<pin>` is JSON: the scratchpad of each device, nine bytes in hexadecimal, by ROM code.
"""

import simulated_io


class OneWireError(Exception):
    pass


class OneWire:
    SEARCH_ROM = 0xF0
    MATCH_ROM = 0x55
    SKIP_ROM = 0xCC

    def __init__(self, pin):
        self.pin = pin
        pin.init(pin.OPEN_DRAIN, pin.PULL_UP)
        self._written = b""

    def _devices(self):
        return simulated_io.read_json("onewire-%s" % self.pin._line.number) or {}

    def reset(self, required=False):
        self._written = b""
        present = bool(self._devices())
        if required and not present:
            raise OneWireError
        return present

    def writebyte(self, value):
        self._written += bytes([value])
        if self._written[-1:] == b"\x44":  # Convert T: record the command for tests
            name = "onewire-%s-written" % self.pin._line.number
            simulated_io.write_text(name, (simulated_io.read_text(name) or "") + self._written.hex() + "\n")

    def readbyte(self):
        """onewire_bus_readbit: nothing pulls the bus low, so all bits are ones."""
        return 0xFF

    def write(self, buf):
        for octet in buf:
            self.writebyte(octet)

    def select_rom(self, rom):
        self.reset()
        self.writebyte(self.MATCH_ROM)
        self.write(rom)

    def readinto(self, buf):
        # without an answer from a device, all bits read as ones
        answer = b"\xff" * len(buf)
        if self._written[:1] == b"\x55" and self._written[9:] == b"\xbe":
            answer = bytes.fromhex(self._devices().get(self._written[1:9].hex(), "ff" * 9))
        for i in range(len(buf)):
            buf[i] = answer[i]

    def scan(self):
        return [bytearray(bytes.fromhex(rom)) for rom in sorted(self._devices())]

    def crc8(self, data):
        crc = 0
        for octet in data:
            for _ in range(8):
                odd = (crc ^ octet) & 1
                crc = crc >> 1 ^ (0x8C if odd else 0)
                octet >>= 1
        return crc
