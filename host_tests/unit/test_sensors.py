"""Sensor drivers: SHT3x, BME280, DS18B20, DHT, analog, battery, digital, pulse; data sheet examples."""

import os

from helper import raises
from sensors import bme280, digital, ds18b20, edges, load_module, pulse, sht3x
from sensors.schema import FIELDS


class Clock:
    now = 1000


for _module in (ds18b20, edges, pulse):
    _module.ticks_ms = lambda: Clock.now
    _module.ticks_diff = lambda a, b: a - b


def measured(driver):
    values = [None] * len(driver.quantities)
    driver.read(values)
    return values


def settings(kind, **given):
    """Return a checked config of this kind of sensor."""
    made = {name: field[1] for name, field in load_module(kind).FIELDS.items()}
    made.update(given)
    made.update(kind=kind, name=given.get("name", kind))
    return made


# ---- SHT3x: data sheet of Sensirion, 4.12 and 4.13


class Bus:
    """A `machine.I2C` with one device that has registers, or sends `answer` after each write."""

    def __init__(self, registers=None, answer=b""):
        self.registers = registers or {}
        self.answer = answer
        self.written = []
        self.error = None

    def _there(self):
        if self.error:
            raise OSError(self.error)

    def writeto(self, address, data):
        self._there()
        self.written.append(bytes(data))

    def readfrom_into(self, address, buf):
        self._there()
        buf[:] = self.answer[: len(buf)]

    def writeto_mem(self, address, register, data):
        self._there()
        self.written.append(bytes([register]) + bytes(data))

    def readfrom_mem_into(self, address, register, buf):
        self._there()
        for i in range(len(buf)):
            buf[i] = self.registers.get(register + i, 0)

    def readfrom_mem(self, address, register, size):
        buf = bytearray(size)
        self.readfrom_mem_into(address, register, buf)
        return bytes(buf)


def checked(word):
    data = bytes([word >> 8, word & 255])
    return data + bytes([sht3x.crc8(data, 0, 2)])


def test_crc8_computes_the_example_of_the_data_sheet():
    assert sht3x.crc8(b"\xbe\xef", 0, 2) == 0x92


def test_sht3x_converts_its_whole_range():
    bus = Bus()
    driver = sht3x.Sht3x(bus, 0x44)
    for words, wanted in (
        ((0, 0), (-45, 0)),
        ((0xFFFF, 0xFFFF), (130, 100)),
        ((0x6666, 0x8000), (25.0, 50.0)),
        ((0x2666, 0x4000), (-18.75, 25.0)),
    ):
        bus.answer = checked(words[0]) + checked(words[1])
        assert driver.start() >= 15  # ms; the data sheet gives a maximum of 15.5
        got = measured(driver)
        assert abs(got[0] - wanted[0]) < 0.005 and abs(got[1] - wanted[1]) < 0.005, got
    assert bus.written[0] == b"\x24\x00"


def test_sht3x_reports_a_wrong_checksum_and_a_missing_sensor():
    bus = Bus(answer=checked(0x6666) + checked(0x8000))
    driver = sht3x.Sht3x(bus, 0x44)
    for i in range(6):
        good = bus.answer
        bus.answer = good[:i] + bytes([good[i] ^ 4]) + good[i + 1 :]
        assert str(raises(ValueError, measured, driver)) == "wrong checksum"
        bus.answer = good
    bus.error = 19
    raises(OSError, driver.start)


# ---- BME280: data sheets of Bosch for the BMP280 (3.12) and the BME280 (4.2.3)

