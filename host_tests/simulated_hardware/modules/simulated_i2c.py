"""Simulated I2C, a part of `machine`.

Checked against extmod/machine_i2c.c, and machine_i2c.c in ports/rp2 and ports/esp32 of MicroPython 1.29.
"""

import json

import simulated_io
from simulated_io import RP2
from simulated_pins import _find, _interrupts, _line, _only_input

# RP2: machine_i2c_transfer_single, PICO_ERROR_TIMEOUT and all others; ESP32: machine_hw_i2c_transfer
_NO_DEVICE = 5 if RP2 else 19  # EIO, ENODEV
_TIMEOUT = 110 if RP2 else 116  # ETIMEDOUT, of MicroPython and of newlib


class I2C:
    """An I2C bus, with each device as JSON in the file `i2c-<address>`; values are hexadecimal.

    `{"registers": {"88": "70 6b ..."}}`: a device with registers, here from 0x88 on, to read and write.
    `{"answers": {"2400": "be ef 92"}}`: the response that can be read after these bytes were written.
    `{"stuck": true}`: the bus is held low. Each write adds a line to the file `i2c-<address>-written`.
    """

    if RP2:

        def __init__(self, id=0, freq=400000, *, scl=None, sda=None, timeout=50000):
            """ports/rp2/machine_i2c.c machine_i2c_make_new: only the pins that the bus has."""
            if id not in (0, 1):
                raise ValueError("I2C(%d) doesn't exist" % id)
            pins = []
            for pin, name, first in ((scl, "SCL", 1), (sda, "SDA", 0)):
                if pin is None:
                    pin = 4 + 2 * id + first
                number = _find(pin)
                if (number - first) & 1 or (number >> 1 & 1) != id:
                    raise ValueError("bad %s pin" % name)
                pins.append(number)
            self._take(pins)

    else:

        def __init__(self, id=0, *, scl=None, sda=None, freq=400000, timeout=50000):
            """ports/esp32/machine_i2c.c machine_hw_i2c_make_new: any pins that can be outputs."""
            if not 0 <= id <= (0 if simulated_io.CHIP == "esp32c3" else 1):
                raise ValueError("I2C(%d) doesn't exist" % id)
            self._take([_find(pin) for pin in (scl, sda) if pin is not None])

    def _take(self, pins):
        for number in pins:
            if _only_input(number):
                raise ValueError("invalid pin")
            line = _line(number)
            line.mode, line.driver = None, None
            line.pull = type(self)._PULL_UP
            line.update()
        self._commands = {}  # last bytes written to each device, by address

    _PULL_UP = 1 if RP2 else 2

    def _device(self, addr):
        _interrupts()
        found = simulated_io.read_json("i2c-%02x" % addr)
        if found is None:
            raise OSError(_NO_DEVICE)
        if found.get("stuck"):
            raise OSError(_TIMEOUT)
        return found

    def scan(self):
        """machine_i2c_scan: the addresses to which a write of no bytes succeeds."""
        return [
            a
            for a in range(8, 120)
            if not (simulated_io.read_json("i2c-%02x" % a) or {"stuck": 1}).get("stuck")
        ]

    def writeto(self, addr, buf, stop=True):
        """machine_i2c_writeto: returns the number of acknowledged bytes."""
        device = self._device(addr)
        buf = bytes(buf)
        name = "i2c-%02x" % addr
        simulated_io.append_text(name + "-written", buf.hex() + "\n")
        self._commands[addr] = buf
        if "registers" in device and len(buf) > 1:
            for i, octet in enumerate(buf[1:]):
                _set_register(device["registers"], buf[0] + i, octet)
            simulated_io.write_text(name, json.dumps(device))
        return len(buf)

    def writevto(self, addr, vector, stop=True):
        return self.writeto(addr, b"".join(bytes(buf) for buf in vector), stop)

    def readfrom_into(self, addr, buf, stop=True):
        device = self._device(addr)
        command = self._commands.get(addr, b"")
        if "answers" in device:
            answer = device["answers"].get(command.hex())
            if answer is None:
                raise OSError(_NO_DEVICE)  # the device does not acknowledge until it has a response
            answer = bytes.fromhex(answer)
            for i in range(len(buf)):
                buf[i] = answer[i] if i < len(answer) else 0xFF
        else:
            for i in range(len(buf)):
                buf[i] = _register(device["registers"], (command[0] if command else 0) + i)

    def readfrom(self, addr, nbytes, stop=True):
        buf = bytearray(nbytes)
        self.readfrom_into(addr, buf)
        return bytes(buf)

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        """machine_i2c_writeto_mem: the address is sent first, in `addrsize` bits."""
        self.writeto(addr, _address(memaddr, addrsize) + bytes(buf))

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        self._device(addr)
        self._commands[addr] = _address(memaddr, addrsize)
        self.readfrom_into(addr, buf)

    def readfrom_mem(self, addr, memaddr, nbytes, *, addrsize=8):
        buf = bytearray(nbytes)
        self.readfrom_mem_into(addr, memaddr, buf, addrsize=addrsize)
        return bytes(buf)


class SoftI2C(I2C):
    """extmod/machine_i2c.c mp_machine_soft_i2c_init."""

    def __init__(self, scl, sda, *, freq=400000, timeout=50000):
        self._take([_find(scl), _find(sda)])


def _address(memaddr, addrsize):
    """fill_memaddr_buf."""
    if addrsize & 7 or addrsize > 32:
        raise ValueError("invalid addrsize")
    return memaddr.to_bytes(addrsize // 8, "big")


def _register(registers, wanted):
    for start, content in registers.items():
        content = bytes.fromhex(content)
        at = wanted - int(start, 16)
        if 0 <= at < len(content):
            return content[at]
    return 0


def _set_register(registers, wanted, octet):
    for start, content in registers.items():
        changed = bytearray(bytes.fromhex(content))
        at = wanted - int(start, 16)
        if 0 <= at < len(changed):
            changed[at] = octet
            registers[start] = changed.hex()
            return
    registers["%02x" % wanted] = "%02x" % octet
