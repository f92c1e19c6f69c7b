import sys

from app.node import wifi


class Wlan:
    """`network.WLAN` as far as it is documented and used: a station that joins when it is in reach."""

    def __init__(self, interface):
        assert interface == "station"
        Wlan.last = self
        self.joined = False
        self.tries = []

    def active(self, on):
        self.on = on

    def connect(self, ssid, password):
        assert self.on
        self.tries.append((ssid, password))

    def disconnect(self):
        self.joined = False

    def isconnected(self):
        return self.joined

    def ifconfig(self):
        return ("10.0.0.2", "255.255.255.0", "10.0.0.1", "10.0.0.1")


class Network:
    STA_IF = "station"
    WLAN = Wlan


class Clock:
    now = 0


def joined(config):
    """A `Wifi` with the stand-in and a clock of its own."""
    sys.modules["network"] = Network
    wifi.ticks_ms = lambda: Clock.now
    wifi.ticks_diff = lambda a, b: a - b
    return wifi.Wifi(config)


def test_without_wifi_the_network_is_taken_as_it_is():
    assert joined(None).ensure_connected()


def test_it_joins_and_tells_when_it_is_in():
    here = joined({"ssid": "home", "password": "secret"})
    assert not here.ensure_connected()
    assert Wlan.last.tries == [("home", "secret")]
    Wlan.last.joined = True
    assert here.ensure_connected() and here.ensure_connected()
    assert Wlan.last.tries == [("home", "secret")]


def test_a_network_that_does_not_answer_is_tried_again_but_not_all_the_time():
    here = joined({"ssid": "home", "password": "secret"})
    for _ in range(65):
        Clock.now += 1000
        assert not here.ensure_connected()
    assert len(Wlan.last.tries) == 4  # at once, and every 20 s


def test_a_network_that_is_lost_gets_its_time_to_come_back():
    here = joined({"ssid": "home", "password": "secret"})
    here.ensure_connected()
    Clock.now += 100_000
    Wlan.last.joined = True
    assert here.ensure_connected()
    Wlan.last.joined = False  # the radio joins again by itself: it is given time
    Clock.now += 1000
    assert not here.ensure_connected()
    assert len(Wlan.last.tries) == 1
    Clock.now += 21_000
    assert not here.ensure_connected()
    assert len(Wlan.last.tries) == 2
