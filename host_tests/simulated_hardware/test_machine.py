"""The simulated modules, except `network`, behave as the ports of MicroPython do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from esp32_mock_bootloader.registers import mac_bytes_for_chip

from host_tests.simulated_hardware import ASLEEP, BOOTLOADER, RESET, WATCHDOG, SimulatedChip, SimulatedIO
from host_tests.simulated_hardware.sensor_data import scratchpad

Run = Callable[..., SimulatedChip]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Return a function that runs a program on a simulated chip; `io` are initial files."""
    chips: list[SimulatedChip] = []

    def start(
        code: str, chip: str = "esp32", io: dict[str, object] | None = None, **options: object
    ) -> SimulatedChip:
        for name, content in (io or {}).items():
            SimulatedIO(tmp_path / "sim")[name] = content  # type: ignore[assignment]
        started = SimulatedChip(tmp_path, ["-c", code], chip=chip, **options)  # type: ignore[arg-type]
        chips.append(started)
        return started

    yield start
    for started in chips:
        started.power_off()


def printed_lines(chip: SimulatedChip) -> list[str]:
    """Wait until the program ends without an error, and return the lines that it printed."""
    assert chip.wait() == 0, list(chip.lines)
    return list(chip.lines)


def print_exception(line: str) -> str:
    """Return a program that runs `line` and prints the exception."""
    return (
        f"from machine import *\ntry:\n    {line}\nexcept Exception as e:\n    print(type(e).__name__, e)\n"
    )


def test_an_output_drives_its_pin_and_an_input_reads_it(run: Run) -> None:
    code = """
from machine import Pin
out, inp = Pin(2, Pin.OUT, value=1), Pin(4, Pin.IN)
print(out.value(), inp.value(), Pin(2)())
out.off(); inp.value(1)
print(out(), inp())
inp.init(Pin.OUT)  # drives the level that was set before
print(inp())
"""
    chip = run(code, io={"pin-4": "0"})
    assert printed_lines(chip) == ["1 0 1", "0 0", "1"]
    assert chip.io["pin-2"] == "0" and chip.io["pin-4"] == "1"


def test_a_pull_resistor_sets_the_level_of_a_pin_that_is_not_driven(run: Run) -> None:
    code = """
from machine import Pin
print(Pin(4, Pin.IN, Pin.PULL_UP)(), Pin(5, Pin.IN, Pin.PULL_DOWN)(), Pin(12, Pin.IN, Pin.PULL_UP)())
od = Pin(13, Pin.OPEN_DRAIN, value=1)
print(od()); od(0); print(od())
"""
    assert printed_lines(run(code, io={"pin-12": "0"})) == ["1 0 0", "1", "0"]


