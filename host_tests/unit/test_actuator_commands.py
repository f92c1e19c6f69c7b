"""The grammar of commands in docs/actuators.md: each form that is accepted, and random forms that are not."""

import json

import actuators
from actuators import schema
from seeded_random import Random

WORDS_ON = ("ON", "on", "1", "1.0", "TRUE", "true", "OPEN", " On\n")
WORDS_OFF = ("OFF", "off", "0", "0.0", "FALSE", "false", "CLOSE", "CLOSED", "\tOff ")
KINDS = ("switch", "valve", "light", "pixels", "servo")


class Output:
    """An output of any kind that records what is written."""

    def __init__(self):
        self.log = []

    def value(self, level=None):
        if level is None:
            return self.log[-1] if self.log else 0
        self.log.append(level)

    duty_u16 = fill = value

    def write(self):
        pass


class Pins:
    def output(self, pin, level=0):
        return Output()

    pwm = pixels = output


def make(kind, **config):
    config.update(kind=kind, name="x", pin="x")
    if kind == "light":
        config["fade"] = 0
    for field, spec in schema.FIELDS[kind].items():
        if field not in config:
            config[field] = list(spec[1]) if spec[0] is list else spec[1]
    return actuators.make([config], Pins())[0]


def output_of(actuator):
    for name in ("pwm", "_pwm", "_output", "_strip"):
        if hasattr(actuator, name):
            return getattr(actuator, name)


def snapshot(actuator):
    """Return everything that a command can change."""
    return dict(actuator.__dict__), list(output_of(actuator).log)


def execute(actuator, payload, now=1000):
    """Execute a command; returns None, or the text of its refusal, after which nothing may have changed."""
    before = snapshot(actuator)
    try:
        actuator.command(payload if isinstance(payload, bytes) else payload.encode(), now)
    except ValueError as error:
        assert snapshot(actuator) == before, (actuator.platform, payload)
        assert str(error), payload
        return str(error)


def test_the_words_of_each_kind():
    for kind in KINDS[:4]:
        for words, on in ((WORDS_ON, True), (WORDS_OFF, False)):
            for word in words:
                for is_on in (True, False):
                    actuator = make(kind)
                    execute(actuator, "ON" if is_on else "OFF")
                    assert execute(actuator, word) is None, (kind, word)
                    assert actuator.on == on, (kind, word)
                    if word.strip() == word:
                        assert execute(actuator, '{"state": "%s"}' % word) is None
                        assert actuator.on == on, (kind, word)
        for word in ("TOGGLE", "toggle", '{"state":"Toggle"}'):
            actuator = make(kind)
            for on in (True, False):
                assert execute(actuator, word) is None
                assert actuator.on == on


def test_stop_leaves_a_valve_as_it_is():
    valve = make("valve")
    for word, state in (("STOP", "closed"), ("OPEN", "open"), ("stop", "open"), ('{"state":"STOP"}', "open")):
        assert execute(valve, word) is None
        assert valve.state() == state
    assert execute(make("switch"), "STOP") == "expected ON, OFF or TOGGLE"


def test_a_servo_takes_numbers_as_angles_and_does_not_move_on_off():
    for text, angle in (
        ("0", 0),
        ("1", 1),
        ("1.0", 1),
        ("0.0", 0),
        ("45.5", 45.5),
        ("180", 180),
        ("1e2", 100),
    ):
        for form in (text, '{"angle": %s}' % text, '{"state": "ON", "angle": %s}' % text):
            servo = make("servo")
            assert execute(servo, form) is None, form
            assert servo.angle == angle and servo.on
    for word in ("OFF", "FALSE", "CLOSE", "CLOSED", '{"state":"OFF"}'):
        servo = make("servo")
        execute(servo, "45")
        before = len(output_of(servo).log)
        assert execute(servo, word) is None, word
        assert servo.angle == 45 and not servo.on and output_of(servo).log[before:] == [0]
    servo = make("servo")
    for payload in (
        "ON",
        "TOGGLE",
        "TRUE",
        "OPEN",
        "{}",
        '{"state":"ON"}',
        '{"state":"TOGGLE"}',
        '{"for":5}',
    ):
        assert execute(servo, payload)
    execute(servo, "45")
    for payload in (
        '{"state":"OFF","angle":9}',
        '{"state":"ON"}',
        '{"angle":9,"for":1}',
        "-1",
        "181",
        "0x10",
    ):
        assert execute(servo, payload), payload
    assert servo.angle == 45


