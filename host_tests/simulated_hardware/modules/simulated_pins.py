"""Simulated pins, a part of `machine`: `Pin`, `Signal`, interrupts, and a log of what each pin drives.

Checked against ports/rp2/machine_pin.c, machine_pin_cyw43.c and mphalport.h, ports/esp32/machine_pin.c,
extmod/machine_signal.c and shared/runtime/mpirq.c of MicroPython 1.29; the functions are named below.
"""

import sys
from time import ticks_ms

import micropython
import simulated_io
from simulated_io import RP2

_pins: dict = {}  # `_Line` by pin number or name
_polled: list = []  # functions that are called with the interrupts
_handling = [False]  # whether an interrupt handler is running
_masked = [False]  # whether interrupts are disabled
_restored: dict = {}  # mode and latch of the pins that kept driving over a restart

_PINS_FILE, _LOG = "outputs", "drives"
_UNSET = object()


def disable_irq():
    """extmod/modmachine.c machine_disable_irq: returns an integer for `enable_irq`."""
    before, _masked[0] = _masked[0], True
    return int(before)


def enable_irq(state):
    """extmod/modmachine.c machine_enable_irq: the state is required."""
    _masked[0] = bool(state)
    _interrupts()


class _Line:
    """The registers of one pin of the chip, shared by all `Pin` objects for it."""

    def __init__(self, number):
        self.number = number
        self.file = "pin-%s" % number
        self.mode, self.latch = _restored.get(str(number), (None, 0))  # the latch: level of an output
        self.pull = 0
        self.driver = None  # peripheral that drives the pin instead: "pwm <freq> <duty>", "0" or "1"
        self.open_drain_low = False  # RP2: the direction of an open-drain pin is its level
        self.recorded = None
        self.seen = 0  # number of levels in the file that interrupts have handled
        self.handler = None
        self.pin = None

    def drives(self):
        """Return "0" or "1", "pwm <freq> <duty>", or "z" if the pin drives nothing."""
        if self.driver is not None:
            return self.driver
        if self.mode == Pin.OUT:
            return "01"[self.latch]
        if self.mode == Pin.OPEN_DRAIN and (self.open_drain_low if RP2 else not self.latch):
            return "0"
        return "z"

    def level(self):
        driven = self.drives()
        if driven in ("0", "1"):
            return int(driven)
        levels = simulated_io.read_text(self.file)
        if levels:
            return int(levels.strip()[-1])
        return 1 if self.pull & Pin.PULL_UP or self.mode == Pin.OPEN_DRAIN else 0

    def update(self):
        """Record what the pin drives, if it has changed, in the log and in the file of the pin."""
        driven = self.drives()
        if driven == self.recorded or (self.recorded is None and driven == "z"):
            return
        self.recorded = driven
        simulated_io.append_text(_LOG, "%d %s %s\n" % (ticks_ms(), self.number, driven))
        if driven in ("0", "1") and self.mode == Pin.OUT:
            simulated_io.write_text(self.file, driven)
            levels = "driven-%s" % self.number
            if (simulated_io.read_text(levels) or "")[-1:] != driven:
                simulated_io.append_text(levels, driven)
        _save_outputs()


def _save_outputs():
    outputs = ("%s %d %d\n" % (n, line.mode, line.latch) for n, line in _pins.items() if line.mode == Pin.OUT)
    simulated_io.write_text(_PINS_FILE, "".join(outputs))


def _line(id):
    if id not in _pins:
        _pins[id] = _Line(id)
    return _pins[id]


def _start_pins(kept):
    """Write the start to the log; the outputs go on driving if `kept` is True, else no pin drives.

    A soft reset keeps the outputs of all chips. On an ESP32 `esp_restart` and the watchdog keep them, too.
    """
    simulated_io.append_text(_LOG, "%d start %s\n" % (ticks_ms(), "kept" if kept else "z"))
    if kept:
        for text in (simulated_io.read_text(_PINS_FILE) or "").split("\n")[:-1]:
            number, mode, latch = text.split()
            _restored[number] = int(mode), int(latch)
    else:
        simulated_io.remove(_PINS_FILE)


