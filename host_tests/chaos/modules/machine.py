"""The module `machine` in the simulated world: pins report each level that they drive."""

import json

import chaos_link as link

is_rp2 = False
_cause = 1
_woken = 0
PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
PIN_WAKE = EXT0_WAKE = 2
TIMER_WAKE = 4

levels: dict = {}  # level from outside, by number of the pin
_voltages: dict = {}  # voltage, by number of the pin
_handlers: dict = {}  # (handler, trigger, hard, Pin), by number of the pin
_reads = [0]


def reset_cause():
    return _cause


def wake_reason():
    return _woken


def reset():
    link.end("reset")


def soft_reset():
    link.end("soft")


def bootloader(timeout=0):
    link.end("bootloader")


def deepsleep(ms=0):
    link.end("sleep %d" % ms)


def lightsleep(ms=0):
    link.sleep_ms(ms)


def idle():
    link.sleep_ms(1)


def unique_id():
    return b"\x24\x6f\x28\x00\x00\x01"


def freq(hz=None):
    return 160_000_000


def disable_irq():
    return 0


def enable_irq(state):
    pass


class Pin:
    """A pin; each level that it drives is sent to the world."""

    IN, OUT, OPEN_DRAIN = 1, 3, 7
    PULL_UP, PULL_DOWN = 2, 1
    IRQ_FALLING, IRQ_RISING = 2, 1
    _lines: dict = {}  # [mode, latch, pull], by number

    def __init__(self, id, mode=-1, pull=-1, value=None, hold=None, **more):
        if isinstance(id, Pin):
            id = id.id
        self.id = id
        self._line = Pin._lines.setdefault(id, [0, 0, None])
        if mode != -1 or pull != -1 or value is not None:
            self.init(mode, pull, value)

    def init(self, mode=-1, pull=-1, value=None, **more):
        line = self._line
        if value is not None:
            line[1] = 1 if value else 0
        if mode != -1:
            line[0] = mode
        if pull != -1:
            line[2] = pull
        self._drive()

    def _drive(self):
        if self._line[0] == Pin.OUT:
            link.send("p", ("%s %d" % (self.id, self._line[1])).encode())

    def value(self, level=None):
        line = self._line
        if level is None:
            if line[0] == Pin.OUT:
                return line[1]
            return levels.get(self.id, 1 if line[2] == Pin.PULL_UP else 0)
        line[1] = 1 if level else 0
        self._drive()

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.value())

    def irq(self, handler=None, trigger=3, priority=1, wake=None, hard=False):
        if handler is None:
            _handlers.pop(self.id, None)
        else:
            _handlers[self.id] = (handler, trigger, hard, self)

    def __repr__(self):
        return "Pin(%s, mode=%s)" % (self.id, "OUT" if self._line[0] == Pin.OUT else "IN")


def _on_edge(number, data):
    level = data[0]
    before = levels.get(number, 1)
    levels[number] = level
    if number in _handlers and level != before:
        handler, trigger, hard, pin = _handlers[number]
        if trigger & (Pin.IRQ_RISING if level else Pin.IRQ_FALLING):
            link.call_handler(handler, pin, hard)


link.handlers["P"] = _on_edge


def _on_voltage(number, data):
    _voltages[number] = float(data)


link.handlers["V"] = _on_voltage


class Signal:
    def __init__(self, pin, invert=False, **more):
        self._pin, self._invert = pin, invert

    def value(self, level=None):
        if level is None:
            return self._pin.value() ^ self._invert
        self._pin.value(bool(level) ^ self._invert)