def test_brightness_0_and_off_switch_off():
    for kind in ("light", "pixels"):
        for payload in (
            '{"state":"OFF","brightness":0}',
            '{"state":"ON","brightness":0}',
            '{"brightness":0}',
            '{"brightness":0.0}',
            '{"state":"OFF","transition":2}',
            '{"state":"OFF","for":5}',
            '{"state":"OFF","color":{"r":255,"g":1,"b":0},"flash":10}',
            "0",
        ):
            light = make(kind)
            execute(light, "200")
            assert execute(light, payload) is None, payload
            assert not light.on and light.brightness == 200, payload
            assert json.loads(light.state())["state"] == "OFF"
        light = make(kind)
        assert execute(light, '{"state":"OFF","brightness":9}') is None  # stored for the next ON
        assert not light.on and light.brightness == 9
        execute(light, "1")
        assert light.on and light.brightness == 9


def test_what_home_assistant_sends_is_accepted():
    for kind in ("light", "pixels"):
        for payload in (
            '{"state":"ON"}',
            '{"state":"ON","brightness":128}',
            '{"state":"ON","brightness":128,"transition":2}',
            '{"state":"ON","transition":0.5}',
            '{"state":"ON","flash":2}',
            '{"state":"ON","flash":10}',
            '{"state":"ON","flash":"short"}',
            '{"state":"ON","effect":"rainbow"}',
            '{"state":"ON","color_temp":153}',
            '{"state":"ON","color":{"r":255,"g":128,"b":0}}',
            '{"color": {"b": 0, "g": 128, "r": 255}, "state": "ON"}',
        ):
            light = make(kind)
            assert execute(light, payload) is None, payload
            assert light.on
            if kind == "pixels" and "color" in payload and "temp" not in payload:
                assert light.color == (255, 128, 0)


def test_colors_have_six_hexadecimal_digits():
    pixels = make("pixels")
    assert execute(pixels, "#Ff8000") is None
    assert pixels.color == (255, 128, 0)
    for payload in (
        "#-12345",
        "#+12345",
        "#12345",
        "#1234567",
        "#12 345",
        "#0x1234",
        "#12_345",
        "#",
        "#GGGGGG",
    ):
        assert execute(pixels, payload) == "expected a color as #rrggbb"
        assert execute(make("light"), payload)