class Pin:
    """A pin, with its levels in the file `pin-<number>`.

    The last digit is the present level, the digits before it are past levels. A pulse adds two digits.
    """

    # machine_pin_locals_dict_table of both ports
    IN, OUT, OPEN_DRAIN = (0, 1, 2) if RP2 else (1, 3, 7)
    PULL_UP, PULL_DOWN = (1, 2) if RP2 else (2, 1)
    IRQ_FALLING, IRQ_RISING = (4, 8) if RP2 else (2, 1)

    def __init__(self, id, *more, **named):
        """mp_pin_make_new: without further arguments, the pin is not changed."""
        self._line = _line(_find(id))
        if more or named:
            self.init(*more, **named)

    if RP2:

        def init(self, mode=None, pull=None, *, value=None, alt=5):
            """machine_pin_obj_init_helper, and machine_pin_ext_config in machine_pin_cyw43.c."""
            line = self._line
            external = isinstance(line.number, str)
            if external and pull is not None:
                raise ValueError("pulls are not supported for external pins")
            if mode == Pin.OUT:
                if value is not None:  # the level is set before the direction
                    line.latch = 1 if value else 0
            elif mode == Pin.OPEN_DRAIN:
                if external:
                    raise ValueError("only Pin.OUT and Pin.IN are supported for this pin")
                line.latch = 0
                line.open_drain_low = value is not None and not value
            elif mode not in (None, Pin.IN):
                raise ValueError("invalid pin af: %d" % alt)
            if mode is not None:  # without a mode, the value is ignored
                line.mode, line.driver = mode, None
            if not external:
                line.pull = 0 if pull is None else pull & 3  # no argument removes the pull, too
            line.update()

    else:

        def init(self, mode=None, pull=-1, *, value=None, drive=None, hold=None):
            """ports/esp32/machine_pin.c machine_pin_obj_init_helper: all but the value may be left out."""
            line = self._line
            if value is not None:  # before the direction, also without a mode
                line.latch = 1 if value else 0
            if mode is not None:
                if mode & 2 and _only_input(line.number):
                    raise ValueError("pin can only be input")
                line.mode, line.driver = mode, None
            if pull is None or pull != -1:
                line.pull = pull or 0
            line.update()

    def value(self, *level):
        """machine_pin_call: a level that an input gets is driven when it becomes an output."""
        line = self._line
        if not level:
            if _handling[0] and line.handler:
                return line.before  # level after the edge; reading it does not allocate memory
            _interrupts()
            return line.level()
        (level,) = level
        if RP2 and line.mode == Pin.OPEN_DRAIN:
            line.open_drain_low = not level
        else:
            line.latch = 1 if level else 0
        line.update()

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    if RP2:
        high, low = on, off

    def toggle(self):
        line = self._line
        self.value(line.open_drain_low if RP2 and line.mode == Pin.OPEN_DRAIN else not line.latch)

    if RP2:

        def irq(self, handler=_UNSET, trigger=12, hard=False):
            """ports/rp2/machine_pin.c machine_pin_irq: there is no `priority` and no `wake`."""
            if isinstance(self._line.number, str):
                raise ValueError("expecting a regular GPIO Pin")
            return self._listen(handler, trigger, hard)

    else:

        def irq(self, handler=_UNSET, trigger=3, wake=None):
            """ports/esp32/machine_pin.c machine_pin_irq: `hard` raises TypeError, all handlers are soft."""
            if wake is not None and trigger in (4, 5):
                sys.modules["machine"]._arm_ext0(self._line, trigger == 5, wake)
                return _Irq(self._line)
            return self._listen(handler, trigger, False)

    def _listen(self, handler, trigger, hard):
        line = self._line
        if handler is _UNSET:
            if trigger == Pin.IRQ_FALLING | Pin.IRQ_RISING and not hard:
                return _Irq(line)  # called without arguments: the interrupt is not changed
            handler = None
        line.handler, line.trigger, line.hard, line.pin = handler, trigger, hard, self
        line.seen = len((simulated_io.read_text(line.file) or "").strip())
        line.before = line.level()
        return _Irq(line)

    def __repr__(self):
        """machine_pin_print: the mode is in the text, of ESP32 chips since ESP-IDF 5.5."""
        line = self._line
        mode = {Pin.IN: "IN", Pin.OUT: "OUT", Pin.OPEN_DRAIN: "OPEN_DRAIN"}.get(line.mode, "IN")
        if not RP2:
            return "Pin(%d, mode=Pin.%s)" % (line.number, mode)
        if isinstance(line.number, str):
            return "Pin(EXT_GPIO0, mode=%s)" % mode
        if line.driver is not None or line.mode is None:
            mode = "ALT"
        return "Pin(GPIO%d, mode=%s)" % (line.number, mode)


