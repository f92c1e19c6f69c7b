"""Simulated `machine`: the parts that firmware uses, as MicroPython documents them (see `simulated_io`).

Interrupt handlers run when the program calls a function of this module, once for each edge since the last
call. A reset, a deep sleep and the watchdog end the process; see `__init__.py` in the parent folder.
"""

import os
import sys
from array import array
from time import gmtime, mktime, sleep_ms, ticks_add, ticks_diff, ticks_ms, ticks_us, time

import micropython
import simulated_io
from simulated_io import RP2

PWRON_RESET = 1
WDT_RESET = 3
if not RP2:
    HARD_RESET = 2
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5
    PIN_WAKE = EXT0_WAKE = 2
    EXT1_WAKE = 3
    TIMER_WAKE = 4
    _GPIO_WAKE = 7  # MicroPython has no name for it

RESET, BOOTLOADER, ASLEEP = 4, 3, 5  # exit codes

_handling = False  # whether an interrupt handler is running


def _end(code, **how):
    """Record how the chip ends, and end the process: with this exit code, or by SIGKILL in a handler."""
    simulated_io.write_text("end", " ".join("%s=%s" % item for item in how.items()))
    if _handling:  # SystemExit would end only the interrupt handler
        os.system("kill -9 $PPID")
    sys.exit(code)


_STARTED = {"reset": WDT_RESET if RP2 else 2, "wdt": WDT_RESET, "asleep": WDT_RESET if RP2 else 4}


_woken = [0]
_reason = [0]


def _start():
    """Return the reset cause, from the way the last run ended: power on if there was none."""
    end = simulated_io.read_text("end") or ""
    simulated_io.remove("end")
    how = "asleep" if "asleep=" in end else end.split("=")[0]
    if not RP2 and how == "asleep":
        by_pin = _GPIO_WAKE if simulated_io.CHIP == "esp32c3" else EXT0_WAKE
        _woken[0] = by_pin if simulated_io.read_text("woken") else TIMER_WAKE
    simulated_io.remove("woken")
    # pico-sdk, watchdog.h and watchdog.c: TIMER, and FORCE after `watchdog_reboot` without a delay
    _reason[0] = {"wdt": 1, "reset": 2, "asleep": 2}.get(how, 0)
    if how not in _STARTED:
        for name in ("memory", "memory-0", "memory-1", "memory-2"):
            simulated_io.remove(name)
    return _STARTED.get(how, PWRON_RESET)


_cause = _start()


def reset_cause():
    return _cause


def wake_reason():
    return _woken[0]


def reset():
    _end(RESET, reset=1)


def bootloader(timeout=0):
    _end(BOOTLOADER, bootloader=1)


def deepsleep(ms=0):
    """End the process with `ASLEEP`; `SimulatedChip` starts it again after `ms`, or never if `ms` is 0.

    It starts it earlier if a pin has the level that wakes an ESP32, or if a pin of an RP2 has an interrupt.
    `wake` has the number of the pin, the levels that wake the chip, and the number of levels in the file of
    the pin that are in the past, or -1 if the pin has such a level now.
    """
    waking = []
    if RP2:
        for line in _pins.values():
            if line.handler:
                waking.append((line, "01"))
    elif "esp32" in sys.modules:
        waking = [(line, str(level)) for line, level in sys.modules["esp32"]._wake_pins]
    how = {}
    for line, levels in waking:
        seen = len((simulated_io.read_text(line.file) or "").strip())
        how["wake"] = "%s:%s:%d" % (line.number, levels, -1 if str(line.level()) == levels else seen)
    _end(ASLEEP, asleep=ms, **how)


def lightsleep(ms=0):
    """Sleep until an interrupt handler has run, for `ms` at most if `ms` is not 0."""
    deadline = ticks_add(ticks_ms(), ms)
    simulated_io.write_text("asleep", "%d" % ms)
    while not _interrupts() and (not ms or ticks_diff(deadline, ticks_ms()) > 0):
        sleep_ms(1)
    simulated_io.remove("asleep")


def idle():
    _interrupts()
    sleep_ms(1)


