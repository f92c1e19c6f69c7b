"""Simulated `machine`: the parts that firmware uses, as the ports of MicroPython implement them.

Each function names the C function of MicroPython 1.29 with which it was compared, in ports/rp2/modmachine.c
and ports/esp32/modmachine.c unless another file is named. Functions of the RP2 were also compared with that
firmware in an emulated Pico W. `simulated_pins`, `simulated_analog` and `simulated_i2c` have the rest.

Interrupt handlers run when the program calls a function of this module, once for each edge since the last
call. A reset, a deep sleep and the watchdog end the process; see `__init__.py` in the parent folder.
"""

import os
import sys
from array import array
from time import gmtime, mktime, sleep_ms, ticks_add, ticks_diff, ticks_ms, ticks_us, time

import simulated_io
from simulated_analog import ADC, PWM, bitstream, dht_readinto, time_pulse_us  # noqa: F401  public names
from simulated_i2c import I2C, SoftI2C  # noqa: F401  public names
from simulated_io import RP2
from simulated_pins import (
    Pin,  # noqa: F401  public name
    Signal,  # noqa: F401  public name
    _call,
    _handling,
    _interrupts,
    _pins,
    _polled,
    _skip_interrupts,
    _start_pins,
    disable_irq,  # noqa: F401  public name
    enable_irq,  # noqa: F401  public name
)

# MICROPY_PY_MACHINE_EXTRA_GLOBALS of both ports: an RP2 has only these two causes
PWRON_RESET = 1
WDT_RESET = 3
if not RP2:
    HARD_RESET = 2
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5
    SLEEP, DEEPSLEEP = 2, 4
    PIN_WAKE = EXT0_WAKE = 2
    EXT1_WAKE = 3
    TIMER_WAKE = 4
    TOUCHPAD_WAKE, ULP_WAKE = 5, 6
    _GPIO_WAKE = 7  # MicroPython has no name for it

RESET, BOOTLOADER, ASLEEP = 4, 3, 5  # exit codes


def _end(code, **how):
    """Record how the chip ends, and end the process: with this exit code, or by SIGKILL in a handler."""
    simulated_io.write_text("end", " ".join("%s=%s" % item for item in how.items()))
    if _handling[0]:  # SystemExit would end only the interrupt handler
        os.system("kill -9 $PPID")
    sys.exit(code)


_STARTED = {"reset": WDT_RESET if RP2 else 2, "wdt": WDT_RESET, "asleep": WDT_RESET if RP2 else 4}


_woken = [0]
_reason = [0]


def _start():
    """Return the reset cause, from the way the last run ended: power on if there was none.

    After a soft reset, an ESP32 reports it, and an RP2 reports the cause of the last other reset. The
    outputs, the watchdog and the memory are then as before.
    """
    end = simulated_io.read_text("end") or ""
    simulated_io.remove("end")
    how = "asleep" if "asleep=" in end else end.split("=")[0]
    if not RP2 and how == "asleep":
        by_pin = _GPIO_WAKE if simulated_io.CHIP == "esp32c3" else EXT0_WAKE
        _woken[0] = by_pin if simulated_io.read_text("woken") else TIMER_WAKE
    simulated_io.remove("woken")
    if how == "soft":
        last = (simulated_io.read_text("cause") or "1 0").split()
        _reason[0] = int(last[1])
        cause = int(last[0]) if RP2 else SOFT_RESET
    else:
        # pico-sdk, watchdog.h and watchdog.c: TIMER, and FORCE after `watchdog_reboot` without a delay
        _reason[0] = {"wdt": 1, "reset": 2, "asleep": 2}.get(how, 0)
        if how not in _STARTED:
            for name in ("memory", "memory-0", "memory-1", "memory-2"):
                simulated_io.remove(name)
        simulated_io.remove("watchdog")
        cause = _STARTED.get(how, PWRON_RESET)
        simulated_io.write_text("cause", "%d %d" % (cause, _reason[0]))
    _start_pins(how == "soft" or (not RP2 and how in ("reset", "wdt")))
    return cause


def reset_cause():
    """mp_machine_reset_cause."""
    return _cause


if not RP2:

    def wake_reason():
        """machine_wake_reason: ESP_SLEEP_WAKEUP_GPIO is 7."""
        return _woken[0]


def reset():
    """mp_machine_reset."""
    _end(RESET, reset=1)


def soft_reset():
    """extmod/modmachine.c: raises SystemExit, as `sys.exit()` does; the program starts again."""
    raise SystemExit()


def bootloader(timeout=0):
    _end(BOOTLOADER, bootloader=1)


