"""The sleep cycle: when the device sleeps, and for how long, also after an actuator was on for weeks."""

from long_uptime import DAY, HOUR, PERIOD, ticks_add, ticks_diff

from app import power
from app.power import SleepCycle


class Subscriptions:
    has_pending = False


class Outbox:
    count = 0


class Client:
    """The part of the client that the sleep cycle reads; it is also its own session."""

    is_connected = True
    messages_received = pending_acks = pending_subacks = 0
    outbox = Outbox()
    subscriptions = Subscriptions()

    def __init__(self):
        self.session = self

    def disconnect(self, reason=0):
        pass


class Harness:
    """A cycle in mode `light` with 300 s from wake to wake, on ticks that wrap around."""

    def __init__(self, start):
        self.now = start
        self.slept = 0
        power.ticks_ms = lambda: self.now % PERIOD
        power.ticks_diff, power.ticks_add = ticks_diff, ticks_add
        config = {"mode": "light", "period": 300, "awake": 30, "linger": 0.5}
        self.client = Client()
        self.cycle = SleepCycle(self.client, self, config, (), start % PERIOD)

    def light_sleep(self, ms):
        assert 0 < ms <= 5000
        self.slept += ms
        self.now += ms

    def should_sleep(self, active=False, ms=0, step=1000):
        """Let time pass while the loop runs; returns the last result."""
        ends = self.now + ms
        while True:
            result = self.cycle.should_sleep(self.now % PERIOD, True, active)
            if self.now >= ends or result:
                return result
            self.now += step


def test_the_device_sleeps_for_the_rest_of_its_period():
    harness = Harness(PERIOD - 1000)
    assert not harness.should_sleep(ms=400, step=100)
    assert harness.should_sleep(ms=200, step=100) and harness.cycle.delivered
    harness.cycle.sleep(lambda: None, None)
    assert harness.slept == 299_500
    assert not harness.should_sleep()  # a new cycle has begun
    harness.client.is_connected = False
    assert harness.should_sleep(ms=60_000) and not harness.cycle.delivered
    assert harness.now == PERIOD - 1000 + 300_000 + 30_000


def test_the_device_sleeps_after_an_actuator_was_on_for_weeks():
    for start in (0, PERIOD // 2, PERIOD - DAY):
        for days in range(1, 26, 3):
            harness = Harness(start)
            assert not harness.should_sleep(active=True, ms=days * DAY, step=HOUR)
            assert not harness.should_sleep(), days  # the end of it has to be published
            assert harness.should_sleep(ms=1000, step=100) and harness.cycle.delivered, days
            harness.cycle.sleep(lambda: None, None)
            assert harness.slept == 1000, days  # the shortest sleep, because its period is over
            metrics = {}
            harness.cycle.add_metrics(metrics)
            assert metrics["awake"] >= min(days * DAY, 0x3FFFFFFF)


def test_the_loop_waits_while_only_an_actuator_keeps_the_device_awake():
    for linger in (500, 0):
        harness = Harness(0)
        harness.cycle._linger = linger
        assert not harness.should_sleep(active=True, ms=10_000)
        assert (
            harness.cycle.next_check(harness.now % PERIOD) >= 100
        )  # without rest, it would drain the battery