@pytest.mark.parametrize(
    ("chip", "line", "message"),
    [
        ("esp32", "Pin(40)", "ValueError invalid pin"),
        ("esp32", "Pin(34, Pin.OUT)", "ValueError pin can only be input"),
        ("esp32", "PWM(Pin(35))", "OSError (-258, 'ESP_ERR_INVALID_ARG')"),
        ("esp32c3", "Pin(22)", "ValueError invalid pin"),
        ("rp2040", "Pin(30)", "ValueError invalid pin"),
        ("esp32", "ADC(5)", "ValueError invalid pin"),
        ("rp2040", "ADC(15)", "ValueError Pin doesn't have ADC capabilities"),
        ("rp2040", "ADC(30)", "ValueError invalid pin"),
        ("rp2040", "Pin('X')", 'ValueError unknown named pin "X"'),
        (
            "rp2040",
            "Pin('LED', Pin.OUT, Pin.PULL_UP)",
            "ValueError pulls are not supported for external pins",
        ),
        ("rp2040", "Pin('LED').irq(print)", "ValueError expecting a regular GPIO Pin"),
        ("rp2040", "PWM(Pin(2), freq=7)", "ValueError freq too small"),
        ("rp2040", "I2C(2)", "ValueError I2C(2) doesn't exist"),
        ("rp2040", "I2C(0, scl=Pin(4), sda=Pin(5))", "ValueError bad SCL pin"),
        ("rp2040", "I2C(0, sda=Pin(6))", "ValueError bad SDA pin"),
        ("rp2040", "WDT(id=1)", "ValueError WDT(1) doesn't exist"),
        ("rp2350", "WDT(timeout=16778)", "ValueError timeout exceeds 16777"),
        ("rp2040", "Timer(0)", "ValueError Timer doesn't exist"),
        ("rp2040", "lightsleep(5_000_000)", "ValueError sleep too long"),
        ("rp2040", "mem_backup(2)", "ValueError invalid region"),
        ("rp2040", "freq(1)", "ValueError cannot change frequency"),
        ("rp2040", "dht_readinto(Pin(9), bytearray(4))", "ValueError buffer too small"),
        ("rp2040", "dht_readinto(Pin(9), bytearray(5))", "OSError [Errno 110] ETIMEDOUT"),
        ("rp2040", "bitstream(Pin(8), 1, (1, 2, 3, 4), b'x')", "ValueError encoding"),
        ("esp32", "Timer(0).init(hard=True)", "ValueError hard Timers are not implemented"),
        ("esp32", "ADC(34, atten=4)", "ValueError invalid attenuation"),
        ("esp32", "PWM(Pin(2), freq=0)", "ValueError frequency must be from 1Hz to 40MHz"),
        ("esp32", "[PWM(Pin(2 + i), freq=10 + i) for i in range(9)]", "RuntimeError out of PWM timers:8"),
        ("esp32c3", "[PWM(Pin(i)) for i in range(7)]", "RuntimeError out of PWM channels:6"),
        ("esp32c3", "freq(240_000_000)", "ValueError frequency must be 20MHz, 40MHz, 80Mhz or 160MHz"),
        ("rp2040", "WDT(timeout=8389)", "ValueError timeout exceeds 8388"),
        ("esp32", "PWM(Pin(2), duty_u16=65536)", "ValueError duty_u16 must be from 0 to 65536"),
        ("esp32", "freq(1)", "ValueError frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz"),
    ],
)
def test_invalid_pins_and_values_raise_the_errors_of_the_chip(
    run: Run, chip: str, line: str, message: str
) -> None:
    assert printed_lines(run(print_exception(line), chip)) == [message]


def test_each_selected_edge_calls_the_handler(run: Run) -> None:
    code = """
from machine import Pin
import machine, sys
seen = []
pin = Pin(4, Pin.IN, Pin.PULL_UP)
pin.irq(lambda p: seen.append((p is pin, p())), Pin.IRQ_FALLING)
print("ready")
while len(seen) < 3:
    machine.idle()
print(seen)
"""
    chip = run(code, io={"pin-4": "1"})
    chip.wait_for_line("ready")
    chip.io.pulses(4, 1)
    chip.io.pulses(4, 2)
    assert printed_lines(chip)[1:] == ["[(True, 0), (True, 0), (True, 0)]"]


def test_a_hard_interrupt_handler_cannot_allocate(run: Run) -> None:
    code = """
from machine import Pin
import machine
pin = Pin(4, Pin.IN, Pin.PULL_UP)
def handle(pin):
    try:
        bytearray(100)
    except MemoryError:
        global denied
        denied = True
denied = False
pin.irq(handle, Pin.IRQ_FALLING, hard=True)
print("ready")
while not denied:
    machine.idle()
print("denied")
"""
    chip = run(code, "rp2040")
    chip.wait_for_line("ready")
    chip.io["pin-4"] = "0"
    assert printed_lines(chip)[1:] == ["denied"]


def test_an_esp32_has_only_soft_interrupt_handlers(run: Run) -> None:
    code = "from machine import *\ntry: Pin(4).irq(print, hard=True)\nexcept TypeError: print('no')"
    assert printed_lines(run(code)) == ["no"]


@pytest.mark.parametrize(("hard", "calls"), [("True", 1), ("False", 2)])
def test_an_exception_in_an_interrupt_handler_is_printed_and_a_hard_handler_is_removed(
    hard: str, calls: int, run: Run
) -> None:
    code = f"""
from machine import Pin
import machine, time
def handle(pin):
    raise ValueError("in the handler")
Pin(4, Pin.IN).irq(handle, Pin.IRQ_RISING, hard={hard})
print("ready")
for _ in range(300):
    machine.idle()
print("goes on")
"""
    chip = run(code, "rp2040", io={"pin-4": "0"})
    chip.wait_for_line("ready")
    chip.io["pin-4"] = "0101"
    lines = printed_lines(chip)
    assert lines[-1] == "goes on" and lines.count("ValueError: in the handler") == calls


