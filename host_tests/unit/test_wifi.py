"""`Wifi`: joining the network, retries every 20 s, rejoining after a loss."""

import sys

from app.node import wifi


class Wlan:
    """The methods of `network.WLAN` that `Wifi` uses; a test sets `joined`."""

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
    """Return a `Wifi` with the simulated `network` module and clock."""
    sys.modules["network"] = Network
    wifi.ticks_ms = lambda: Clock.now
    wifi.ticks_diff = lambda a, b: a - b
    return wifi.Wifi(config)


def test_without_a_wifi_config_the_network_counts_as_connected():
    assert joined(None).connect()


def test_ensure_connected_joins_once_and_reports_the_connection():
    here = joined({"ssid": "home", "password": "secret"})
    assert not here.connect()
    assert Wlan.last.tries == [("home", "secret")]
    Wlan.last.joined = True
    assert here.connect() and here.connect()
    assert Wlan.last.tries == [("home", "secret")]


def test_an_unreachable_network_is_retried_every_20_s():
    here = joined({"ssid": "home", "password": "secret"})
    for _ in range(65):
        Clock.now += 1000
        assert not here.connect()
    assert len(Wlan.last.tries) == 4  # at once, and every 20 s


def test_after_a_loss_the_driver_has_20_s_to_rejoin():
    here = joined({"ssid": "home", "password": "secret"})
    here.connect()
    Clock.now += 100_000
    Wlan.last.joined = True
    assert here.connect()
    Wlan.last.joined = False  # the Wi-Fi driver gets 20 s to rejoin by itself
    Clock.now += 1000
    assert not here.connect()
    assert len(Wlan.last.tries) == 1
    Clock.now += 21_000
    assert not here.connect()
    assert len(Wlan.last.tries) == 2
