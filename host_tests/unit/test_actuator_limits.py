"""Limits of actuators under random commands: `max_on`, `min_off`, interlocks, failing outputs, restarts.

The clock wraps at 2**30 ms, as on a board.
"""

import actuators
from actuators import schema
from seeded_random import Random

_PERIOD = 1 << 30


def _ticks_add(ticks, delta):
    return (ticks + delta) % _PERIOD


def _ticks_diff(end, start):
    return (end - start + _PERIOD // 2) % _PERIOD - _PERIOD // 2


class _Clock:
    """Replaces the functions of ticks in the modules of actuators; `ms` does not wrap, `ticks` does."""

    def __init__(self, ms=0):
        self.ms = ms
        self.modules = [actuators.load_module(name) for name in ("base", "light")]
        self.before = [(module.ticks_diff, getattr(module, "ticks_add", None)) for module in self.modules]

    @property
    def ticks(self):
        return self.ms % _PERIOD

    def __enter__(self):
        for module in self.modules:
            module.ticks_diff = _ticks_diff
            if hasattr(module, "ticks_add"):
                module.ticks_add = _ticks_add
        return self

    def __exit__(self, *error):
        for module, (diff, add) in zip(self.modules, self.before):
            module.ticks_diff = diff
            if add:
                module.ticks_add = add


class _Output:
    """An output of any kind that checks the limits whenever its level changes, and when `check` is called."""

    def __init__(self, rig, config):
        self.rig, self.config = rig, config
        self.is_on = False
        self.on_at = self.off_at = None
        self.color = (0, 0, 0)

    def value(self, level=None):
        if level is None:
            return self.is_on != self.config["inverted"]
        self.set(bool(level) != self.config.get("inverted", False))

    def duty_u16(self, duty):
        self.set(duty > 0)

    def fill(self, color):
        self.color = color

    def write(self):
        self.set(sum(self.color) > 0)

    def set(self, on):
        if self.rig.fails():
            raise OSError(5)
        self.force(on)

    def force(self, on):
        now = self.rig.clock.ms
        self.check()
        if on and not self.is_on:
            self.on_at = now
            if self.off_at is not None and self.config["safe"] != "ON":
                assert now - self.off_at >= self.config["min_off"] * 1000, self.config
        if self.is_on and not on:
            self.off_at = now
        self.is_on = on
        for other in self.rig.outputs.values():
            if other is not self and on and self.excludes(other):
                assert not other.is_on, (self.config["name"], other.config["name"])

    def excludes(self, other):
        names = self.config["name"], other.config["name"]
        return names[1] in self.config["interlock"] or names[0] in other.config["interlock"]

    def check(self):
        if self.is_on and self.config["max_on"]:
            on_time = self.rig.clock.ms - self.on_at
            assert on_time <= self.config["max_on"] * 1000 + self.rig.tolerance, (self.config, on_time)


class _Rig:
    """A device with some actuators; `failures` is the percentage of attempts to set an output that fail."""

    OUTPUTS = "abcd"

    def __init__(self, random, configs, clock, failures=0):
        self.random, self.clock, self.failures = random, clock, failures
        self.tolerance = 30000 if failures else 0  # ms, for outputs that fail for a while
        self.configs = []
        for given in configs:
            config = dict(given, fade=0) if given["kind"] == "light" else dict(given)
            for field, spec in schema.FIELDS[config["kind"]].items():
                if field not in config:
                    config[field] = list(spec[1]) if spec[0] is list else spec[1]
            self.configs.append(config)
        self.outputs = {config["pin"]: _Output(self, config) for config in self.configs}
        self.keeps_levels = False
        self.is_starting = False
        self.start()

    def fails(self):
        return not self.is_starting and self.random.below(100) < self.failures

    def start(self):
        self.is_starting = True
        # outputs that do not keep their levels are off from the reset on
        for output in self.outputs.values():
            if not self.keeps_levels:
                output.force(False)
        items = [dict(config) for config in self.configs]
        self.actuators = actuators.make(items, self, self.clock.ticks)
        self.is_starting = False
        for output in self.outputs.values():
            if output.config["safe"] == "ON":
                output.on_at = self.clock.ms  # the safe state ON begins again at each start

    def output(self, pin, level=0):
        self.outputs[pin].value(level)
        return self.outputs[pin]

    def driven_level(self, pin):
        return self.outputs[pin].value() if self.keeps_levels else None

    def pwm(self, pin, frequency, duty=0):
        self.outputs[pin].duty_u16(duty)
        return self.outputs[pin]

    def pixels(self, pin, count):
        return self.outputs[pin]

    def run(self):
        """Run each actuator as `Commands.run` does; returns the time in ms until the next call."""
        wait = 1000
        for actuator in self.actuators:
            try:
                wait = min(wait, actuator.run(self.clock.ticks))
            except OSError:
                pass
        return wait

    def pass_time(self, ms):
        end = self.clock.ms + ms
        while self.clock.ms < end:
            self.clock.ms += min(max(1, self.run()), end - self.clock.ms)
            for output in self.outputs.values():
                output.check()
        self.run()

    def idle(self, ms):
        """Let a long time pass in large steps, if no actuator has to be switched off during it."""
        for output in self.outputs.values():
            if output.is_on:
                return
        self.run()
        while ms > 0:
            self.clock.ms += min(ms, _PERIOD // 4)
            ms -= _PERIOD // 4
            self.run()

    def enter_safe_state(self, is_end):
        for actuator in self.actuators:
            try:
                actuator.enter_safe_state(self.clock.ticks, is_end)
            except (OSError, ValueError):
                pass

    def restart(self):
        self.keeps_levels = self.random.below(2) == 1
        if self.random.below(2):  # a crash; otherwise the watchdog or a loss of power
            self.enter_safe_state(True)
        self.start()


_COMMANDS = (
    "ON ON ON OFF TOGGLE toggle 1 0 1.0 true CLOSED OPEN STOP 128 255 0.0 #ff0000 #000000 "
    '{"state":"ON","for":4.9} {"state":"ON","for":86400} {"for":0.1} {"state":"TOGGLE","for":3} '
    '{"state":"OFF","for":3} {"state":"OFF"} {"state":"ON"} {"brightness":7} {"brightness":0} '
    '{"state":"OFF","brightness":9} {"state":"ON","brightness":200,"transition":0} {"state":null} '
    '{"for":null} '
    '{"color":{"r":1,"g":2,"b":3}} {"state":"ON","flash":2} {"transition":0} 45 {"angle":10}'
).split()


def _random_configs(random):
    configs = []
    for name in "abcd"[: 1 + random.below(4)]:
        config = {
            "kind": random.choice(("switch", "switch", "valve", "light", "pixels")),
            "name": name,
            "pin": name,
            "max_on": random.choice((0, 5, 60, 86400)),
            "min_off": random.choice((0, 0, 3, 60)),
            "safe": random.choice(("OFF", "HOLD", "HOLD", "ON")),
            "interlock": [random.choice("abcd")] if random.below(2) else [],
        }
        if config["kind"] in ("switch", "valve"):
            config["inverted"] = bool(random.below(2))
        if config["kind"] == "valve" and not config["max_on"]:
            config["max_on"] = 60
        if name in config["interlock"]:
            config["interlock"] = []
        configs.append(config)
    return configs


def _try_random_commands(seed, steps, failures=0):
    random = Random(seed)
    with _Clock(_PERIOD - random.below(20000)) as clock:
        rig = _Rig(random, _random_configs(random), clock, failures)
        for _ in range(steps):
            action = random.below(20)
            if action < 12:
                try:
                    random.choice(rig.actuators).command(random.choice(_COMMANDS).encode(), clock.ticks)
                except ValueError:
                    pass
            elif action < 17:
                rig.pass_time(random.choice((1, 50, 700, 2900, 3100, 4900, 5000, 20000)))
            elif action == 17:
                rig.enter_safe_state(False)
            elif action == 18:
                rig.restart()
            else:
                rig.idle(random.choice((1000, _PERIOD // 2, _PERIOD - 1000, 7 * 86400000)))
        rig.pass_time(70000)


def test_no_sequence_of_commands_breaks_a_limit():
    for seed in range(150):
        _try_random_commands(seed, 120)


def test_limits_hold_while_outputs_fail():
    for seed in range(150):
        _try_random_commands(seed, 80, failures=20)


def _one(clock, **config):
    return _Rig(Random(1), [dict({"kind": "switch", "name": "a", "pin": "a"}, **config)], clock)


def test_a_repeated_for_does_not_extend_max_on():
    with _Clock(_PERIOD - 3000) as clock:
        rig = _one(clock, max_on=5)
        for _ in range(4):
            rig.actuators[0].command(b'{"state":"ON","for":4.9}', clock.ticks)
            rig.pass_time(1500)
        assert not rig.outputs["a"].is_on or rig.outputs["a"].on_at == clock.ms - 1000
        rig.outputs["a"].check()


def test_a_repeated_for_shortens_or_extends_the_on_time_within_max_on():
    with _Clock() as clock:
        rig = _one(clock, max_on=10)
        (pump,) = rig.actuators
        output = rig.outputs["a"]
        pump.command(b'{"state":"ON","for":8}', clock.ticks)
        rig.pass_time(1000)
        pump.command(b'{"state":"ON","for":1}', clock.ticks)
        rig.pass_time(999)
        assert output.is_on
        rig.pass_time(1)
        assert not output.is_on
        pump.command(b"ON", clock.ticks)
        pump.command(b'{"state":"ON","for":2}', clock.ticks)
        rig.pass_time(1500)
        pump.command(b'{"for":5}', clock.ticks)
        rig.pass_time(4999)
        assert output.is_on
        rig.pass_time(1)
        assert not output.is_on


def test_off_does_not_prolong_min_off():
    with _Clock(_PERIOD - 5000) as clock:
        rig = _one(clock, min_off=10)
        (pump,) = rig.actuators
        rig.pass_time(10000)
        pump.command(b"ON", clock.ticks)
        pump.command(b"OFF", clock.ticks)
        for payload in (b"OFF", b'{"state":"OFF","for":9}', b"0", b"CLOSED"):
            rig.pass_time(2000)
            pump.command(payload, clock.ticks)
            pump.enter_safe_state(clock.ticks)
        rig.pass_time(2000)
        pump.command(b"ON", clock.ticks)
        assert rig.outputs["a"].is_on


def test_min_off_counts_from_a_restart():
    with _Clock() as clock:
        rig = _one(clock, min_off=10)
        (pump,) = rig.actuators
        try:
            pump.command(b"ON", clock.ticks)
            raise AssertionError("switched on at once")
        except ValueError as error:
            assert "min_off" in str(error)
        rig.pass_time(10000)
        pump.command(b"ON", clock.ticks)


def test_max_on_counts_from_the_start_if_on_is_the_safe_state():
    with _Clock() as clock:
        rig = _one(clock, safe="ON", max_on=5)
        assert rig.outputs["a"].is_on
        rig.pass_time(5000)
        assert not rig.outputs["a"].is_on


def test_a_time_limit_survives_the_end_of_the_program_as_off():
    """Nothing can switch an actuator off after the program: HOLD keeps only what has no time limit."""
    with _Clock() as clock:
        for config, payload, stays in (
            ({}, b"ON", True),
            ({}, b'{"for":30}', False),
            ({"max_on": 60}, b"ON", False),
        ):
            rig = _one(clock, **config)
            rig.actuators[0].command(payload, clock.ticks)
            rig.enter_safe_state(False)
            assert rig.outputs["a"].is_on
            rig.enter_safe_state(True)
            assert rig.outputs["a"].is_on == stays


def test_a_safe_state_on_switches_interlocked_actuators_off():
    with _Clock() as clock:
        base = {"kind": "switch", "safe": "HOLD"}
        rig = _Rig(
            Random(1),
            [
                dict(base, name="a", pin="a", safe="ON", interlock=["b"]),
                dict(base, name="b", pin="b"),
            ],
            clock,
        )
        fan, heater = rig.actuators
        fan.command(b"OFF", clock.ticks)
        heater.command(b"ON", clock.ticks)
        fan.enter_safe_state(clock.ticks)
        assert fan.on and not heater.on
        try:
            heater.command(b"ON", clock.ticks)  # an interlock that one of both names works in both directions
            raise AssertionError("both are on")
        except ValueError as error:
            assert str(error) == "a is on"


def test_an_output_that_fails_is_switched_off_again():
    with _Clock() as clock:
        rig = _one(clock, max_on=5)
        (pump,) = rig.actuators
        rig.failures = 100
        try:
            pump.command(b"ON", clock.ticks)
            raise AssertionError("the failure was not reported")
        except ValueError as error:
            assert "the output failed" in str(error)
        rig.failures = 0
        rig.pass_time(1)
        assert not pump.on
        pump.command(b"ON", clock.ticks)
        rig.failures = 100
        rig.pass_time(4999)
        rig.tolerance = 5000
        rig.pass_time(4000)
        assert pump.on
        rig.failures = 0
        rig.pass_time(1000)
        assert not pump.on and not rig.outputs["a"].is_on