SLEEP_WITH_PULSE = """
from machine import Pin, lightsleep
Pin(4, Pin.IN).irq(lambda p: print("pulse"), Pin.IRQ_RISING)
print("sleeps")
lightsleep(%d)
print("awake")
"""


def test_a_pulse_ends_light_sleep_of_an_rp2(run: Run) -> None:
    chip = run(SLEEP_WITH_PULSE % 60_000, "rp2040", io={"pin-4": "0"})
    chip.wait_for_line("sleeps")
    chip.io["pin-4"] = "01"
    assert printed_lines(chip) == ["sleeps", "pulse", "awake"]


def test_an_esp32_in_light_sleep_does_not_see_a_pulse(run: Run) -> None:
    chip = run(SLEEP_WITH_PULSE % 300, io={"pin-4": "0"})
    chip.wait_for_line("sleeps")
    chip.io["pin-4"] = "01"
    assert printed_lines(chip) == ["sleeps", "awake"]


def test_the_range_of_an_adc_depends_on_its_attenuation(run: Run) -> None:
    code = """
from machine import ADC, Pin
adc = ADC(Pin(34), atten=ADC.ATTN_11DB)
print(adc.read_u16(), adc.read_uv())
adc.init(atten=ADC.ATTN_0DB)
print(adc.read_u16(), adc.read_uv())
"""
    assert printed_lines(run(code, io={"adc-34": 1.65})) == ["32776 1650000", "65535 1000000"]


def test_pwm_reports_frequency_and_duty(run: Run) -> None:
    code = """
from machine import PWM, Pin
pwm = PWM(Pin(2), freq=1000, duty_u16=32768)
pwm.freq(500); print(pwm.freq(), pwm.duty_u16(), pwm.duty_ns())
"""
    chip = run(code)
    assert printed_lines(chip) == ["500 32768 1000000"]
    assert chip.io["pwm-2"] == "500 32768"


def test_an_i2c_device_responds_and_a_missing_or_stuck_one_raises_oserror(run: Run) -> None:
    code = """
from machine import I2C, Pin
bus = I2C(0, scl=Pin(22), sda=Pin(21))
print(bus.scan(), bus.readfrom_mem(0x76, 0xd0, 2).hex())
bus.writeto_mem(0x76, 0xd1, b"\\x55"); print(bus.readfrom_mem(0x76, 0xd0, 3).hex())
bus.writeto(0x44, b"\\x24\\x00"); print(bus.readfrom(0x44, 3).hex())
for address in (0x10, 0x45):
    try:
        bus.writeto(address, b"x")
    except OSError as error:
        print(error.errno)
"""
    io = {
        "i2c-76": {"registers": {"d0": "60 12 34"}},
        "i2c-44": {"answers": {"2400": "beef92"}},
        "i2c-45": {"stuck": True},
    }
    chip = run(code, io=io)
    assert printed_lines(chip) == ["[68, 118] 6012", "605534", "beef92", "19", "116"]
    assert chip.io["i2c-44-written"] == "2400"


def test_reset_ends_the_program_and_reset_cause_reports_it(run: Run) -> None:
    code = """
import machine
print(machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    try:
        machine.reset()
    except Exception:
        print("caught")
"""
    chip = run(code)
    assert chip.wait() == 0
    assert chip.exit_codes == [RESET, 0] and list(chip.lines) == ["1", "2"]


def test_reset_works_in_an_interrupt_handler(run: Run) -> None:
    code = """
import machine
from machine import Pin
print(machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    Pin(4, Pin.IN).irq(lambda p: machine.reset())
    print("ready")
    while True:
        machine.idle()
"""
    chip = run(code)
    chip.wait_for_line("ready")
    chip.io["pin-4"] = "1"
    chip.wait_for_line("2")


