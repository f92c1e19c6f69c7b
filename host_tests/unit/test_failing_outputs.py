"""Actuators whose outputs fail: the others keep their time limits and safe states, and it is tried again."""

import actuators
from actuators import schema
from app.node.command_dedup import CommandDedup
from app.node.commands import Commands, enter_safe_state


def end(commands):
    """Do what the device does before the program ends."""
    for actuator in commands.actuators:
        enter_safe_state(actuator, 0, True)


class Output:
    def __init__(self, level=0):
        self.level = level
        self.fails = False

    def value(self, level=None):
        if level is None:
            return self.level
        if self.fails:
            raise OSError(5)
        self.level = level

    duty_u16 = value


class Pins:
    def __init__(self):
        self.outputs = {}

    def output(self, pin, level=0):
        self.outputs[pin] = Output(level)
        return self.outputs[pin]

    def pwm(self, pin, frequency, duty=0):
        return self.output(pin, duty)


class Client:
    is_connected = True

    def topic(self, name):
        return name

    def subscribe(self, *args, **options):
        pass

    def publish(self, topic, payload, qos=0, retain=False):
        return 1


def device(*kinds, **fields):
    """Return the `Commands` of a device with actuators of these kinds, and their outputs by name."""
    items = []
    for name, kind in zip("abcdefgh", kinds):
        config = {"name": name, "pin": name, "kind": kind}
        for field, spec in schema.FIELDS[kind].items():
            if field in fields:
                config[field] = fields[field]
            elif field not in config:
                config[field] = list(spec[1]) if spec[0] is list else spec[1]
        items.append(config)
    pins = Pins()
    return Commands(Client(), "base", actuators.make(items, pins), CommandDedup(4, None)), pins.outputs


def test_the_time_limits_of_the_others_work_and_the_failed_one_is_tried_again():
    commands, outputs = device("switch", "light", "valve", max_on=5, fade=0)
    for actuator in commands.actuators:
        actuator.command(b"ON", 0)
    outputs["a"].fails = outputs["b"].fails = True
    for now in (5000, 6000):
        assert 0 < commands.run(now) <= 1000
        assert outputs["a"].level and outputs["b"].level and not outputs["c"].level
    outputs["a"].fails = outputs["b"].fails = False
    commands.run(7000)
    assert not outputs["a"].level and not outputs["b"].level
    assert [actuator.on for actuator in commands.actuators] == [False] * 3


def test_a_light_that_fails_during_a_fade_finishes_it_later():
    commands, outputs = device("light", fade=1)
    commands.actuators[0].command(b"ON", 0)
    commands.run(0)
    outputs["a"].fails = True
    commands.run(500)
    commands.run(1500)
    outputs["a"].fails = False
    commands.run(2500)
    assert outputs["a"].level == 65535


def test_each_actuator_enters_its_safe_state_whatever_the_others_do():
    for is_end in (False, True):
        commands, outputs = device("servo", "switch", "light", "valve", safe="OFF", rest=30)
        commands.actuators[0].command(b"45", 0)
        for actuator in commands.actuators[1:]:
            actuator.command(b"ON", 0)
        commands.run(0)
        for name in "ac":
            outputs[name].fails = True
        if is_end:
            end(commands)
        else:
            commands.on_state(False, 0)
            for now in range(0, 62000, 1000):
                commands.run(now)
        assert not outputs["b"].level and not outputs["d"].level
        if not is_end:  # it is tried again while the device is offline
            for name in "ac":
                outputs[name].fails = False
            commands.run(62000)
            commands.run(63000)
            assert commands.actuators[0].angle == 30 and not outputs["c"].level


def test_a_light_is_off_at_the_end_of_the_program_without_a_fade():
    for command in (b"ON", b"OFF"):
        commands, outputs = device("light", safe="OFF", fade=10)
        light = commands.actuators[0]
        light.command(b"ON", 0)
        light.run(0)
        light.run(10000)
        assert outputs["a"].level
        light.command(command, 10000)  # a fade to off has just begun
        light.run(10000)
        end(commands)
        assert outputs["a"].level == 0


def test_a_servo_moves_to_the_nearest_angle_if_rest_is_outside_its_limits():
    commands, outputs = device("servo", "switch", safe="ON", low=0, high=60, rest=90)
    commands.actuators[0].command(b"10", 0)
    commands.actuators[1].command(b"OFF", 0)
    end(commands)
    assert commands.actuators[0].angle == 60 and outputs["b"].level


def test_a_device_is_busy_until_a_light_has_faded_to_off():
    commands, outputs = device("light", fade=0)
    light = commands.actuators[0]
    light.command(b"ON", 0)
    light.command(b'{"state": "OFF", "transition": 30}', 0)
    commands.run(0)
    assert commands.is_busy and not light.on
    commands.run(30000)
    assert not commands.is_busy


def test_a_command_to_an_output_that_fails_is_answered_with_the_error():
    commands, outputs = device("switch", "servo")
    for actuator, payload in zip(commands.actuators, (b"ON", b"45")):
        outputs[actuator.name].fails = True
        try:
            actuator.command(payload, 0)
            raise AssertionError("the failure was not reported")
        except ValueError as error:
            assert "the output failed: OSError" in str(error)
    assert commands.actuators[1].state() == "unknown"
    commands.run(0)
    for output in outputs.values():
        output.fails = False
    commands.run(1000)
    assert not commands.is_busy