def deepsleep(*ms):
    """End the process with `ASLEEP`; `SimulatedChip` starts it again after `ms`, or never without `ms`.

    It starts it earlier if a pin has the level that wakes an ESP32, or if a pin of an RP2 has an interrupt.
    `wake` has the number of the pin, the levels that wake the chip, and the number of levels in the file of
    the pin that are in the past, or -1 if the pin has such a level now.

    RP2: mp_machine_deepsleep, a light sleep and a reset. Without `ms` the oscillator stops, and no interrupt
    of a pin starts it again. ESP32: machine_sleep_helper; it wakes at once if `ms` is 0.
    """
    (ms,) = ms or (-1,)
    waking = []
    if RP2:
        if ms >= 1 << 32:
            raise ValueError("sleep too long")
        for line in _pins.values():
            if line.handler and ms > 1:
                waking.append((line, "01"))
    else:
        _check_wake_pins()
        waking = [(line, str(level)) for line, level in _wake_pins]
    how = {}
    for line, levels in waking:
        seen = len((simulated_io.read_text(line.file) or "").strip())
        how["wake"] = "%s:%s:%d" % (line.number, levels, -1 if str(line.level()) == levels else seen)
    _end(ASLEEP, asleep=ms, **how)


def lightsleep(*ms):
    """Sleep for `ms`, or without `ms` until something wakes the chip.

    RP2, mp_machine_lightsleep: any interrupt ends it, also one of the radio, and a negative `ms` is some
    weeks. Without `ms` no interrupt of a pin ends it. ESP32, machine_sleep_helper: only the pins that were
    set to wake it do; interrupts of pins are not seen meanwhile.
    """
    forever = not ms
    ms = ms[0] if ms else -1
    forever = forever or (RP2 and ms < 0)
    if RP2:
        if ms >= (1 << 32) // 1000:
            raise ValueError("sleep too long")
        network = sys.modules.get("network")
        if network and network.WLAN._active and ms != 1:
            return
    deadline = ticks_add(ticks_ms(), max(ms, 0))
    simulated_io.write_text("asleep", "%d" % ms)
    while forever or ticks_diff(deadline, ticks_ms()) > 0:
        if RP2:
            if not forever and _interrupts():
                break
        elif any(line.level() == level for line, level in _wake_pins):
            break
        sleep_ms(1)
    simulated_io.remove("asleep")
    if not RP2:
        _skip_interrupts()


def idle():
    """mp_machine_idle."""
    _interrupts()
    sleep_ms(1)


def unique_id():
    """mp_machine_unique_id: 8 bytes on an RP2, the MAC address on an ESP32."""
    default = "e6614103e7452d2f" if RP2 else "246f28000000"
    return bytes.fromhex(os.getenv("UNIQUE_ID") or default)


_hz = [{"rp2040": 125_000_000, "rp2350": 150_000_000}.get(simulated_io.CHIP, 160_000_000)]
_MHZ = (20, 40, 80, 160) if simulated_io.CHIP == "esp32c3" else (20, 40, 80, 160, 240)


def freq(*hz):
    """mp_machine_get_freq, mp_machine_set_freq: an RP2 has a second argument for the peripherals."""
    if not hz:
        return _hz[0]
    if RP2:
        if not 10_000_000 <= hz[0] <= 300_000_000:
            raise ValueError("cannot change frequency")
    elif hz[0] // 1_000_000 not in _MHZ:
        if len(_MHZ) == 4:
            raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz or 160MHz")
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _hz[0] = hz[0]


# ---- pins that wake an ESP32, set by the module `esp32`

_wake_pins: list = []  # (line, level) that end a sleep
_wake_by_gpio = [False]  # whether `wake_on_gpio` set them


def _arm_ext0(line, level, wake):
    """ports/esp32/machine_pin.c machine_pin_irq with `wake`."""
    import esp32

    if not 2 <= wake <= 7:
        raise ValueError("bad wake value")
    if line.number not in esp32._RTC_PINS:
        raise ValueError("invalid pin for wake")
    _wake_pins[:] = [(line, int(level))]


def _check_wake_pins():
    """machine_sleep_helper: only a chip with ext0 and ext1, or the pins 0 to 5 of an ESP32-C3."""
    if not _wake_by_gpio[0] or not _wake_pins:
        return
    if simulated_io.CHIP != "esp32c3":
        raise ValueError("DEEPSLEEP with gpio pins not supported on this chip")
    if any(line.number > 5 for line, _ in _wake_pins):
        raise ValueError("wake-up pin not supported")


# ---- time