def unique_id():
    default = "e6614103e7452d2f" if RP2 else "246f28000000"
    return bytes.fromhex(os.getenv("UNIQUE_ID") or default)


_hz = [125_000_000 if RP2 else 160_000_000]


def freq(hz=None):
    if hz is None:
        return _hz[0]
    if not RP2 and hz not in (20_000_000, 40_000_000, 80_000_000, 160_000_000, 240_000_000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _hz[0] = hz


def disable_irq():
    global _masked
    before, _masked = _masked, True
    return before


def enable_irq(state):
    global _masked
    _masked = state
    _interrupts()


_masked = False


# ---- pins

_pins: dict = {}  # `_Line` by pin number


class _Line:
    """The state of one pin of the chip, shared by all `Pin` objects for it."""

    def __init__(self, number):
        self.number = number
        self.file = "pin-%s" % number
        self.mode = None
        self.pull = None
        self.latch = 0  # level that it drives as an output
        self.seen = 0  # number of levels in the file that interrupts have handled
        self.handler = None

    def level(self):
        if self.mode == Pin.OUT or (self.mode == Pin.OPEN_DRAIN and not self.latch):
            return self.latch
        levels = simulated_io.read_text(self.file)
        if levels:
            return int(levels.strip()[-1])
        return 1 if self.pull == Pin.PULL_UP or self.mode == Pin.OPEN_DRAIN else 0

    def drive(self):
        if self.mode == Pin.OUT:
            simulated_io.write_text(self.file, "%d" % self.latch)


class Pin:
    """A pin, with its levels in the file `pin-<number>`.

    The last digit is the present level, the digits before it are past levels. A pulse adds two digits.
    """

    IN, OUT, OPEN_DRAIN = (0, 1, 2) if RP2 else (1, 3, 7)
    PULL_UP, PULL_DOWN = (1, 2) if RP2 else (2, 1)
    IRQ_FALLING, IRQ_RISING = (4, 8) if RP2 else (2, 1)

    def __init__(self, id, mode=-1, pull=-1, value=None, **more):
        if isinstance(id, Pin):
            id = id._line.number
        if not _is_pin(id):
            raise ValueError("invalid pin")
        if id not in _pins:
            _pins[id] = _Line(id)
        self._line = _pins[id]
        if mode != -1 or pull != -1 or value is not None:
            self.init(mode, pull, value)

    def init(self, mode=-1, pull=-1, value=None, **more):
        line = self._line
        if mode != -1:
            if mode in (Pin.OUT, Pin.OPEN_DRAIN) and _only_input(line.number):
                raise ValueError("pin can only be input")
            line.mode = mode
        if pull != -1:
            line.pull = pull
        if value is not None:
            line.latch = 1 if value else 0
        line.drive()

    def value(self, level=None):
        if level is None:
            if _handling and self._line.handler:
                return self._line.before  # level after the edge; reading it does not allocate memory
            _interrupts()
            return self._line.level()
        self._line.latch = 1 if level else 0  # an input drives it when it becomes an output
        self._line.drive()

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.value())

    def irq(self, handler=None, trigger=None, priority=1, wake=None, hard=False):
        line = self._line
        line.handler = handler
        line.trigger = Pin.IRQ_FALLING | Pin.IRQ_RISING if trigger is None else trigger
        line.hard = hard
        line.seen = len((simulated_io.read_text(line.file) or "").strip())
        line.before = line.level()
        line.pin = self

    def __repr__(self):
        return "Pin(%s)" % self._line.number


def _is_pin(id):
    if RP2:
        return id in ("LED", "WL_GPIO0") or (isinstance(id, int) and 0 <= id <= 29)
    top = {"esp32": 39, "esp32s3": 48, "esp32c3": 21}[simulated_io.CHIP]
    missing = {"esp32": (20, 24, 28, 29, 30, 31), "esp32s3": (22, 23, 24, 25)}.get(simulated_io.CHIP, ())
    return isinstance(id, int) and 0 <= id <= top and id not in missing


def _only_input(id):
    return simulated_io.CHIP == "esp32" and 34 <= id <= 39