if not RP2:
    Pin.WAKE_LOW, Pin.WAKE_HIGH = 4, 5
    Pin.DRIVE_0, Pin.DRIVE_1, Pin.DRIVE_2, Pin.DRIVE_3 = 0, 1, 2, 3


class _Irq:
    """shared/runtime/mpirq.c; ports/esp32/machine_pin.c has only `trigger`."""

    def __init__(self, line):
        self._line = line

    def trigger(self, trigger=None):
        before = getattr(self._line, "trigger", 0)
        if trigger is not None:
            self._line.trigger = trigger
        return before


def _find(id):
    """machine_pin_find of both ports. Return the number of a pin, or its name if it is not on the chip."""
    if isinstance(id, Pin):
        return id._line.number
    if isinstance(id, str) and RP2:
        if id in ("LED", "WL_GPIO0"):
            return "LED"
        for prefix in ("GPIO", "GP"):
            if id.startswith(prefix) and _is_gpio(int(id[len(prefix) :])):
                return int(id[len(prefix) :])
        raise ValueError('unknown named pin "%s"' % id)
    if not isinstance(id, int) or not _is_gpio(id):
        raise ValueError("invalid pin")
    return id


def _is_gpio(number):
    if RP2:
        return 0 <= number <= 29
    top = {"esp32": 39, "esp32s3": 48, "esp32c3": 21}[simulated_io.CHIP]
    missing = {"esp32": (20, 24, 28, 29, 30, 31), "esp32s3": (22, 23, 24, 25)}.get(simulated_io.CHIP, ())
    return 0 <= number <= top and number not in missing


def _only_input(id):
    return simulated_io.CHIP == "esp32" and 34 <= id <= 39


def _interrupts():
    """Run the interrupt handlers for all edges since the last call; return True if any of them ran."""
    if _masked[0] or _handling[0]:
        return False
    found = False
    for line in list(_pins.values()):
        if line.handler is None:
            continue
        levels = (simulated_io.read_text(line.file) or "").strip()
        for digit in levels[line.seen :]:
            level = int(digit)
            edge = Pin.IRQ_RISING if level > line.before else Pin.IRQ_FALLING
            is_edge = level != line.before and line.trigger & edge and line.handler is not None
            line.before = level
            if is_edge:
                found = True
                if not _call(line.handler, line.pin, line.hard) and line.hard:
                    line.handler = None  # shared/runtime/mpirq.c mp_irq_handler
        line.seen = len(levels)
    for poll in list(_polled):
        poll()
    return found


def _skip_interrupts():
    """Forget the edges since the last call: an ESP32 in light sleep does not see them."""
    for line in _pins.values():
        levels = (simulated_io.read_text(line.file) or "").strip()
        line.seen = len(levels)
        if levels:
            line.before = int(levels[-1])


def _call(handler, argument, hard):
    """Call an interrupt handler. A hard one cannot allocate; a soft one is not delayed, unlike on a board.

    An exception is printed and does not reach the program: shared/runtime/mpirq.c mp_irq_dispatch, and
    py/scheduler.c mp_sched_run_pending. Return False after an exception.
    """
    _handling[0] = True
    if hard:
        micropython.heap_lock()
    raised = None
    try:
        handler(argument)
    except Exception as error:
        raised = error
    finally:
        if hard:
            micropython.heap_unlock()
        _handling[0] = False
    if raised is None:
        return True
    if hard:
        print("Uncaught exception in IRQ callback handler")
    sys.print_exception(raised)
    return False


class Signal:
    """extmod/machine_signal.c signal_make_new: a pin, or the arguments of one, and only named `invert`."""

    def __init__(self, pin, *more, **named):
        self._invert = bool(named.pop("invert", False))
        if hasattr(pin, "value"):
            if more or named:
                raise TypeError()
            self._pin = pin
            return
        if "value" in named and self._invert:
            named["value"] = not named["value"]
        self._pin = Pin(pin, *more, **named)

    def value(self, *level):
        if not level:
            return self._pin.value() ^ self._invert
        self._pin.value(bool(level[0]) ^ self._invert)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)