class Timer:
    """A timer, whose callback runs when interrupt handlers run; on an RP2 with id -1 only."""

    ONE_SHOT, PERIODIC = 0, 1

    def __init__(self, id=-1, **options):
        """machine_timer_make_new in machine_timer.c of both ports."""
        if RP2 and id != -1:
            raise ValueError("Timer doesn't exist")
        if id >= 4:
            raise ValueError("Timer(%d) doesn't exist, there are only 4 hardware timers" % id)
        if options:
            self.init(**options)

    def init(self, *, mode=PERIODIC, callback=None, period=0xFFFFFFFF, tick_hz=1000, freq=None, hard=False):
        """machine_timer_init_helper in machine_timer.c of both ports."""
        if hard and not RP2:
            raise ValueError("hard Timers are not implemented")
        self._mode, self._callback, self._hard = mode, callback, hard
        self._period = max(1, int(1000 / freq if freq is not None else period * 1000 / tick_hz))
        self._due = ticks_add(ticks_ms(), min(self._period, (1 << 29) - 1))
        if self._poll not in _polled:
            _polled.append(self._poll)

    def deinit(self):
        if self._poll in _polled:
            _polled.remove(self._poll)

    def _poll(self):
        if self._callback is not None and ticks_diff(self._due, ticks_ms()) <= 0:
            if self._mode == Timer.ONE_SHOT:
                self.deinit()
            else:
                self._due = ticks_add(self._due, self._period)
            if not _call(self._callback, self, self._hard) and self._hard:
                self.deinit()  # ports/rp2/machine_timer.c alarm_callback


class RTC:
    """A real-time clock, with its memory in the file `memory` until the power is switched off.

    It always has the right time. On a board it starts in 2000 or 2021 (ports/rp2/main.c) until it is set.
    """

    _ahead = 0  # seconds ahead of the computer's clock

    def __init__(self):
        """machine_rtc_make_new in machine_rtc.c of both ports: no arguments."""

    def datetime(self, *when):
        """machine_rtc_datetime: the day of the week is ignored."""
        if not when:
            now = gmtime(time() + RTC._ahead)
            return (now[0], now[1], now[2], now[6], now[3], now[4], now[5], 0)
        y, m, d, _, hour, minute, second, _ = when[0]
        RTC._ahead = int(mktime((y, m, d, hour, minute, second, 0, 0))) - time()

    if not RP2:

        def memory(self, *data):
            """ports/esp32/machine_rtc.c machine_rtc_memory: survives resets, the watchdog and deep sleep."""
            if not data:
                return simulated_io.read_hex("memory") or b""
            if len(data[0]) > 2048:
                raise ValueError("buffer too long")
            simulated_io.write_text("memory", bytes(data[0]).hex())


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
        """extmod/machine_mem.c machine_mem_backup, new in 1.29."""
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


# ---- watchdog

_dog = array("q", [0, 0])  # time of the reset, timeout, both in ms
_LONGEST = 16777 if simulated_io.CHIP == "rp2350" else 8388


class WDT:
    """A watchdog. It cannot be stopped, and a soft reset does not stop it.

    If it is not fed in time, it ends the process by SIGKILL. Also after the program has ended it resets the
    chip, because a board then waits at the prompt: see `SimulatedChip`.
    """

    def __init__(self, id=0, timeout=5000):
        """extmod/machine_wdt.c, mp_machine_wdt_make_new_instance in machine_wdt.c of both ports."""
        if RP2:
            if id != 0:
                raise ValueError("WDT(%d) doesn't exist" % id)
            if not 0 <= timeout <= _LONGEST:
                raise ValueError("timeout exceeds %d" % _LONGEST)
            if timeout == 0:  # pico-sdk, watchdog.c _watchdog_enable: an immediate reset
                _end(RESET, reset=1)
        elif id != 0:
            raise ValueError()
        elif timeout <= 0:
            raise ValueError("WDT timeout too short")
        _start_watchdog(timeout)  # a second one replaces the timeout

    def feed(self):
        """It does not use `self`, like mp_machine_wdt_feed of both ports."""
        _interrupts()
        if not RP2 and not _dog[1]:
            raise OSError(258)  # esp_task_wdt_reset_user without a handle: ESP_ERR_INVALID_ARG
        _dog[0] = _uptime() + _dog[1]


def _start_watchdog(timeout):
    started = _dog[1]
    _dog[1] = int(timeout * float(os.getenv("SIM_WATCHDOG_SCALE") or 1))
    _dog[0] = _uptime() + _dog[1]
    simulated_io.write_text("watchdog", "%d" % timeout)
    if not started:
        import _thread

        _thread.start_new_thread(_watch, ())


def _uptime():
    return ticks_us() // 1000


def _watch():
    # runs in a thread and allocates nothing, so that it works while the program hangs
    while True:
        sleep_ms(5)
        if _uptime() > _dog[0]:
            simulated_io.write_text("end", "wdt=1")
            os.system("kill -9 $PPID")


_cause = _start()
_running = simulated_io.read_text("watchdog")  # started before a soft reset
if _running:
    _start_watchdog(int(_running))
