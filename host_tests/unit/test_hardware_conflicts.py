"""Validation of config.json: pins that are used twice, pulls and PWM that a pin does not have."""

from test_config import Pins, changed, line, load


class Board(Pins):
    OUTPUTS = {"lamp": 2, "relay": 4, "led": "LED", "same": 4}
    BUSES = {"i2c": (0, 13, 14), "second": (1, 14, 15)}
    NO_PULL_PINS = "34-39"


def conflict(actuators=(), sensors=(), board=Board):
    return line(changed(actuators=list(actuators), sensors=list(sensors)), board)


def actuator(name, pin, **more):
    return dict(more, name=name, pin=pin)


def sensor(kind, name, **more):
    return dict(more, kind=kind, name=name)


def test_a_pin_has_one_user():
    door = sensor("digital", "door", pin=2)
    probe = sensor("ds18b20", "probe", pin=4)
    for actuators, sensors, expected in (
        (
            [actuator("a", "lamp"), actuator("b", "lamp")],
            [],
            "actuators[1].pin: GPIO 2 is used twice, by actuator a and actuator b",
        ),
        (
            [actuator("a", "relay"), actuator("b", "same")],
            [],
            "actuators[1].pin: GPIO 4 is used twice, by actuator a and actuator b",
        ),
        (
            [actuator("a", "led"), actuator("b", "led")],
            [],
            "actuators[1].pin: LED is used twice, by actuator a and actuator b",
        ),
        (
            [actuator("a", "lamp")],
            [door],
            "sensors[0].pin: GPIO 2 is used twice, by actuator a and sensor door",
        ),
        (
            [actuator("a", "lamp")],
            [sensor("pulse", "rain", pin="lamp")],
            "sensors[0].pin: GPIO 2 is used twice, by actuator a and sensor rain",
        ),
        (
            [],
            [door, sensor("pulse", "rain", pin=2)],
            "sensors[1].pin: GPIO 2 is used twice, by sensor door and sensor rain",
        ),
        (
            [],
            [sensor("analog", "x", pin=33), sensor("battery", "y", pin=33, attenuation="0")],
            "sensors[1].pin: GPIO 33 is used twice, by sensor x and sensor y",
        ),
        (
            [],
            [sensor("bme280", "air"), sensor("digital", "door", pin=13)],
            "sensors[1].pin: GPIO 13 is used twice, by bus i2c and sensor door",
        ),
        (
            [],
            [sensor("dht22", "door", pin=14), sensor("bme280", "air")],
            "sensors[1].bus: GPIO 14 is used twice, by sensor door and bus i2c",
        ),
        (
            [],
            [sensor("sht3x", "air"), sensor("bme280", "b", bus="second")],
            "sensors[1].bus: GPIO 14 is used twice, by bus i2c and bus second",
        ),
        (
            [],
            [probe, sensor("dht22", "d", pin=4)],
            "sensors[1].pin: GPIO 4 is used twice, by sensor probe and sensor d",
        ),
        (
            [actuator("a", "relay")],
            [probe],
            "sensors[0].pin: GPIO 4 is used twice, by actuator a and sensor probe",
        ),
    ):
        assert conflict(actuators, sensors) == expected


def test_pins_that_can_be_shared_or_are_not_used_are_accepted():
    load(
        changed(
            actuators=[actuator("a", "lamp"), actuator("b", "relay")],
            sensors=[
                sensor("ds18b20", "x", pin=15),
                sensor("ds18b20", "y", pin=15),
                sensor("analog", "x1", pin=33),
                sensor("battery", "y1", pin=33),
                sensor("bme280", "air"),
                sensor("sht3x", "air2"),
            ],
        ),
        Board,
    )
    load(changed(sensors=[sensor("digital", "x", pin=13), sensor("digital", "y", pin=14)]), Board)


def test_a_pull_needs_a_pin_that_has_one():
    assert conflict(sensors=[sensor("digital", "door", pin=34)]) == (
        'sensors[0].pull: "up", expected none: GPIO 34 of sensor door has no pull resistor; add one'
    )
    assert "GPIO 39" in conflict(sensors=[sensor("pulse", "rain", pin=39, pull="down")])
    load(changed(sensors=[sensor("digital", "door", pin=34, pull="none")]), Board)
    load(changed(sensors=[sensor("digital", "door", pin=33)]), Board)
    load(changed(sensors=[sensor("digital", "door", pin=34)]), Pins)  # a board whose pins all have one


def test_brightness_angles_and_pixels_need_a_gpio():
    for kind in ("light", "servo", "pixels"):
        assert conflict([actuator("x", "led", kind=kind)]) == (
            'actuators[0].pin: "led" cannot be used for %s x: it is not a GPIO' % kind
        )
    load(changed(actuators=[actuator("x", "led")]), Board)


def test_the_safe_angle_of_a_servo_is_one_of_its_angles():
    servo = actuator("x", "lamp", kind="servo", low=10, high=60)
    load(changed(actuators=[servo]), Board)  # the default is the nearest permitted angle
    load(changed(actuators=[dict(servo, rest=60)]), Board)
    for rest in (9, 61, 90):
        found = conflict([dict(servo, rest=rest)])
        assert found == "actuators[0].rest: %d, expected low to high, 10 to 60" % rest
    assert conflict([dict(servo, low=61)]) == "actuators[0].low: 61, expected at most high, 60"


class Rp2(Pins):
    OUTPUTS = {"a": 0, "b": 1, "c": 16, "d": 2}
    PWM_SLICES = 8


def test_outputs_that_share_a_pwm_are_refused():
    light = actuator("x", "a", kind="light")
    servo = actuator("y", "b", kind="servo")
    assert conflict([light, servo], board=Rp2) == (
        "actuators[1].pin: GPIO 0 and 1 share a PWM, used by actuator x and actuator y"
    )
    assert "GPIO 0 and 16 share" in conflict([light, actuator("y", "c", kind="light")], board=Rp2)
    load(changed(actuators=[light, actuator("y", "b", kind="light")]), Rp2)  # the same frequency
    load(changed(actuators=[light, actuator("y", "d", kind="servo")]), Rp2)
    load(changed(actuators=[light, actuator("y", "c")]), Rp2)
