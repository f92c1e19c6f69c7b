"""Safe levels of the outputs before anything else: with a valid config, an invalid one and none at all."""

import json

import actuators
from actuators import safe_outputs, schema

PATH = "outputs.json"


class Pins:
    """A board that records each level from the first drive; `driven` are outputs that it still drives."""

    OUTPUTS = {"a": 1, "b": 2, "c": 3, "d": 4}

    def __init__(self, driven=None, broken=()):
        self.driven = driven or {}
        self.broken = broken
        self.log = []

    def _add(self, pin, level):
        if pin in self.broken:
            raise OSError(5)
        self.log.append((pin, level))
        self.driven[pin] = level

    def output(self, pin, level=0):
        self._add(pin, level)
        return Output(self, pin)

    def driven_level(self, pin):
        return self.driven.get(pin)

    def pwm(self, pin, frequency, duty=0):
        self._add(pin, duty)
        return Output(self, pin)

    def pixels(self, pin, count):
        return Output(self, pin)

    def levels(self, pin):
        return [level for name, level in self.log if name == pin]


class Output:
    def __init__(self, pins, pin):
        self.pins, self.pin = pins, pin

    def value(self, level=None):
        if level is None:
            return self.pins.driven[self.pin]
        self.pins._add(self.pin, level)

    duty_u16 = value

    def fill(self, color):
        self.color = color

    def write(self):
        self.pins._add(self.pin, self.color)


def drive(config, keep=True, **more):
    """Drive the outputs of a config (a dict, or text that need not be JSON); returns the board."""
    with open(PATH, "w") as file:
        file.write(config if isinstance(config, str) else json.dumps(config))
    pins = Pins(**more)
    safe_outputs.drive(pins, keep, PATH)
    return pins


def make(pins, *items, now=None):
    checked = []
    for item in items:
        config = dict(item)
        for field, spec in schema.FIELDS[config.get("kind", "switch")].items():
            if field not in config:
                config[field] = list(spec[1]) if spec[0] is list else spec[1]
        checked.append(config)
    return actuators.make(checked, pins, now)


SAFE_LEVELS = (
    # fields, level while the board drives nothing, level if it drives 1, level if nothing runs the actuator
    ({}, 0, 1, 0),
    ({"inverted": True}, 1, 1, 1),
    ({"safe": "OFF"}, 0, 0, 0),
    ({"safe": "OFF", "inverted": True}, 1, 1, 1),
    ({"safe": "ON"}, 1, 1, 1),
    ({"safe": "ON", "inverted": True}, 0, 0, 0),
    ({"max_on": 5}, 0, 0, 0),  # the time that it has been on is not known
    ({"kind": "valve"}, 0, 0, 0),
    ({"kind": "valve", "inverted": True}, 1, 1, 1),
    ({"kind": "valve", "safe": "ON"}, 1, 1, 1),
)


def test_each_output_has_its_safe_level_from_the_first_moment():
    for fields, at_power_on, if_driven, if_not_run in SAFE_LEVELS:
        item = dict(fields, name="x", pin="a")
        for keep, driven, level in (
            (True, {}, at_power_on),
            (True, {"a": 1}, if_driven),
            (False, {"a": 1}, if_not_run),
        ):
            pins = drive({"actuators": [item]}, keep, driven=driven)
            assert pins.levels("a") == [level], (item, keep, driven)
            if keep:  # the actuator that is created next leaves the level as it is
                (actuator,) = make(pins, item)
                assert set(pins.levels("a")) == {level}, item
                assert actuator.on == (bool(level) != item.get("inverted", False))
    pins = drive({"actuators": [{"name": "x", "pin": "a", "inverted": True}]}, driven={"a": 0})
    assert pins.levels("a") == [0]  # it was on, and stays on


def test_an_actuator_gets_its_level_from_its_constructor_without_a_pulse():
    for fields, at_power_on, if_driven, _ in SAFE_LEVELS:
        for driven, level in (({}, at_power_on), ({"a": 1}, if_driven)):
            pins = Pins(driven)
            make(pins, dict(fields, name="x", pin="a"))
            assert pins.levels("a") == [level], fields