def _interrupts():
    """Run the interrupt handlers for all edges since the last call; return True if any of them ran."""
    global _handling
    if _masked or _handling:
        return False
    found = False
    for line in list(_pins.values()):
        if line.handler is None:
            continue
        levels = (simulated_io.read_text(line.file) or "").strip()
        for digit in levels[line.seen :]:
            level = int(digit)
            edge = Pin.IRQ_RISING if level > line.before else Pin.IRQ_FALLING
            is_edge = level != line.before and line.trigger & edge
            line.before = level
            if is_edge:
                found = True
                _call(line.handler, line.pin, line.hard)
        line.seen = len(levels)
    for timer in list(_timers):
        timer.poll()
    return found


def _call(handler, argument, hard):
    """Call an interrupt handler. A hard one cannot allocate; a soft one is not delayed, unlike on a board."""
    global _handling
    _handling = True
    if hard:
        micropython.heap_lock()
    try:
        handler(argument)
    finally:
        if hard:
            micropython.heap_unlock()
        _handling = False


class Signal:
    def __init__(self, pin, invert=False, **more):
        self._pin, self._invert = pin, invert

    def value(self, level=None):
        if level is None:
            return self._pin.value() ^ self._invert
        self._pin.value(bool(level) ^ self._invert)

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)


# ---- analog and pulses