TRIM = (27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
HUMIDITY = (75, 359, 0, 340, 50, 30)  # of a real sensor


def octets(value):
    return [value & 255, value >> 8 & 255]


def bme(chip=0x60, t=519888, p=415148, h=30000):
    """Return a bus with the example of the data sheet."""
    registers = {0xD0: chip}
    for i, value in enumerate(TRIM):
        registers[0x88 + 2 * i], registers[0x89 + 2 * i] = octets(value)
    h1, h2, h3, h4, h5, h6 = HUMIDITY
    registers[0xA1] = h1
    registers[0xE1], registers[0xE2] = octets(h2)
    registers[0xE3] = h3
    registers[0xE4], registers[0xE5], registers[0xE6] = h4 >> 4, h4 & 15 | (h5 & 15) << 4, h5 >> 4
    registers[0xE7] = h6
    for at, value in ((0xF7, p), (0xFA, t)):
        registers[at] = value >> 12
        registers[at + 1] = value >> 4 & 255
        registers[at + 2] = (value & 15) << 4
    registers[0xFD], registers[0xFE] = h >> 8, h & 255
    return Bus(registers)


def percent(t, h):
    """Return the humidity according to the floating-point formula of the data sheet."""
    t1, t2, t3 = TRIM[:3]
    h1, h2, h3, h4, h5, h6 = HUMIDITY
    a = (t / 16384 - t1 / 1024) * t2
    b = (t / 131072 - t1 / 8192) ** 2 * t3
    x = a + b - 76800
    x = (h - (h4 * 64 + h5 / 16384 * x)) * (h2 / 65536 * (1 + h6 / 67108864 * x * (1 + h3 / 67108864 * x)))
    return max(0, min(100, x * (1 - h1 * x / 524288)))


def test_bme280_computes_the_example_of_the_data_sheet():
    bus = bme()
    driver = bme280.Bme280(bus, 0x76)
    assert driver.start() >= 10  # ms; appendix 9.1 gives 9.3
    t, h, p = measured(driver)
    assert abs(t - 25.08) < 0.001
    assert abs(p - 1006.5327) < 0.0005
    assert abs(h - percent(519888, 30000)) < 0.05 and 20 < h < 80
    # the humidity setting takes effect at the write to 0xF4, so it is written first
    assert bus.written == [b"\xf2\x01", b"\xf4\x25"]


def test_bme280_converts_its_whole_range():
    for t, h in ((300000, 30000), (519888, 0), (519888, 65535), (400000, 40000)):
        driver = bme280.Bme280(bme(t=t, h=h), 0x76)
        driver.start()
        got = measured(driver)
        assert abs(got[1] - percent(t, h)) < 0.1
    driver = bme280.Bme280(bme(t=300000), 0x76)
    driver.start()
    assert -50 < measured(driver)[0] < -40


def test_a_bmp280_has_no_humidity():
    driver = bme280.Bme280(bme(chip=0x58), 0x76)
    driver.start()
    assert measured(driver)[1] is None


def test_bme280_reports_another_chip_and_a_missing_measurement():
    driver = bme280.Bme280(bme(chip=0x55), 0x76)
    assert str(raises(ValueError, driver.start)) == "not a BME280 or BMP280: chip id 0x55"
    driver = bme280.Bme280(bme(t=0x80000, p=0x80000), 0x76)
    driver.start()
    assert str(raises(ValueError, measured, driver)) == "no measurement"
    bus = bme()
    bus.registers[0xF3] = 8
    driver = bme280.Bme280(bus, 0x76)
    driver.start()
    assert str(raises(OSError, measured, driver)) == "still measuring"
    raises(ValueError, bme280.Bme280(Bus({0xD0: 0x60}), 0x76).start)


def test_a_bme280_that_returns_reads_its_calibration_again():
    bus = bme()
    driver = bme280.Bme280(bus, 0x76)
    driver.start()
    bus.error = 110
    raises(OSError, measured, driver)
    bus.error = None
    driver.start()
    assert abs(measured(driver)[0] - 25.08) < 0.001


# ---- I2C sensors with an address pin


class Chips(Bus):
    """An I2C bus; `chips` are the registers, or the answer of an SHT3x, by address."""

    def __init__(self, **chips):
        Bus.__init__(self)
        self.chips = {int(address[1:], 16): chip for address, chip in chips.items()}
        self.error = None
        self.tried = []

    def _select(self, address):
        self.tried.append(address)
        if self.error:
            raise OSError(self.error)
        if address not in self.chips:
            raise OSError(19)
        chip = self.chips[address]
        self.registers, self.answer = (chip, b"") if isinstance(chip, dict) else ({}, chip)

    def writeto(self, address, data):
        self._select(address)

    def readfrom_into(self, address, buf):
        self._select(address)
        Bus.readfrom_into(self, address, buf)

    def writeto_mem(self, address, register, data):
        self._select(address)

    def readfrom_mem_into(self, address, register, buf):
        self._select(address)
        Bus.readfrom_mem_into(self, address, register, buf)


class I2cPins:
    def __init__(self, bus):
        self.bus = bus

    def i2c(self, name):
        return self.bus


def make_drivers(module, bus, *addresses):
    """Return drivers with these addresses in the config, and None for those without."""
    del module._drivers[:]
    return [module.make({"bus": "i2c", "address": address}, I2cPins(bus)) for address in addresses]


SHT_ANSWER = checked(0x6666) + checked(0x8000)


def test_an_i2c_sensor_is_found_at_its_other_address_if_the_config_has_none():
    for module, first, chip in ((bme280, 0x76, bme().registers), (sht3x, 0x44, SHT_ANSWER)):
        second = first + 1
        bus = Chips()
        bus.chips[second] = chip
        driver = make_drivers(module, bus, None)[0]
        for address in (second, first, second):  # it is replaced by one with the other address, twice
            bus.chips = {address: chip}
            try:
                driver.start()
                measured(driver)
            except OSError:  # the sensor was replaced between two measurements
                pass
            driver.start()
            measured(driver)
            assert driver.address == address
        bus.chips = {}
        assert raises(OSError, driver.start).args[0] == 19 and driver.address == second


def test_an_i2c_sensor_is_not_searched_where_this_is_ambiguous():
    for module, first, chip in ((bme280, 0x76, bme().registers), (sht3x, 0x44, SHT_ANSWER)):
        second = first + 1
        bus = Chips()
        bus.chips[second] = chip
        for addresses in ((first,), (None, second), (None, None)):
            driver = make_drivers(module, bus, *addresses)[0]
            assert raises(OSError, driver.start).args[0] == 19, addresses
            assert driver.address == first
        elsewhere = make_drivers(module, Chips(), second)
        driver = make_drivers(module, bus, None)[0]
        module._drivers.extend(elsewhere)  # on another bus
        driver.start()
        bus.error = 110  # the bus hangs
        driver = make_drivers(module, bus, None)[0]
        del bus.tried[:]
        assert raises(OSError, driver.start).args[0] == 110 and bus.tried == [first]


def test_another_chip_at_the_first_address_of_a_bme280_is_skipped_or_reported():
    bus = Chips(a76={0xD0: 0x55}, a77=bme().registers)
    driver = make_drivers(bme280, bus, None)[0]
    driver.start()
    assert driver.address == 0x77
    for chips in ({0x76: {0xD0: 0x55}}, {0x76: {0xD0: 0x55}, 0x77: {0xD0: 0x61}}):
        bus.chips = chips
        driver = make_drivers(bme280, bus, None)[0]
        assert "chip id 0x55" in str(raises(ValueError, driver.start)) and driver.address == 0x76


def test_another_chip_at_the_other_address_of_an_sht3x_is_not_kept():
    bus = Chips(a45=b"\x12\x34\x56\x78\x9a\xbc")
    driver = make_drivers(sht3x, bus, None)[0]
    driver.start()
    assert str(raises(ValueError, measured, driver)) == "wrong checksum"
    bus.chips[0x44] = SHT_ANSWER
    driver.start()
    measured(driver)
    assert driver.address == 0x44


# ---- DS18B20: data sheet of Maxim, table 1, and the scratchpad after power-up


class Thermometers:
    """The documented interface of `ds18x20.DS18X20`."""

    def __init__(self, **temperatures):
        self.temperatures = temperatures
        self.buf = bytearray(b"\x91\x01\x4b\x46\x7f\xff\x0c\x10\x25")
        self.conversions = 0

    def scan(self):
        return [bytearray(bytes.fromhex(rom[1:])) for rom in sorted(self.temperatures)]

    def convert_temp(self):
        if not self.temperatures:
            raise Exception()  # OneWireError has no message
        self.conversions += 1

    def read_temp(self, rom):
        rom = "a" + "".join("%02x" % octet for octet in rom)
        if self.temperatures.get(rom) is None:
            raise Exception("CRC error")
        return self.temperatures[rom]


ONE, TWO = "28ff641e0f5c7a31", "28ff4c9a0f5c7a02"


def test_ds18b20_sensors_on_one_bus_measure_together():
    wires = Thermometers(a28ff641e0f5c7a31=-10.125, a28ff4c9a0f5c7a02=125.0)
    wire = ds18b20.OneWireBus(wires)
    one, two = ds18b20.Ds18b20(wire, ONE), ds18b20.Ds18b20(wire, TWO)
    assert one.start() == 750
    Clock.now += 300
    assert two.start() == 450 and wires.conversions == 1
    Clock.now += 450
    assert measured(one) == [-10.125] and measured(two) == [125.0]
    assert one.start() == 750 and wires.conversions == 2


def test_a_single_ds18b20_needs_no_address():
    driver = ds18b20.Ds18b20(ds18b20.OneWireBus(Thermometers(a28ff641e0f5c7a31=21.5)), None)
    driver.start()
    assert measured(driver) == [21.5]
    several = ds18b20.OneWireBus(Thermometers(a28ff641e0f5c7a31=1, a28ff4c9a0f5c7a02=2))
    error = raises(ValueError, ds18b20.Ds18b20(several, None).start)
    assert str(error) == "set address to one of %s, %s" % (TWO, ONE)


def test_a_ds18b20_without_an_address_in_the_config_can_be_replaced():
    wires = Thermometers(a28ff641e0f5c7a31=21.5)
    one = ds18b20.Ds18b20(ds18b20.OneWireBus(wires), None)
    fixed = ds18b20.Ds18b20(one.bus, ONE)
    one.start()
    assert measured(one) == [21.5]
    wires.temperatures = {"a28ff4c9a0f5c7a02": 22.5}
    raises(OSError, measured, one)
    one.start()
    assert measured(one) == [22.5]
    fixed.start()
    raises(OSError, measured, fixed)
    raises(OSError, measured, fixed)  # it never reports the temperature of another sensor
    assert [bytes(rom) for rom in fixed.bus.scan()] == [bytes.fromhex(TWO)]
    wires.temperatures = {"a28ff641e0f5c7a31": 1, "a28ff4c9a0f5c7a02": None}
    raises(OSError, measured, one)
    assert "set address to one of" in str(raises(ValueError, one.start))


def test_missing_and_garbled_ds18b20_sensors_are_reported():
    wire = ds18b20.OneWireBus(Thermometers())
    assert str(raises(ValueError, ds18b20.Ds18b20(wire, None).start)) == "no sensor on the 1-Wire bus"
    assert str(raises(OSError, ds18b20.Ds18b20(wire, ONE).start)) == "no response on the 1-Wire bus"
    garbled = ds18b20.Ds18b20(ds18b20.OneWireBus(Thermometers(a28ff641e0f5c7a31=None)), ONE)
    garbled.start()
    assert str(raises(OSError, measured, garbled)) == "CRC error"


def test_the_power_up_value_of_a_ds18b20_is_an_error():
    wires = Thermometers(a28ff641e0f5c7a31=85.0)
    driver = ds18b20.Ds18b20(ds18b20.OneWireBus(wires), ONE)
    wires.buf[:] = b"\x50\x05\x4b\x46\x7f\xff\x0c\x10\x1c"
    assert "the sensor lost its power" in str(raises(ValueError, measured, driver))
    wires.buf[6] = 0x10  # after a conversion
    assert measured(driver) == [85.0]


# ---- DHT


class Dht:
    def __init__(self, temperature, humidity, error=None):
        self._values, self._error = (temperature, humidity), error

    def measure(self):
        if self._error:
            raise self._error

    def temperature(self):
        return self._values[0]

    def humidity(self):
        return self._values[1]


def test_dht_reads_both_quantities_or_raises_an_error():
    from sensors.dht import Dht as Driver

    assert measured(Driver(Dht(-10.1, 65.2))) == [-10.1, 65.2]
    raises(OSError, measured, Driver(Dht(0, 0, OSError(110))))
    assert (
        str(raises(ValueError, measured, Driver(Dht(0, 0, Exception("checksum error"))))) == "checksum error"
    )
    raises(ValueError, measured, Driver(Dht(20, 6553.5)))  # all bits set, not a valid humidity


# ---- analog and battery


def test_analog_scales_the_mean_of_its_samples():
    from sensors.analog import Analog

    volts = [1.0, 2.0, 1.5, 1.5]
    config = settings("analog", samples=4, scale=10, offset=-5, unit="bar")
    driver = Analog(config, lambda: volts.pop())
    assert measured(driver) == [10.0] and not volts
    assert driver.quantities[0][:3] == ("analog", "bar", "")
    assert Analog(settings("analog"), None).quantities[0][:3] == ("analog", "V", "voltage")


def test_battery_reports_volts_and_percent():
    from sensors.battery import Battery

    config = settings("battery", divider=2, empty=3.3, full=4.3)
    for pin, wanted in ((1.9, (3.8, 50)), (1.0, (2.0, 0)), (2.5, (5.0, 100))):
        got = measured(Battery(config, lambda pin=pin: pin))
        assert abs(got[0] - wanted[0]) < 1e-5 and abs(got[1] - wanted[1]) < 0.001


# ---- digital inputs and pulses


class Pin:
    """A `machine.Pin` with an interrupt."""

    def __init__(self, level=1):
        self.level = level
        self.handler = None

    def value(self):
        return self.level

    def set(self, level):
        self.level = level
        self.handler(self)

    def on_edge(self, pin, handler, edge):
        assert pin is self
        self.handler, self.edge = handler, edge


def test_a_digital_input_changes_after_it_stopped_bouncing():
    pin = Pin(1)
    driver = digital.Digital(settings("digital", debounce=0.05, invert=True), pin, pin.on_edge)
    driver.poll(Clock.now)
    assert driver.has_changed and measured(driver) == ["OFF"]
    driver.has_changed = False
    for level in (0, 1, 0):
        Clock.now += 10
        pin.set(level)
        driver.poll(Clock.now)
        assert not driver.has_changed
    Clock.now += 49
    assert driver.poll(Clock.now) == 1 and not driver.has_changed
    Clock.now += 1
    driver.poll(Clock.now)
    assert driver.has_changed and measured(driver) == ["ON"]


def test_a_bounce_seen_only_by_the_interrupt_restarts_the_debounce_time():
    pin = Pin(0)
    driver = digital.Digital(settings("digital", debounce=0.05), pin, pin.on_edge)
    driver.poll(Clock.now)
    driver.has_changed = False
    pin.set(1)
    driver.poll(Clock.now)
    Clock.now += 40
    pin.set(0)
    pin.set(1)
    driver.poll(Clock.now)
    Clock.now += 40
    driver.poll(Clock.now)
    assert not driver.has_changed
    Clock.now += 10
    driver.poll(Clock.now)
    assert driver.has_changed


def test_a_wake_pin_is_armed_for_the_next_change():
    armed = []
    pin = Pin(1)
    driver = digital.Digital(settings("digital", invert=True, wake=True), pin, pin.on_edge)
    driver.poll(Clock.now)
    assert measured(driver) == ["OFF"]  # the level is high
    assert driver.arm_wake(lambda *what: armed.append(what)) == 1 and armed == [(pin, 0)]
    pin.set(0)
    pin.set(1)  # a bounce does not wake it
    driver.arm_wake(lambda *what: armed.append(what))
    assert armed.pop() == (pin, 0)
    pin.set(0)
    Clock.now += 50
    pin.set(1)  # pressed since the last poll, so it wakes at once
    assert driver.arm_wake(lambda *what: armed.append(what)) == 1 and armed[1] == (pin, 1)
    pin.set(0)  # pressed now, for less than the debounce time
    assert driver.arm_wake(lambda *what: armed.append(what)) == 1 and armed[2] == (pin, 0)


def test_the_change_that_woke_the_board_is_reported_before_the_present_level():
    for level in (0, 1):
        pin = Pin(level)
        driver = digital.Digital(settings("digital", wake=True), pin, pin.on_edge)
        driver.on_wake(1)
        assert driver.has_changed and measured(driver) == ["ON"]
        driver.has_changed = False
        driver.poll(Clock.now)
        assert driver.has_changed == (level == 0)
        assert measured(driver) == ["ON" if level else "OFF"]


def pulses(**given):
    pin = Pin()
    return pin, pulse.Pulse(settings("pulse", **given), pin, pin.on_edge)


def clean(name="pulse"):
    for path in ("pulse-" + name, "pulse-%s.new" % name):
        try:
            os.remove(path)
        except OSError:
            pass


def test_pulses_are_counted_with_their_rate():
    clean()
    pin, driver = pulses(per_unit=2, rate_time=60)
    for _ in range(10):
        pin.set(0)
    Clock.now += 30_000
    assert measured(driver) == [5, 10]  # units, and units per minute
    Clock.now += 30_000
    assert measured(driver) == [5, 0]
    assert pin.edge == "falling"


def test_pulses_shorter_than_the_debounce_time_are_not_counted():
    clean()
    pin, driver = pulses(debounce=0.02)
    assert pin.edge == "both"
    # ms low, ms high: two pulses, one that bounces at both ends, and two disturbances
    for low, high in ((20, 20), (100, 50), (3, 2), (25, 5), (4, 100), (19, 100), (0, 100)):
        pin.set(0)
        Clock.now += low
        pin.set(1)
        Clock.now += high
    assert measured(driver)[0] == 3
    pin.set(0)
    assert measured(driver)[0] == 3
    Clock.now += 20
    assert measured(driver)[0] == 4  # counted before it ends


def test_the_count_is_read_although_it_cannot_be_saved():
    clean()
    pin, driver = pulses(save=10)
    os.mkdir("pulse-pulse.new")
    pin.set(0)
    Clock.now += 10_000
    assert measured(driver)[0] == 1
    raises(OSError, driver.save)
    os.rmdir("pulse-pulse.new")


def test_the_count_of_edges_wraps_in_the_interrupt_handler():
    clean()
    pin, driver = pulses()
    driver._edges = driver._counted = edges.COUNT_MASK
    for _ in range(3):
        pin.set(0)
    assert driver._edges == 2 and measured(driver)[0] == 3


def test_the_count_survives_a_restart():
    clean()
    pin, driver = pulses()
    for _ in range(7):
        pin.set(0)
    driver.save()
    assert measured(pulses()[1])[0] == 7
    pin, driver = pulses(save=10)
    pin.set(0)
    Clock.now += 10_000
    measured(driver)  # saved automatically after `save` seconds
    assert measured(pulses()[1])[0] == 8
    clean()


def test_a_power_cut_while_the_count_is_saved_keeps_the_old_count():
    clean()
    for half in ("", "12"):  # the new file is incomplete
        with open("pulse-pulse", "w") as file:
            file.write("11\n")
        with open("pulse-pulse.new", "w") as file:
            file.write(half)
        assert measured(pulses()[1])[0] == 11
    os.remove("pulse-pulse")  # the old file is removed, the new one not yet renamed
    with open("pulse-pulse.new", "w") as file:
        file.write("12\n")
    assert measured(pulses()[1])[0] == 12
    clean()


def test_every_kind_has_the_common_fields():
    from sensors import KINDS

    for kind in KINDS.split():
        assert set(FIELDS) <= set(load_module(kind).FIELDS), kind
