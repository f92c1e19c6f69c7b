"""Actuators: switch, valve, light, servo, pixels; commands, time limits, interlocks, safe states."""

import json

import actuators
from actuators import schema
from helper import raises


class Pin:
    def __init__(self, level=0):
        self.level = level
        self.written = []

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = level
        self.written.append(level)


class Pwm:
    def __init__(self, duty):
        self.duties = [duty] if duty else []

    def duty_u16(self, value):
        assert 0 <= value <= 65535
        self.duties.append(value)


class Strip:
    shown = colour = None

    def fill(self, colour):
        self.colour = colour

    def write(self):
        self.shown = self.colour


class Pins:
    def __init__(self):
        self.made = {}

    def output(self, name, level=0):
        self.made[name] = Pin(level)
        return self.made[name]

    def pwm(self, name, frequency, duty=0):
        self.made[name] = Pwm(duty)
        return self.made[name]

    def pixels(self, name, count):
        return self.made.setdefault(name, Strip())


def make(*configs):
    """Return the actuators of these configs, with defaults filled in, and their pins."""
    checked = []
    for given in configs:
        config = dict(given)
        for field, spec in schema.FIELDS[config.get("kind", "switch")].items():
            if field not in config:
                config[field] = list(spec[1]) if spec[0] is list else spec[1]
        if config["pin"] is ...:
            config["pin"] = config["name"]
        checked.append(config)
    pins = Pins()
    return actuators.make(checked, pins), pins.made


def one(**config):
    config["name"] = "x"
    made, pins = make(config)
    return made[0], pins["x"]


def refuses(actuator, payload, words, now=0):
    """Check that a command is refused with this message and changes nothing."""
    before = actuator.state(), actuator.state_version
    assert str(raises(ValueError, actuator.command, payload, now)) == words
    assert (actuator.state(), actuator.state_version) == before


def test_a_switch_executes_its_command_words():
    switch, pin = one()
    for word, on in ((b"ON", 1), (b"off", 0), (b"1", 1), (b"0", 0), (b"Toggle", 1), (b" OFF\n", 0)):
        switch.command(word, 0)
        assert pin.level == on
    switch.command(b'{"state": "ON"}', 0)
    assert switch.state() == "ON"
    assert switch.state_version == 7


def test_invalid_commands_are_refused():
    switch, pin = one()
    words = "expected ON, OFF or TOGGLE"
    for payload in (b"", b"ONE", b"-1", b"{}", b"nan", b"\xff\xfe"):
        refuses(switch, payload, words)
    refuses(switch, b"{", "not JSON; check commas, quotes and brackets")
    refuses(switch, b'{"state": "MAYBE"}', "state: expected ON, OFF or TOGGLE")
    refuses(switch, b'{"state": 1}', "state: expected ON, OFF or TOGGLE")
    refuses(switch, b'{"state": "ON", "colour": 1}', "colour: not a field of x")
    refuses(switch, b'{"state": "ON", "for": "long"}', "for: expected a number, 0.1 to 86400")
    assert pin.written == []


def test_a_repeated_command_changes_nothing():
    switch, pin = one()
    switch.command(b"ON", 0)
    switch.command(b"ON", 1)
    assert switch.state_version == 1


def test_an_inverted_switch_inverts_its_pin():
    switch, pin = one(inverted=True, safe="OFF")
    assert pin.level == 1 and switch.state() == "OFF"
    switch.command(b"ON", 0)
    assert pin.level == 0 and switch.state() == "ON"


def test_max_on_limits_the_on_time():
    pump, pin = one(max_on=60)
    pump.command(b"ON", 1000)
    assert pump.run(1000) == 1000
    pump.command(b"ON", 50000)  # a repeated command does not extend the time
    assert pump.run(60500) == 500
    assert pin.level == 1
    pump.run(61000)
    assert pin.level == 0 and pump.state() == "OFF" and pump.state_version == 2
    pump.command(b"ON", 70000)
    pump.run(129999)
    assert pin.level == 1
    pump.run(130000)
    assert pin.level == 0


def test_a_command_can_limit_the_on_time():
    switch, pin = one(max_on=60)
    switch.command(b'{"state": "ON", "for": 2.5}', 0)
    switch.run(2499)
    assert pin.level == 1
    switch.run(2500)
    assert pin.level == 0
    switch.command(b'{"state": "ON", "for": 600}', 0)  # limited by `max_on`
    switch.run(60000)
    assert pin.level == 0