def test_rtc_memory_survives_deep_sleep_but_not_a_power_cycle(run: Run, tmp_path: Path) -> None:
    code = """
import machine
rtc = machine.RTC()
print(machine.reset_cause(), machine.wake_reason(), rtc.memory())
if machine.reset_cause() != machine.DEEPSLEEP_RESET:
    rtc.memory(b"kept")
    machine.deepsleep(50)
"""
    chip = run(code)
    assert chip.wait() == 0
    assert chip.exit_codes == [ASLEEP, 0] and chip.requested_sleeps_ms == [50]
    assert list(chip.lines) == ["1 0 b''", "4 4 b'kept'"]
    powered_on = run("import machine; print(machine.reset_cause(), machine.RTC().memory())")
    assert printed_lines(powered_on) == ["1 b''"]


@pytest.mark.parametrize(
    ("chip", "arm", "cause"),
    [
        ("esp32", "esp32.wake_on_ext0(pin, esp32.WAKEUP_ANY_HIGH)", "4 2"),
        ("esp32c3", "esp32.wake_on_gpio((pin,), esp32.WAKEUP_ANY_HIGH)", "4 7"),
        ("rp2040", "pin.irq(lambda p: None, Pin.IRQ_RISING)", "3"),
    ],
)
def test_a_pin_wakes_the_chip_from_deep_sleep(run: Run, chip: str, arm: str, cause: str) -> None:
    code = f"""
import machine
from machine import Pin
try:
    import esp32
    print(machine.reset_cause(), machine.wake_reason())
except ImportError:
    print(machine.reset_cause())
pin = Pin(4, Pin.IN)
if machine.reset_cause() == machine.PWRON_RESET:
    {arm}
    machine.deepsleep(600_000)
"""
    chip_ = run(code, chip, io={"pin-4": "0"})
    chip_.wait_until(lambda: chip_.asleep)
    chip_.io.pulses(4, 1)
    assert chip_.wait() == 0
    assert chip_.exit_codes == [ASLEEP, 0] and list(chip_.lines)[1] == cause


def test_a_pin_without_rtc_function_cannot_wake_the_chip(run: Run) -> None:
    code = """
import esp32
from machine import Pin
try:
    esp32.wake_on_ext0(Pin(5, Pin.IN), True)
except ValueError as error:
    print(error)
print(hasattr(esp32, "wake_on_gpio"))
"""
    assert printed_lines(run(code)) == ["invalid pin", "True"]


@pytest.mark.parametrize(("chip", "sizes"), [("rp2040", "[4, 3]"), ("rp2350", "[4, 3, 8]")])
def test_backup_memory_of_an_rp2_survives_deep_sleep(run: Run, chip: str, sizes: str) -> None:
    code = """
import machine
words = machine.mem_backup()
print([len(region) for region in machine.mem_backup(-1)])
print(machine.reset_cause(), words[3], len(words), words.itemsize)
try:
    words[4]
except IndexError:
    print("no word 4")
if not words[3]:
    words[3] = 0xffffffff
    machine.deepsleep(50)
"""
    started = run(code, chip)
    assert started.wait() == 0
    first = [sizes, "1 0 4 4", "no word 4"]
    assert list(started.lines) == [*first, sizes, "3 4294967295 4 4", "no word 4"]
    last = run("import machine; print(hasattr(machine.RTC(), 'memory'), machine.mem_backup()[3])", chip)
    assert printed_lines(last) == ["False 0"]


@pytest.mark.parametrize("hang", ["while True: pass", "import time; time.sleep(60)"])
def test_a_watchdog_that_is_not_fed_resets_a_hanging_program(run: Run, hang: str) -> None:
    code = f"""
import machine
print(machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    machine.WDT(timeout=200)
    try:
        {hang}
    finally:
        print("finally")
    import time; time.sleep(60)
"""
    chip = run(code)
    assert chip.wait() == 0
    assert list(chip.lines) == ["1", "3"] and chip.exit_codes == [WATCHDOG, 0]


def test_a_watchdog_that_is_fed_does_not_reset(run: Run) -> None:
    code = """
import machine, time
dog = machine.WDT(timeout=1000)
for _ in range(30):
    time.sleep_ms(50); dog.feed()
print("done")
"""
    assert printed_lines(run(code)) == ["done"]