class ADC:
    """An analog input, with its voltage in the file `adc-<pin>`; `adc-4` of an RP2 is its own thermometer."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3
    CORE_TEMP = 4
    _FULL = (1.0, 1.34, 2.0, 3.3)  # approximate voltage that reads as 65535, by attenuation

    def __init__(self, id, atten=ATTN_0DB, sample_ns=0):
        number = id._line.number if isinstance(id, Pin) else id
        if not (number in (0, 1, 2, 3, 4, 26, 27, 28, 29) if RP2 else number in _ANALOG[simulated_io.CHIP]):
            raise ValueError("invalid pin")
        self._file = "adc-%d" % number
        self._own = RP2 and number == 4
        self._full = 3.3 if RP2 else self._FULL[atten]

    def init(self, atten=ATTN_0DB, sample_ns=0):
        if not RP2:
            self._full = self._FULL[atten]

    def atten(self, atten):
        self.init(atten)

    def _volts(self):
        _interrupts()
        found = simulated_io.read_text(self._file)
        return float(found) if found else 0.706 if self._own else 0.0  # 0.706 V is 27 degrees Celsius

    def read_u16(self):
        return min(65535, max(0, round(self._volts() / self._full * 65535)))

    def read_uv(self):
        return round(min(self._full, max(0, self._volts())) * 1e6)


_ANALOG = {
    "esp32": (0, 2, 4, 12, 13, 14, 15, 25, 26, 27, 32, 33, 34, 35, 36, 37, 38, 39),
    "esp32s3": range(1, 21),
    "esp32c3": range(0, 6),
}


class PWM:
    """A PWM output, with its frequency and duty in the file `pwm-<pin>`, which `deinit` removes."""

    def __init__(self, dest, freq=None, duty_u16=None, duty_ns=None, invert=False):
        pin = dest if isinstance(dest, Pin) else Pin(dest)
        if _only_input(pin._line.number):
            raise ValueError("pin can only be input")
        self._file = "pwm-%s" % pin._line.number
        self._freq, self._duty = 5000, 0
        self.init(freq=freq, duty_u16=duty_u16, duty_ns=duty_ns)

    def init(self, freq=None, duty_u16=None, duty_ns=None, invert=False):
        if freq is not None:
            self._freq = freq
        if duty_u16 is not None:
            self._duty = duty_u16
        if duty_ns is not None:
            self._duty = duty_ns * self._freq * 65535 // 1_000_000_000
        if not 1 <= self._freq <= 40_000_000:
            raise ValueError("frequency must be from 1Hz to 40MHz")
        if not 0 <= self._duty <= 65535:
            raise ValueError("duty_u16 must be from 0 to 65535")
        simulated_io.write_text(self._file, "%d %d" % (self._freq, self._duty))

    def freq(self, value=None):
        if value is None:
            return self._freq
        self.init(freq=value)

    def duty_u16(self, value=None):
        if value is None:
            return self._duty
        self.init(duty_u16=value)

    def duty_ns(self, value=None):
        if value is None:
            return self._duty * 1_000_000_000 // self._freq // 65535
        self.init(duty_ns=value)

    def deinit(self):
        simulated_io.remove(self._file)


def time_pulse_us(pin, pulse_level, timeout_us=1_000_000):
    """Return the length in the file `pulse-<pin>`, -2 if there is no file, -1 if it exceeds the timeout."""
    found = simulated_io.read_text("pulse-%s" % pin._line.number)
    if found is None:
        return -2
    return int(found) if int(found) <= timeout_us else -1


def bitstream(pin, encoding, timing, data):
    """Write the data to the file `stream-<pin>`."""
    if encoding != 0 or len(timing) != 4:
        raise ValueError("encoding")
    simulated_io.write_text("stream-%s" % pin._line.number, bytes(data).hex())


def dht_readinto(pin, buf):
    """Read the five bytes in the file `dht-<pin>`."""
    found = simulated_io.read_hex("dht-%s" % pin._line.number)
    if found is None:
        raise OSError(110)  # ETIMEDOUT
    buf[:] = found


# ---- I2C

_NO_DEVICE = 5 if RP2 else 19  # EIO, ENODEV
_TIMEOUT = 110 if RP2 else 116


class I2C:
    """An I2C bus, with each device as JSON in the file `i2c-<address>`; values are hexadecimal.

    `{"registers": {"88": "70 6b ..."}}`: a device with registers, here from 0x88 on, to read and write.
    `{"answers": {"2400": "be ef 92"}}`: the response that can be read after these bytes were written.
    `{"stuck": true}`: the bus is held low. Each write adds a line to the file `i2c-<address>-written`.
    """

    def __init__(self, id=0, scl=None, sda=None, freq=400000, timeout=50000):
        if id not in (0, 1) or (simulated_io.CHIP == "esp32c3" and id):
            raise ValueError("I2C(%s) doesn't exist" % id)
        for pin in (scl, sda):
            if pin is not None and _only_input(pin._line.number):
                raise ValueError("invalid pin")
            if pin is not None:
                pin.init(Pin.OPEN_DRAIN, Pin.PULL_UP, value=1)
        self._commands = {}  # last bytes written to each device, by address

    def _device(self, addr):
        _interrupts()
        found = simulated_io.read_json("i2c-%02x" % addr)
        if found is None:
            raise OSError(_NO_DEVICE)
        if found.get("stuck"):
            raise OSError(_TIMEOUT)
        return found

    def scan(self):
        return [a for a in range(8, 120) if simulated_io.read_text("i2c-%02x" % a) is not None]

    def writeto(self, addr, buf, stop=True):
        device = self._device(addr)
        buf = bytes(buf)
        name = "i2c-%02x" % addr
        simulated_io.write_text(
            name + "-written", (simulated_io.read_text(name + "-written") or "") + buf.hex() + "\n"
        )
        self._commands[addr] = buf
        if "registers" in device and len(buf) > 1:
            for i, octet in enumerate(buf[1:]):
                _set_register(device["registers"], buf[0] + i, octet)
            import json

            simulated_io.write_text(name, json.dumps(device))
        return len(buf)

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

    def writeto_mem(self, addr, memaddr, buf, addrsize=8):
        self.writeto(addr, bytes([memaddr]) + bytes(buf))

    def readfrom_mem_into(self, addr, memaddr, buf, addrsize=8):
        self._device(addr)
        self._commands[addr] = bytes([memaddr])
        self.readfrom_into(addr, buf)

    def readfrom_mem(self, addr, memaddr, nbytes, addrsize=8):
        buf = bytearray(nbytes)
        self.readfrom_mem_into(addr, memaddr, buf)
        return bytes(buf)


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


class SoftI2C(I2C):
    def __init__(self, scl, sda, freq=400000, timeout=50000):
        super().__init__(0, scl, sda)


# ---- time


class Timer:
    """A timer, whose callback runs when interrupt handlers run."""

    ONE_SHOT, PERIODIC = 0, 1

    def __init__(self, id=-1, **options):
        if options:
            self.init(**options)

    def init(self, mode=PERIODIC, freq=-1, period=-1, callback=None, hard=False):
        self._mode, self._callback, self._hard = mode, callback, hard
        self._period = int(1000 / freq) if freq > 0 else period
        self._due = ticks_add(ticks_ms(), self._period)
        if self not in _timers:
            _timers.append(self)

    def deinit(self):
        if self in _timers:
            _timers.remove(self)

    def poll(self):
        if ticks_diff(self._due, ticks_ms()) <= 0:
            if self._mode == Timer.ONE_SHOT:
                self.deinit()
            else:
                self._due = ticks_add(self._due, self._period)
            _call(self._callback, self, self._hard)


_timers: list = []


class RTC:
    """A real-time clock, with its memory in the file `memory` until the power is switched off."""

    _ahead = 0  # seconds ahead of the computer's clock

    def datetime(self, when=None):
        if when is None:
            now = gmtime(time() + RTC._ahead)
            return (now[0], now[1], now[2], now[6], now[3], now[4], now[5], 0)
        y, m, d, _, hour, minute, second, _ = when
        RTC._ahead = int(mktime((y, m, d, hour, minute, second, 0, 0))) - time()


if not RP2:

    def _memory(self, data=None):
        if data is None:
            return simulated_io.read_hex("memory") or b""
        if len(data) > 2048:
            raise ValueError("buffer too long")
        simulated_io.write_text("memory", bytes(data).hex())

    RTC.memory = _memory


class _Backup:
    """One region of `mem_backup`: words in the file `memory-<region>`, a memoryview on a real chip."""

    itemsize = 4

    def __init__(self, region, length):
        self._file, self._length = "memory-%d" % region, length

    def __len__(self):
        return self._length

    def _words(self):
        content = simulated_io.read_text(self._file)
        return [int(word, 16) for word in content.split()] if content else [0] * self._length

    def __getitem__(self, index):
        return self._words()[index]

    def __setitem__(self, index, word):
        words = self._words()
        words[index] = word & 0xFFFFFFFF
        simulated_io.write_text(self._file, " ".join("%x" % word for word in words))


# extmod/machine_mem.c, ports/rp2/machine_mem_backup.c: scratch registers 0 to 3 and 5 to 7 of the watchdog,
# and 8 of `powman` on an RP2350. A region survives every reset, but not a loss of power.
_REGIONS = (4, 3, 8) if simulated_io.CHIP == "rp2350" else (4, 3)

if RP2:

    def mem_backup(region=0):
        if region == -1:
            return tuple(_Backup(i, length) for i, length in enumerate(_REGIONS))
        if not 0 <= region < len(_REGIONS):
            raise ValueError("invalid region")
        return _Backup(region, _REGIONS[region])


class _Registers:
    """The registers that firmware reads: REASON of the watchdog of RP2040 and RP2350 (read only)."""

    def __getitem__(self, address):
        if RP2 and address in (0x40058008, 0x400D8008):
            return _reason[0]
        raise MemoryError("register %08x is not simulated" % address)


mem32 = _Registers()

_dog = array("q", [0, 0])  # time of the reset, timeout, both in ms
_MASK = (1 << 62) - 1


class WDT:
    """A watchdog. It cannot be stopped. If it is not fed in time, it ends the process by SIGKILL."""

    def __init__(self, id=0, timeout=5000):
        if RP2 and not 0 < timeout <= 8388:
            raise ValueError("timeout exceeds 8388")
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        if _dog[1] and RP2:
            timeout = _dog[1]
        started = _dog[1]
        _dog[1] = timeout
        self.feed()
        if not started:
            import _thread

            _thread.start_new_thread(_watch, ())

    def feed(self):
        _interrupts()
        _dog[0] = _uptime() + _dog[1]


def _uptime():
    return ticks_us() // 1000


def _watch():
    # runs in a thread and allocates nothing, so that it works while the program hangs
    while True:
        sleep_ms(5)
        if _uptime() > _dog[0]:
            simulated_io.write_text("end", "wdt=1")
            os.system("kill -9 $PPID")