class ADC:
    """An analog input. Each reading differs from all others, so that a lost message is noticed."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3
    CORE_TEMP = 4

    def __init__(self, id, atten=0, sample_ns=0):
        self._id = id.id if isinstance(id, Pin) else id

    def init(self, atten=0, sample_ns=0):
        pass

    def _read(self):
        if self._id not in _voltages:
            return 0.706
        _reads[0] += 1
        return _voltages[self._id] + _reads[0] * 1e-6

    def read_u16(self):
        return int(self._read() / 3.3 * 65535)

    def read_uv(self):
        return int(self._read() * 1e6)


class PWM:
    def __init__(self, dest, freq=5000, duty_u16=0, duty_ns=None, invert=False):
        self._id = dest.id if isinstance(dest, Pin) else dest
        self._freq, self._duty = freq, duty_u16
        self._invert = invert
        self._report()

    def _report(self):
        link.send("q", ("%s %d %d" % (self._id, self._freq, self._duty)).encode())

    def init(self, freq=None, duty_u16=None, **more):
        self._freq = freq or self._freq
        if duty_u16 is not None:
            self._duty = duty_u16
        self._report()

    def freq(self, value=None):
        return self._freq if value is None else self.init(freq=value)

    def duty_u16(self, value=None):
        return self._duty if value is None else self.init(duty_u16=value)

    def duty_ns(self, value=None):
        return self.init(duty_u16=value * self._freq * 65535 // 1_000_000_000)

    def deinit(self):
        self._duty = 0
        self._report()


def bitstream(pin, encoding, timing, data):
    link.send("x", ("%s %d" % (pin.id, 1 if any(data) else 0)).encode())


def time_pulse_us(pin, pulse_level, timeout_us=1_000_000):
    return -2


def dht_readinto(pin, buf):
    found = json.loads(link.call("m", b"dht"))
    if found is None:
        raise OSError(110)
    buf[:] = bytes(found)


class I2C:
    """A bus with an SHT3x at 0x44 that the world may remove; any other address does not respond."""

    def __init__(self, id=0, scl=None, sda=None, freq=400000, timeout=50000):
        pass

    def _answer(self, address):
        found = json.loads(link.call("m", b"sht"))
        if address != 0x44 or found is None:
            raise OSError(5 if is_rp2 else 19)
        return bytes(found)

    def scan(self):
        return [0x44] if json.loads(link.call("m", b"sht")) else []

    def writeto(self, address, buf, stop=True):
        self._answer(address)
        return len(buf)

    def readfrom_into(self, address, buf, stop=True):
        buf[:] = self._answer(address)[: len(buf)]

    def readfrom(self, address, n, stop=True):
        return self._answer(address)[:n]

    def readfrom_mem(self, address, register, n, addrsize=8):
        return self._answer(address)[:n]

    def readfrom_mem_into(self, address, register, buf, addrsize=8):
        self.readfrom_into(address, buf)

    def writeto_mem(self, address, register, buf, addrsize=8):
        self._answer(address)


class SoftI2C(I2C):
    def __init__(self, scl=None, sda=None, freq=400000, timeout=50000):
        pass


class Timer:
    ONE_SHOT, PERIODIC = 0, 1

    def __init__(self, id=-1, **options):
        pass

    def init(self, **options):
        pass

    def deinit(self):
        pass


class WDT:
    """The watchdog: it cannot be stopped; it ends the run at the simulated time."""

    def __init__(self, id=0, timeout=5000):
        if is_rp2 and not 0 < timeout <= 8388:
            raise ValueError("timeout exceeds 8388")
        link.start_watchdog(timeout)

    def feed(self):
        link.feed()


class RTC:
    def datetime(self, when=None):
        if when is None:
            now = link.Time.gmtime(link.Time.time())
            return (now[0], now[1], now[2], now[6], now[3], now[4], now[5], 0)
        y, m, d, _, hour, minute, second, _ = when
        link.Time.clock = int(link.Time.mktime((y, m, d, hour, minute, second, 0, 0))) * 1000 - link.now
        link.send("k", b"%d" % link.Time.clock)

    def memory(self, data=None):
        global memory
        if data is None:
            return memory
        memory = bytes(data)
        link.send("y", memory)


memory = b""


class _Backup:
    """The words of a region of `mem_backup` of an RP2: region 0 has four, region 1 three."""

    itemsize = 4

    def __init__(self, at, size):
        self._at, self._size = at, size

    def __len__(self):
        return self._size

    def _offset(self, index):
        if not 0 <= index < self._size:
            raise IndexError("memoryview index out of range")
        return (self._at + index) * 4

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(self._size)[index]]
        at = self._offset(index)
        return int.from_bytes((memory + bytes(28))[at : at + 4], "little")

    def __setitem__(self, index, word):
        global memory
        at = self._offset(index)
        data = bytearray(memory + bytes(28))[:28]
        data[at : at + 4] = (word & 0xFFFFFFFF).to_bytes(4, "little")
        memory = bytes(data)
        link.send("y", memory)


def mem_backup(region=0):
    if region not in (0, 1):
        raise ValueError("invalid region")
    return _Backup(0, 4) if region == 0 else _Backup(4, 3)


class _Registers:
    """The registers of an RP2 that programs read: REASON of the watchdog."""

    def __getitem__(self, address):
        if address not in (0x40058008, 0x400D8008):
            raise ValueError("register 0x%08x is not simulated" % address)
        return {"watchdog": 1, "power": 0}.get(_how, 2)


mem32 = _Registers()
_how = "power"


def choose_port(rp2, cause, woken, backup):
    """Set the constants to those of the ESP32 or of the RP2."""
    global is_rp2, _cause, _woken, _how, memory
    is_rp2, _woken, _how, memory = rp2, woken, cause, backup
    # reset causes: power, reset, watchdog, sleep, soft
    _cause = {"power": 1, "reset": 3 if rp2 else 2, "watchdog": 3, "sleep": 3 if rp2 else 4}.get(
        cause, 3 if rp2 else 5
    )
    if rp2:
        Pin.IN, Pin.OUT, Pin.OPEN_DRAIN, Pin.PULL_UP, Pin.PULL_DOWN = 0, 1, 2, 1, 2
        Pin.IRQ_FALLING, Pin.IRQ_RISING = 4, 8
        for name in ("HARD_RESET", "DEEPSLEEP_RESET", "SOFT_RESET", "PIN_WAKE", "EXT0_WAKE", "TIMER_WAKE"):
            del globals()[name]
    else:
        del globals()["mem_backup"]