def test_switching_off_cancels_the_time_limit():
    switch, pin = one(max_on=60)
    switch.command(b"ON", 0)
    switch.command(b"OFF", 30000)
    switch.run(60000)
    assert switch.state_version == 2


def test_min_off_is_the_minimum_off_time():
    pump, pin = one(min_off=10)
    pump.command(b"ON", 0)
    pump.command(b"OFF", 1000)
    refuses(pump, b"ON", "stays off for 6 s more (min_off)", 6000)
    pump.run(11000)
    pump.command(b"ON", 11000)
    assert pin.level == 1


def test_interlocked_actuators_exclude_each_other():
    (up, down), pins = make({"name": "up", "interlock": ["down"]}, {"name": "down", "interlock": ["up"]})
    up.command(b"ON", 0)
    refuses(down, b"ON", "up is on")
    up.command(b"OFF", 0)
    down.command(b"ON", 0)
    refuses(up, b"TOGGLE", "down is on")
    assert (pins["up"].level, pins["down"].level) == (0, 1)


def test_safe_sets_the_state_of_an_actuator_in_the_safe_state():
    pump, pin = one(safe="OFF", max_on=60)
    pump.command(b"ON", 0)
    pump.enter_safe_state(10)
    assert pin.level == 0 and pump.state_version == 2
    alarm, pin = one(safe="ON")
    assert pin.level == 1  # from the start
    alarm.command(b"OFF", 0)
    alarm.enter_safe_state(10)
    assert pin.level == 1
    lamp, pin = one()
    lamp.command(b"ON", 0)
    lamp.enter_safe_state(10)
    assert pin.level == 1


def test_the_safe_state_overrides_min_off_and_interlocks():
    (fan, heater), pins = make(
        {"name": "fan", "safe": "ON", "min_off": 60, "interlock": ["heater"]}, {"name": "heater"}
    )
    fan.command(b"OFF", 0)
    heater.command(b"ON", 0)
    fan.enter_safe_state(10)
    assert pins["fan"].level == 1


def test_a_valve_closes_after_its_time_limit():
    valve, pin = one(kind="valve")
    valve.command(b"OPEN", 0)
    assert valve.state() == "open" and pin.level == 1
    valve.run(3600000)
    assert valve.state() == "closed" and pin.level == 0


def test_a_light_fades():
    light, pwm = one(kind="light", fade=1)
    light.command(b"ON", 0)
    assert light.run(0) == 20
    light.run(500)
    assert 0.2 * 65535 < pwm.duties[-1] < 0.3 * 65535  # half brightness needs a quarter of the duty cycle
    assert light.run(1000) == 1000
    assert pwm.duties[-1] == 65535
    assert pwm.duties == sorted(pwm.duties)
    light.command(b"OFF", 2000)
    light.run(2000)
    light.run(3000)
    assert pwm.duties[-1] == 0
    assert json.loads(light.state()) == {"state": "OFF", "brightness": 255}


def test_a_light_executes_brightness_commands():
    light, pwm = one(kind="light", fade=0)
    light.command(b"128", 0)
    assert json.loads(light.state()) == {"state": "ON", "brightness": 128}
    assert pwm.duties[-1] == 128 * 128 * 65535 // 65025
    light.command(b'{"brightness": 10, "transition": 2}', 0)
    light.run(0)
    light.run(1000)
    assert pwm.duties[-1] == 69 * 69 * 65535 // 65025
    light.run(2000)
    assert pwm.duties[-1] == 10 * 10 * 65535 // 65025
    light.command(b"0", 3000)
    assert (
        light.state() == '{"state": "OFF", "brightness": 10}' or json.loads(light.state())["state"] == "OFF"
    )
    light.command(b"ON", 4000)
    light.command(b'{"brightness": 0}', 4000)
    assert json.loads(light.state()) == {"state": "OFF", "brightness": 10}
    for payload, words in (
        (b"256", "brightness: expected a number, 0 to 255"),
        (b"-1", "brightness: expected a number, 0 to 255"),
        (b'{"brightness": true}', "brightness: expected a number, 0 to 255"),
        (b'{"brightness": 9, "transition": 1e9}', "transition: expected a number, 0 to 60"),
    ):
        refuses(light, payload, words)