NEVER = (
    '{"state":null} {"for":null} {"state":"ON","for":null} {"brightness":null} {"color":null} {"angle":null} '
    '{"state":true} {"state":1} {"state":["ON"]} {"state":{"on":1}} {"state":"ON","state":"OFF"} '
    '{"brightness":"128"} {"brightness":true} {"brightness":1e400} {"brightness":NaN} '
    '{"brightness":Infinity} '
    '{"brightness":007} {"brightness":+5} {"brightness":5.} {"brightness":.5} {"brightness":1_0} '
    '{"brightness":0x10} {"brightness":256} {"brightness":-1} {"brightness":12.5} {"brightness":99999999999} '
    '{"brightness":{"a":{}}} {"brightness":[1]} {"transition":2} {"flash":2} {"effect":"x"} '
    '{"color_temp":200} '
    '{"state":"ON","transition":"2"} {"state":"ON","flash":null} {"state":"ON","effect":null} '
    '{"state":"ON","color":{"r":1,"g":2}} {"state":"ON","color":{"r":1,"g":2,"b":256}} '
    '{"state":"ON","color":{"r":1,"g":2,"b":1.5}} {"state":"ON","color":{"r":1,"g":2,"b":"3"}} '
    '{"state":"ON","color":{"r":1,"r":1,"g":2,"b":3}} {"state":"ON","color":{"r":1,"g":2,"b":3,"x":4}} '
    '{"state":"ON","color":"red"} {"state":"ON","speed":1} {"STATE":"ON"} {"state":"ON"}} {"state":"ON",} '
    '{,"state":"ON"} {"state","ON"} {"state":"ON" {"state":"ON"}x [] ["ON"] "ON" null nan inf NaN '
    "-Infinity 1e999 "
    "007 00 01 +1 1. .5 1_0 0x10 1e 1e+ -- - 2,5 12.5 -0.5 256 ONN O NO ON; {} { } {] ÷ é １ ²"
).split() + [
    b"",
    b" ",
    b"\x00",
    b"ON\x00",
    b"\x00ON",
    b"\xef\xbb\xbfON",
    b'\xef\xbb\xbf{"state":"ON"}',
    b'{"state":"ON\x00"}',
    b'{"state":"ON"}\x00',
    b'{"state":"O\\u004e"}',
    b'{"state":"ON" "for":5}',
    b'{"state" "ON"}',
    b'{"st\xffate":"ON"}',
    b"\xff\xfe",
    b"ON ON",
    b"O N",
    b"9" * 200,
    b"ON" + b" " * 300,
    b'{"state":"ON"' + b" " * 300 + b"}",
    b'{"state":"ON","for":' + b"1" * 220 + b"}",
    b"{" * 200,
    b'{"a":' * 40,
    b"[" * 200,
]


def test_what_is_not_in_the_grammar_changes_nothing():
    for kind in KINDS:
        for payload in NEVER:
            for before in ("45" if kind == "servo" else "ON", "OFF"):
                actuator = make(kind, max_on=60 if kind != "servo" else 0)
                execute(actuator, before)
                if kind == "servo" and payload in ("007", "12.5"):
                    continue
                assert execute(actuator, payload) is not None, (kind, payload)


def test_plain_numbers_follow_the_grammar_of_json():
    parse_number = actuators.load_module("command_json").parse_number
    for text, value in (
        ("0", 0),
        ("-0", 0),
        ("10", 10),
        ("-1.50", -1.5),
        ("1e3", 1000),
        ("25E-1", 2.5),
        ("1E+2", 100),
    ):
        assert parse_number(text) == value
    assert isinstance(parse_number("128.0"), int)
    for text in (
        "",
        "-",
        "01",
        "-01",
        "1.",
        "1.e3",
        ".1",
        "1e",
        "e1",
        "1e1.5",
        "1-2",
        "1+2",
        "--1",
        "1.2.3",
        "1e999",
        "1 ",
    ):
        try:
            parse_number(text)
        except ValueError:
            continue
        raise AssertionError(text)


VALUES = (
    '"ON" "OFF" "TOGGLE" "on" "STOP" "" "128" "short" null true false 0 1 -1 2.5 45 128 128.0 255 '
    "256 1e2 1e9 -0 "
    '0.1 [] {} {"r":1,"g":2,"b":3} {"r":1,"g":2} {"r":-1,"g":2,"b":3}'
).split()
USUAL = {
    "state": ('"ON"', '"OFF"', '"TOGGLE"'),
    "for": ("5", "0.1"),
    "transition": ("0", "2.5"),
    "color": ('{"r":1,"g":2,"b":3}',),
    "flash": ('"short"', "2"),
    "effect": ('"x"',),
}
FIELDS = "state state state for brightness transition color flash effect color_temp angle speed".split()