def test_bootloader_ends_the_program_with_its_own_exit_code(run: Run) -> None:
    assert run("import machine; machine.bootloader()").wait() == BOOTLOADER


def test_a_timer_calls_its_callback_once_or_periodically(run: Run) -> None:
    code = """
import machine
from machine import Timer
found = []
Timer(0).init(mode=Timer.ONE_SHOT, period=10, callback=lambda t: found.append("once"))
Timer(1).init(period=20, callback=lambda t: found.append("again"))
while found.count("again") < 3:
    machine.idle()
print(found.count("once"))
"""
    assert printed_lines(run(code)) == ["1"]


def test_the_clock_can_be_set(run: Run) -> None:
    code = """
from machine import RTC
RTC().datetime((2030, 5, 6, 0, 7, 8, 9, 0))
print(RTC().datetime()[:6])
"""
    assert printed_lines(run(code)) == ["(2030, 5, 6, 0, 7, 8)"]  # a Monday


def test_the_unique_id_is_the_mac_address_that_the_rom_bootloader_reports(run: Run) -> None:
    assert printed_lines(run("import machine; print(machine.unique_id().hex())")) == [
        bytes(mac_bytes_for_chip("esp32")).hex()
    ]


def test_neopixels_receive_bytes_in_the_order_green_red_blue(run: Run) -> None:
    code = """
from machine import Pin
from neopixel import NeoPixel
strip = NeoPixel(Pin(5), 2)
strip[0] = (1, 2, 3); strip[1] = (255, 0, 0)
strip.write(); print(strip[0])
"""
    chip = run(code)
    assert printed_lines(chip) == ["(1, 2, 3)"]
    assert chip.io["stream-5"] == "02010300ff00"


def test_two_thermometers_on_one_wire_are_read_and_an_empty_bus_raises_an_error(run: Run) -> None:
    code = """
from machine import Pin
from onewire import OneWire, OneWireError
from ds18x20 import DS18X20
bus = DS18X20(OneWire(Pin(4)))
bus.convert_temp()
print([(rom.hex(), bus.read_temp(rom)) for rom in bus.scan()])
try:
    DS18X20(OneWire(Pin(5))).convert_temp()
except OneWireError:
    print("no device")
"""
    # 125 and -55 degrees Celsius, examples of the data sheet
    wires = {"28ff000000000001": "d0074b467fff0c100b", "28ff000000000002": "90fc4b467fff0c1000"}
    chip = run(
        code, io={"onewire-4": {rom: scratchpad(bytes.fromhex(text)[:8]) for rom, text in wires.items()}}
    )
    assert printed_lines(chip) == [
        "[('28ff000000000001', 125.0), ('28ff000000000002', -55.0)]",
        "no device",
    ]


def test_the_log_has_each_level_from_the_first_that_a_pin_drives(run: Run) -> None:
    code = """
from machine import Pin, PWM
Pin(2, Pin.OUT)  # without a value it drives what the latch has
Pin(2, Pin.OUT, value=1)
Pin(3).value(1); Pin(3).init(Pin.OUT); Pin(3).init(Pin.IN)
pwm = PWM(Pin(4), freq=50, duty_u16=0); pwm.duty_u16(4915); pwm.deinit()
Pin(5, Pin.OUT, value=1); PWM(Pin(5), freq=1000, duty_u16=65535); Pin(5, Pin.OUT, value=0)
Pin(12, Pin.OPEN_DRAIN); Pin(13, Pin.OPEN_DRAIN, value=1).value(0)
PWM(Pin(14))
"""
    chip = run(code)
    assert printed_lines(chip) == []
    assert chip.io.drives(2) == ["0", "1"] and chip.io.drives(3) == ["1", "z"]
    assert chip.io.drives(4) == ["pwm 50 0", "pwm 50 4915", "0"]
    assert chip.io.drives(5) == ["1", "pwm 1000 65535", "0"]
    assert chip.io.drives(12) == ["0"] and chip.io.drives(13) == ["0"]
    assert chip.io.drives(14) == ["pwm 5000 32768"]  # half of the period, unless the duty is given


