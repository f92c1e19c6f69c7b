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
