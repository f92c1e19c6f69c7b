"""The hardware watchdog is fed while the main loop runs and the device is online."""

from app.watchdog import Watchdog


class Timer:
    """A `machine.WDT` that counts how often it is fed."""

    def __init__(self, ms):
        assert ms <= 8388  # the maximum of the RP2040
        self.fed = 0

    def feed(self):
        self.fed += 1


def test_the_watchdog_is_fed_until_the_device_is_offline_for_too_long():
    watchdog = Watchdog(Timer, 60000, 0)
    watchdog.run(1000, True)
    assert watchdog._timer.fed == 1
    watchdog.run(60999, False)
    assert watchdog._timer.fed == 2
    watchdog.run(61000, False)  # offline for 60 s: it is not fed and resets the board
    assert watchdog._timer.fed == 2
    watchdog.run(61500, True)
    assert watchdog._timer.fed == 3


def test_with_a_timeout_of_0_the_watchdog_is_fed_while_the_device_is_offline():
    watchdog = Watchdog(Timer, 0, 0)
    watchdog.run(400_000_000, False)
    assert watchdog._timer.fed == 1


def test_sleep_does_not_count_as_time_without_a_connection():
    watchdog = Watchdog(Timer, 60000, 0)
    assert watchdog.run(1000, True)
    for wake in range(1, 6):  # each cycle sleeps for a day, and is awake for 10 s without a connection
        watchdog.exclude(86_400_000)
        now = 1000 + wake * 86_400_000 + (wake - 1) * 10_000
        assert watchdog.run(now, False) and watchdog.run(now + 9_999, False), wake
    assert watchdog.run(now + 19_000, False) and not watchdog.run(now + 20_000, False)