def test_a_pin_of_an_rp2_differs_in_what_arguments_may_be_left_out(run: Run) -> None:
    code = """
from machine import Pin
pin = Pin(2, Pin.OUT, value=1)
pin.init(value=0)  # ignored without a mode
Pin(3, Pin.IN, Pin.PULL_UP); print(Pin(3)()); Pin(3).init(); print(Pin(3)())
Pin(4, Pin.OPEN_DRAIN); Pin(4)(0); Pin(4)(1)
print(pin, Pin(5))
"""
    chip = run(code, "rp2040")
    assert printed_lines(chip) == ["1", "0", "Pin(GPIO2, mode=OUT) Pin(GPIO5, mode=ALT)"]
    assert chip.io.drives(2) == ["1"] and chip.io.drives(4) == ["0", "z"]


def test_the_channels_of_a_pwm_slice_of_an_rp2_share_their_frequency_and_stop_together(run: Run) -> None:
    code = """
from machine import PWM, Pin
a = PWM(Pin(2), freq=500, duty_u16=32768)
print(a.freq(), a.duty_u16(), a.duty_ns(), a)
b = PWM(Pin(3))
print(b.freq(), b.duty_u16())  # not started without a duty
b.freq(1000); b.duty_u16(100)
print(a.freq(), a.duty_u16())
c = PWM(Pin(18), duty_u16=70000)  # the same channel as pin 2
print(a.duty_u16())
b.deinit()
"""
    chip = run(code, "rp2040")
    first = "500 32768 999998 <PWM slice=1 channel=0 invert=0>"
    assert printed_lines(chip) == [first, "500 0", "1000 32768", "65535"]
    assert chip.io.drives(2)[0] == "pwm 500 32768"
    assert chip.io.drives(2)[-2:] == ["pwm 1000 65535", "1"]  # stays high
    assert "pwm-2" not in chip.io and "pwm-3" not in chip.io


ENDS = """
import machine, sys
from machine import Pin
print(machine.reset_cause())
starts = int(open("starts").read()) if "starts" in __import__("os").listdir() else 0
open("starts", "w").write(str(starts + 1))
if not starts:
    Pin(2, Pin.OUT, value=1)
    {end}
"""


@pytest.mark.parametrize(
    ("chip", "end", "causes", "driven"),
    [
        ("esp32", "machine.reset()", ["1", "2"], ["1"]),
        ("rp2040", "machine.reset()", ["1", "3"], ["1", "-"]),
        ("esp32", "machine.deepsleep(10)", ["1", "4"], ["1", "-"]),
        ("esp32", "sys.exit()", ["1", "5"], ["1"]),
        ("rp2040", "sys.exit()", ["1", "1"], ["1"]),
        ("esp32", "machine.WDT(timeout=100); raise ValueError", ["1", "3"], ["1"]),
        ("rp2040", "machine.WDT(timeout=100); raise ValueError", ["1", "3"], ["1", "-"]),
        # the watchdog runs on after a soft reset
        ("rp2040", "machine.WDT(timeout=1500); sys.exit()", ["1", "1", "3"], ["1", "-"]),
        ("rp2040", "machine.WDT(timeout=0)", ["1", "3"], ["1", "-"]),
    ],
)
def test_the_end_of_a_program_decides_how_the_board_starts_again_and_what_its_pins_drive(
    chip: str, end: str, causes: list[str], driven: list[str], tmp_path: Path
) -> None:
    """An ESP32 keeps its outputs over a restart. SystemExit is a soft reset. The prompt feeds no watchdog."""
    (tmp_path / "boot.py").write_text("")
    (tmp_path / "main.py").write_text(ENDS.format(end=end))
    with SimulatedChip(tmp_path, chip=chip) as board:
        board.wait(60)
        shown = [line for line in board.lines if line.isdigit()]
        assert shown == causes, list(board.lines)
        assert board.io.drives(2) == driven


def test_main_does_not_run_after_an_exception_in_boot(tmp_path: Path) -> None:
    (tmp_path / "boot.py").write_text("raise ValueError")
    (tmp_path / "main.py").write_text("print('main')")
    with SimulatedChip(tmp_path) as board:
        assert board.wait() == 1
        assert "main" not in board.lines