def test_max_brightness_limits_a_light():
    light, pwm = one(kind="light", fade=0, max_brightness=51)
    light.command(b"ON", 0)
    assert pwm.duties[-1] == 51 * 51 * 65535 // 65025


def test_a_reversed_fade_starts_at_the_current_brightness():
    light, pwm = one(kind="light", fade=1)
    light.command(b"ON", 0)
    light.run(0)
    light.run(500)
    half = pwm.duties[-1]
    light.command(b"OFF", 500)
    light.run(510)
    light.run(530)
    assert 0 < pwm.duties[-1] < half


def test_a_device_does_not_sleep_while_a_light_fades_to_off():
    light, pwm = one(kind="light", fade=0)
    light.command(b"ON", 0)
    assert not light.is_fading
    light.command(b'{"state": "OFF", "transition": 30}', 1000)
    for now in range(1000, 31000, 500):
        light.run(now)
        assert light.is_fading and not light.on and pwm.duties[-1]
    light.run(31000)
    assert not light.is_fading and not pwm.duties[-1]


def test_the_minimum_off_time_of_a_light_begins_at_the_end_of_its_fade():
    light, _ = one(kind="light", fade=0, min_off=10)
    light.command(b"ON", 0)
    light.command(b'{"state": "OFF", "transition": 30}', 0)
    light.command(b'{"state": "OFF", "transition": 60}', 1000)  # the fade goes on as it began
    for now in range(0, 40000, 500):
        light.run(now)
        refuses(light, b"ON", "stays off for %d s more (min_off)" % ((40000 - now) // 1000 + 1), now)
    light.command(b"ON", 40001)
    assert light.on


def test_a_servo_moves_to_an_angle_and_releases_its_pulses():
    servo, pwm = one(kind="servo", high=90, rest=10, safe="OFF")
    assert servo.state() == "unknown" and pwm.duties == [0]
    servo.command(b"45", 0)
    assert servo.state() == "45"
    assert pwm.duties[-1] == 1000 * 65535 // 20000  # 500 us plus a quarter of 2000 us
    refuses(servo, b"91", "angle: expected a number, 0 to 90")
    refuses(servo, b"nan", "angle: expected a number, 0 to 90")
    servo.run(999)
    assert pwm.duties[-1] > 0
    servo.run(1000)  # the pulses stop, so the servo neither hums nor heats
    assert pwm.duties[-1] == 0 and servo.state() == "45"
    servo.command(b'{"angle": 30}', 2000)
    assert servo.state() == "30"
    servo.enter_safe_state(3000)
    assert servo.state() == "10"
    refuses(one(kind="servo")[0], b"ON", "expected an angle, 0 to 180")


def test_pixels_execute_colour_and_brightness_commands():
    strip, pixels = one(kind="pixels", count=8, max_brightness=255)
    assert pixels.shown == (0, 0, 0)
    strip.command(b"#ff8000", 0)
    assert pixels.shown == (255, 128, 0)
    strip.command(b'{"color": {"r": 0, "g": 255, "b": 10}, "brightness": 51}', 0)
    assert pixels.shown == (0, 51, 2)
    state = json.loads(strip.state())
    assert state["state"] == "ON" and state["color"] == {"r": 0, "g": 255, "b": 10}
    strip.command(b"OFF", 0)
    assert pixels.shown == (0, 0, 0)
    strip.command(b"ON", 0)
    assert pixels.shown == (0, 51, 2)
    strip.command(b'{"color": {"r": 1, "g": 2, "b": 0}, "brightness": 1}', 0)
    assert pixels.shown == (1, 1, 0)  # dim, and not dark
    refuses(strip, b"#ff80zz", "expected a color as #rrggbb")
    refuses(strip, b'{"color": [1, 2, 3]}', "color: expected an object with r, g and b")
    refuses(strip, b'{"color": {"r": 1, "g": 2, "b": 300}}', "color.b: expected a number, 0 to 255")


def test_time_limits_work_when_the_ticks_wrap():
    from time import ticks_add

    start = ticks_add(0, -500)  # half a second before the ticks wrap
    pump, pin = one(max_on=1)
    pump.command(b"ON", start)
    pump.run(ticks_add(start, 999))
    assert pin.level == 1
    pump.run(ticks_add(start, 1000))
    assert pin.level == 0
