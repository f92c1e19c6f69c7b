"""A device that runs for weeks: nothing changes when its ticks wrap around after 12.4 days."""

import json
import sys

from long_uptime import HOUR, IS_CPYTHON, PERIOD, STEP, WEEK, Device, Pins, ticks_add, ticks_diff

# ticks at the start of the device
OFFSETS = (0, PERIOD - 8 * HOUR, PERIOD // 2 - HOUR, PERIOD - WEEK, PERIOD // 2 - WEEK - 1, PERIOD - 3 * WEEK)
WEEKS = range(1, 5)
if not IS_CPYTHON:  # the VMs are slower
    OFFSETS = OFFSETS[1:2]
    WEEKS = range(1, 2)
if sys.platform == "webassembly":  # the 32-bit VM frees no memory while a program runs
    OFFSETS = ()


def test_the_simulated_ticks_are_those_of_a_board():
    assert ticks_diff(5, PERIOD - 5) == 10 and ticks_diff(PERIOD - 5, 5) == -10
    assert ticks_diff(PERIOD // 2 - 1, 0) == PERIOD // 2 - 1
    assert ticks_diff(PERIOD // 2, 0) == -PERIOD // 2  # 6.2 days later looks like 6.2 days earlier
    assert ticks_add(PERIOD - 5, 10) == 5


def on_device(scenario, offsets=OFFSETS, **changes):
    """Call `scenario(device)` with a device that was online for a minute, for each start of its ticks."""
    for offset in offsets:
        device = Device(offset, **changes)
        try:
            device.run(60_000)
            device.take_messages()
            scenario(device)
        finally:
            device.close()


def near(count, expected):
    return expected - 2 <= count <= expected + 2


def test_readings_and_health_keep_their_periods_for_four_weeks():
    def scenario(device):
        for week in WEEKS:
            device.run(WEEK, STEP)
            found = device.take_messages()
            assert near(len(found["sensor/level"]), WEEK // (2 * HOUR)), week
            assert near(len(found["sensor/flat"]), 7), week  # one each `max_silence`
            assert near(len(found["sensor/door"]), 7), week
            assert near(len(found["health"]), WEEK // HOUR), week
            uptime = json.loads(found["health"][-1])["uptime"]
            assert abs(uptime - device.now // 1000) <= HOUR // 1000 + 1, week

    on_device(scenario)


def press(device, pin, level, ms):
    pin.set(level)
    device.run(ms)


def test_pulses_and_presses_are_seen_after_idle_weeks():
    def scenario(device):
        for week in WEEKS:
            device.run(WEEK, STEP)
            device.take_messages()
            for _ in range(3):
                press(device, device.pins.meter, 0, 40)
                press(device, device.pins.meter, 1, 40)
            press(device, device.pins.door, 1, 500)
            press(device, device.pins.door, 0, 500)
            device.run(3 * HOUR, STEP // 4)
            found = device.take_messages()
            assert found["sensor/rain/count"][-1] == b"%d" % (3 * week), week
            presses = [level for level in found["sensor/door"] if level == b"ON"]  # it is also reported daily
            assert len(presses) == 1 and found["sensor/door"][-1] == b"OFF", week

    on_device(scenario)


def test_the_limits_of_a_pump_hold_after_idle_weeks():
    def scenario(device):
        pump = device.pins.outputs["pump"]
        for week in WEEKS:
            device.run(WEEK, STEP)
            device.command(b"ON")
            assert pump.level == 1, week
            device.run(2 * HOUR - 2000, 60_000)
            assert pump.level == 1, week
            device.run(60_000)
            assert pump.level == 0, week  # max_on
            device.command(b"ON")
            assert pump.level == 0, week  # min_off
            device.run(HOUR, 60_000)
            device.command(b"ON")
            assert pump.level == 1, week
            device.command(b"OFF")

    on_device(scenario)


def test_a_pump_stays_off_for_min_off_after_each_start_but_a_wake_from_deep_sleep():
    """The time when it went off is lost. It may have been on until a power cut of a second."""
    causes = ("power on", "reset", "watchdog", "soft reset", "unknown", None, "deep sleep") if OFFSETS else ()
    for cause in causes:
        pins = Pins()
        if cause:
            pins.reset_cause = lambda cause=cause: cause
        device = Device(0, pins)
        try:
            pump = pins.outputs["pump"]
            device.run(10_000)
            device.command(b"ON")
            assert pump.level == (cause == "deep sleep"), cause
            device.run(HOUR - 200_000, 60_000)
            device.command(b"ON")
            assert pump.level == (cause == "deep sleep"), cause
            device.run(240_000, 60_000)
            device.command(b"ON")
            assert pump.level, cause
        finally:
            device.close()


def test_a_pump_is_safe_while_the_device_is_offline_for_weeks():
    def scenario(device):
        outputs = device.pins.outputs
        device.run(HOUR, 60_000)  # `min_off` counts from the start
        for week in WEEKS[:2]:
            device.command(b"ON")
            device.command(b"ON", "switch/valve")
            assert outputs["pump"].level == 1 and outputs["valve"].level == 1, week
            device.sim.broker_listens = False
            device.run(HOUR - 10_000, 1000)
            assert outputs["pump"].level == 1, week
            device.run(20_000)
            assert outputs["pump"].level == 0, week
            device.run(WEEK, STEP)
            assert outputs["pump"].level == 0 and outputs["valve"].level == 1, week  # it holds its state
            device.sim.broker_listens = True
            device.run(120_000)

    on_device(scenario)


def test_after_offline_weeks_everything_is_published_at_once():
    def scenario(device):
        for weeks in WEEKS[:3]:
            device.sim.broker_listens = False
            device.run(weeks * WEEK, STEP)
            device.sim.broker_listens = True
            device.run(120_000)
            found = device.take_messages()
            for topic in ("sensor/level", "sensor/flat", "sensor/door", "sensor/rain/count", "health"):
                assert topic in found, (weeks, topic)
            readings = []
            for payload in found["backlog"]:
                readings += json.loads(payload)
            assert len(readings) == 50, weeks

    # a discovery message would let the device publish everything again
    on_device(scenario, discovery=None)


def test_after_offline_weeks_a_device_without_backlog_publishes_unchanged_readings():
    def scenario(device):
        device.sim.broker_listens = False
        device.run(WEEK, STEP)
        device.sim.broker_listens = True
        device.run(120_000)
        found = device.take_messages()
        assert found["sensor/flat"] == [b"1.00"] and found["sensor/level"] == [b"1.00"]

    on_device(scenario, discovery=None, backlog={"keep": 0})


def test_the_age_of_readings_without_a_clock_is_known_after_weeks():
    from app import backlog
    from app.node import telemetry

    def scenario(device):
        set_at = None

        def unix_time():
            return 1_800_000_000 + (device.now - set_at) // 1000 if set_at is not None else 0

        backlog.unix_time = telemetry.unix_time = unix_time
        device.run(WEEK, STEP)
        device.sim.broker_listens = False
        device.run(10 * HOUR, STEP // 4)
        set_at = device.now
        device.sim.broker_listens = True
        device.run(300_000)
        found = device.take_messages()
        assert not [topic for topic in found if topic.endswith("/error")]
        times = []
        for payload in found["backlog"]:
            times += [reading[1] for reading in json.loads(payload)]
        assert len(times) >= 16 and None not in times
        assert 1_800_000_000 - 36_000 <= min(times) < 1_800_000_000 - 28_000
        assert max(times) <= 1_800_000_000

    on_device(scenario)


def test_a_sensor_that_works_again_after_a_week_is_published_at_once():
    def scenario(device):
        device.pins.voltage = None
        device.run(WEEK, STEP)
        device.pins.voltage = 1.1  # within the dead band of the last reading
        device.take_messages()
        device.run(3 * HOUR, STEP)
        assert b"1.10" in device.take_messages()["sensor/flat"]

    on_device(scenario)