def test_lights_servos_and_pixels_start_safe():
    kinds = (
        ({"kind": "light"}, 0),
        ({"kind": "light", "safe": "ON"}, 65535),
        ({"kind": "light", "safe": "ON", "max_brightness": 51}, 51 * 51 * 65535 // 65025),
        ({"kind": "servo", "safe": "ON"}, 0),
        ({"kind": "pixels"}, (0, 0, 0)),
        ({"kind": "pixels", "safe": "ON", "max_brightness": 9, "count": 3}, (9, 9, 9)),
    )
    for fields, level in kinds:
        item = dict(fields, name="x", pin="a")
        for keep in (True, False):
            pins = drive({"actuators": [item]}, keep, driven={"a": 1})
            make(pins, item)
            assert set(pins.levels("a")) == {level}, item


def test_the_levels_do_not_depend_on_a_valid_config():
    entry = '{"name": "x", "pin": "a", "inverted": true, "safe": "OFF"}'
    for text in (
        '{"actuators": [%s]}' % entry,
        '{"device": 7, "sensors": [{"name": "actuators", "kind": "no"}], "actuators": [%s]}' % entry,
        '{"actuators": [%s' % entry,  # the end is missing
        '{"actuators": [%s' % entry[:-1],
        '{"broker": {"host": nonsense}, "actuators"\n :\n [%s,]}' % entry,
        '{"actuators": [{"name": "y", "pin": "no"}, %s, {"pin": 7}, 5, []]}' % entry,
        '{"actuators": [{"name": "y" "pin": ["a"]} %s]}' % entry,
        '{"actuators": [{"name": "x", "pin": "a", "inverted": true, "safe": "OFF", "max_on": "?", kind}]}',
        '{"actuators": [{"name": "x", "pin": "a", "inverted": true, "safe": "NEVER", "kind": "relay"}]}',
        '{"actuators": [{"pin": "a", "inverted": true, "safe": "off", "interlock": 5, "max_on": "long"}]}',
        '\x00\x00{"actuators": [%s]}\xff' % entry,
    ):
        pins = drive(text)
        assert pins.levels("a") == [1], text
    # not known which level is off: the pin remains an input
    assert drive('{"actuators": [{"pin": "a", "inverted": "yes"}]}').log == []
    for text in (
        "",
        "{",
        "[]",
        "null",
        '{"actuators"',
        '{"actuators":',
        '{"actuators": [',
        '"actuators"',
        "\0",
    ):
        assert drive(text).log == []
    pins = Pins()
    safe_outputs.drive(pins, True, "no-such-file")
    assert pins.log == []


def test_an_output_that_fails_does_not_keep_the_others_from_their_levels():
    items = [{"name": name, "pin": name, "safe": "ON"} for name in "abc"]
    pins = drive({"actuators": items}, broken=("b",))
    assert pins.log == [("a", 1), ("c", 1)]
    pins = Pins(broken=("b",))
    try:
        make(pins, *items)
        raise AssertionError("the failure was not reported")
    except OSError:
        pass
    assert pins.log == [("a", 1), ("c", 1)]


def test_interlocked_outputs_do_not_start_together():
    up = {"name": "up", "pin": "a", "interlock": ["down"], "safe": "ON"}
    for down, driven in (
        ({"name": "down", "pin": "b", "safe": "ON"}, {}),
        ({"name": "down", "pin": "b"}, {"b": 1}),  # was on before the restart
    ):
        for items in ((up, down), (down, up)):
            pins = drive({"actuators": items}, driven=dict(driven))
            assert sorted(pins.log) in ([("a", 1), ("b", 0)], [("a", 0), ("b", 1)])
            assert pins.log[0][1] == 0  # off first
            made = make(Pins(dict(driven)), *items)
            assert [actuator.on for actuator in made].count(True) == 1