def expected_on(kind, fields, is_on):
    """Return whether the actuator is on after a command with these fields (name, JSON text), None if refused.

    This is the table in docs/actuators.md, written a second time.
    """
    light = kind in ("light", "pixels")
    allowed = {"servo": ("state", "angle")}.get(kind, FIELDS[:-2] if light else ("state", "for"))
    names = [name for name, _ in fields]
    values = {name: json.loads(text) for name, text in fields}
    if len(values) < len(names) or [name for name in names if name not in allowed]:
        return None
    on = None
    if "state" in values:
        words = {"ON": True, "OFF": False, "TOGGLE": not is_on}
        if kind == "valve":
            words["STOP"] = is_on
        word = values["state"]
        on = words.get(word.upper()) if isinstance(word, str) else None
        if on is None:
            return None

    if not _are_valid(values):
        return None
    if kind == "servo":
        word = str(values.get("state", "OFF")).upper()
        if word == "TOGGLE" or word != "OFF" and "angle" not in values:
            return None
        return on if "angle" not in values else None if on is False else True
    if "brightness" in values and not values["brightness"]:
        return False
    if on is None and [name for name in ("for", "brightness", "color") if name in values]:
        return True
    return on


def _are_valid(values):
    def is_number(name, low, high):
        value = values.get(name, low)
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high

    color = values.get("color", {"r": 0, "g": 0, "b": 0})
    return (
        is_number("for", 0.1, 86400)
        and is_number("transition", 0, 60)
        and is_number("color_temp", 1, 20000)
        and (values.get("flash") == "short" or is_number("flash", 0, 60))
        and isinstance(values.get("effect", ""), str)
        and is_number("brightness", 0, 255)
        and values.get("brightness", 0) == int(values.get("brightness", 0))
        and is_number("angle", 0, 180)
        and isinstance(color, dict)
        and sorted(color) == ["b", "g", "r"]
        and min(color.values()) >= 0
    )


def test_random_json_has_the_documented_effect_or_none():
    accepted = 0
    for seed in range(2000):
        random = Random(seed)
        kind = random.choice(KINDS)
        fields = []
        for _ in range(random.below(4)):
            name = random.choice(FIELDS)
            values = VALUES if random.below(4) == 0 else USUAL.get(name, ("0", "45", "128"))
            fields.append((name, random.choice(values)))
        blank = random.choice(("", " ", "\n\t"))
        text = ",".join(['%s"%s"%s:%s%s' % (blank, name, blank, value, blank) for name, value in fields])
        actuator = make(kind)
        execute(actuator, random.choice(("45", "OFF") if kind == "servo" else ("ON", "OFF")))
        expected = expected_on(kind, fields, actuator.on)
        error = execute(actuator, "{%s}" % text)
        assert (error is None) == (expected is not None), (kind, text, error, expected)
        if error is None:
            accepted += 1
            assert actuator.on == expected, (kind, text)
    assert accepted > 150, accepted


def test_random_bytes_change_nothing_or_mean_the_same_in_all_interpreters():
    seeds = [payload for payload in NEVER if len(payload) < 80]
    seeds += ["ON", "128", "#ff8000", '{"state":"ON","brightness":128}', '{"color":{"r":1,"g":2,"b":3}}']
    accepted = 0
    for seed in range(3000):
        random = Random(seed)
        payload = random.choice(seeds)
        data = bytearray(payload if isinstance(payload, bytes) else payload.encode())
        for _ in range(random.below(3) + 1):
            at = random.below(len(data) + 1)
            action = random.below(3)
            if action == 0 and at < len(data):
                data[at] = random.below(256)
            elif action == 1:
                data = data[:at] + bytearray([random.choice(b'{}[]",:0159.-eE+ \x00ONofT#')]) + data[at:]
            else:
                data = data[:at] + data[at + 1 :]
        actuator = make(random.choice(KINDS))
        if execute(actuator, bytes(data)) is None:
            accepted += 1
            assert actuator.state_version <= 3
    assert accepted == ACCEPTED, accepted


ACCEPTED = 53  # of the random payloads, in each interpreter
