"""`umqtt5.wifi`: joining a network, retries, rejoining after a loss, drivers that fail, causes and advice."""

import builtins
import sys

from umqtt5 import wifi

WRAP = 1 << 30  # ticks wrap here on a board


class Wlan:
    """The methods of `network.WLAN` that `Wifi` uses. The state is in the class: there is one radio."""

    def __init__(self, interface):
        assert interface == "station"
        Wlan.last = self

    @classmethod
    def power_up(cls):
        """Set the state as after a reset of the board."""
        cls.joined = cls.on = False
        cls.tries = []
        cls.current = 0  # result of `status()`
        cls.settings = {}
        cls.unknown = ()  # names that `config` does not know
        cls.failing = {}  # exceptions that methods raise, by name
        cls.switched = []  # arguments of `active`
        cls.static = None  # argument of `ifconfig`

    def _call(self, name):
        if name in Wlan.failing:
            raise Wlan.failing[name]

    def active(self, on):
        Wlan.switched.append(on)
        self._call("active")
        Wlan.on = on

    def ifconfig(self, *addresses):
        self._call("ifconfig")
        if addresses:
            assert Wlan.on and not Wlan.tries, "it would be too late"
            Wlan.static = addresses[0]
            return None
        return ("10.0.0.2", "255.255.255.0", "10.0.0.1", "10.0.0.1")

    def config(self, **settings):
        self._call("config")
        for name in settings:
            if name in self.unknown:
                raise ValueError("unknown config param")
        assert Wlan.on and not Wlan.tries, "it would be too late"
        Wlan.settings.update(settings)

    def connect(self, ssid, password):
        self._call("connect")
        assert self.on
        self.tries.append((ssid, password))

    def disconnect(self):
        self._call("disconnect")
        Wlan.joined = False

    def isconnected(self):
        self._call("isconnected")
        return self.joined

    def status(self, name=None):
        self._call("status")
        if name:
            self._call("rssi")
            return -60
        return self.current


class Esp32Wlan(Wlan):
    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = 0, 1, 2


class Rp2Wlan(Wlan):
    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = 16, 10555714, 17

    def deinit(self):
        self._call("deinit")
        Wlan.switched.append("deinit")


class Network:
    STA_IF = "station"
    WLAN = Wlan
    names: dict = {}  # arguments of `hostname` and `country`

    @staticmethod
    def hostname(name):
        assert not Wlan.on, "it would be too late"
        Network.names["hostname"] = name

    @staticmethod
    def country(code):
        assert not Wlan.on, "it would be too late"
        Network.names["country"] = code


class Esp32(Network):
    """The constants of ports/esp32/modnetwork_globals.h."""

    WLAN = Esp32Wlan
    STAT_IDLE, STAT_CONNECTING, STAT_GOT_IP = 1000, 1001, 1010
    STAT_BEACON_TIMEOUT, STAT_NO_AP_FOUND, STAT_WRONG_PASSWORD = 200, 201, 202
    STAT_ASSOC_FAIL = STAT_CONNECT_FAIL = 203
    STAT_HANDSHAKE_TIMEOUT = 204
    STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY = 210
    STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD = 211
    STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD = 212


class Rp2(Network):
    """The constants of extmod/modnetwork.c for the CYW43."""

    WLAN = Rp2Wlan
    STAT_IDLE, STAT_CONNECTING, STAT_GOT_IP = 0, 1, 3
    STAT_CONNECT_FAIL, STAT_NO_AP_FOUND, STAT_WRONG_PASSWORD = -1, -2, -3


class Clock:
    now = 0


def difference(a, b):
    """The function `ticks_diff` of a board."""
    return (a - b + WRAP // 2) % WRAP - WRAP // 2


def joined(config, network=Network):
    """Return the `Wifi` of a device with this config, with the simulated `network` module and clock."""
    Wlan.power_up()
    sys.modules["network"] = network
    wifi.ticks_ms = lambda: Clock.now % WRAP
    wifi.ticks_diff = difference
    made = wifi.Wifi(**config)
    made.prefix = "wifi."
    made.on_status = lambda text: print(text)  # `print` is replaced later
    return made


HOME = {"ssid": "home", "password": "a secret"}


def run(here, seconds, is_online=True):
    """Call `poll` every 500 ms; returns the last result."""
    for _ in range(2 * seconds):
        Clock.now += 500
        up = here.poll(is_online)
    return up


def printed_by(function, *arguments):
    """Return the lines that a call prints."""
    lines = []
    real_print = builtins.print
    builtins.print = lambda *words: lines.append(" ".join(map(str, words)))
    try:
        function(*arguments)
    finally:
        builtins.print = real_print
    return lines


def test_on_a_computer_without_a_radio_the_network_counts_as_connected():
    saved = sys.modules.pop("network", None)
    try:
        here = wifi.Wifi("home", "password", hostname="board")
        assert here.is_connected and here.poll() and here.wait(0)
        assert here.status == "connected by the computer"
        here.stop()
        assert here.poll()
    finally:
        if saved:
            sys.modules["network"] = saved


def test_ensure_connected_joins_once_and_reports_the_connection():
    here = joined(HOME)
    assert not here.poll()
    assert Wlan.last.tries == [("home", "a secret")]
    Wlan.joined = True
    assert here.poll() and here.poll()
    assert Wlan.last.tries == [("home", "a secret")]


def test_an_unreachable_network_is_retried_every_20_s():
    here = joined(HOME)
    for _ in range(65):
        Clock.now += 1000
        assert not here.poll()
    assert len(Wlan.last.tries) == 4  # at once, and every 20 s


def test_after_a_loss_the_driver_has_20_s_to_rejoin():
    here = joined(HOME)
    here.poll()
    Clock.now += 100_000
    Wlan.joined = True
    assert here.poll()
    Wlan.joined = False  # the Wi-Fi driver gets 20 s to rejoin by itself
    Clock.now += 1000
    assert not here.poll()
    assert len(Wlan.last.tries) == 1
    Clock.now += 21_000
    assert not here.poll()
    assert len(Wlan.last.tries) == 2


# ---- drivers that fail


def test_a_driver_that_raises_is_retried_after_a_pause():
    for error in (OSError("Wifi Internal Error"), RuntimeError("Wifi Unknown Error 0x3012"), MemoryError()):
        for method in ("connect", "active", "isconnected"):
            here = joined(HOME)
            Wlan.failing = {method: error}
            assert not run(here, 60)
            Wlan.failing = {}
            Wlan.tries.clear()
            run(here, 26)
            assert Wlan.on and Wlan.tries
            Wlan.joined = True
            assert run(here, 1)


def test_status_and_disconnect_and_ifconfig_may_fail_without_an_effect_on_the_retries():
    for method in ("status", "ifconfig", "config"):
        here = joined(HOME)
        Wlan.failing = {method: OSError("Wifi Internal State Error")}
        run(here, 65)
        assert len(Wlan.tries) == 4
        Wlan.joined = True
        assert run(here, 1)
    here = joined(HOME)
    Wlan.failing = {"disconnect": OSError("Wifi Not Started")}
    run(here, 300)
    assert len(Wlan.tries) > 6


def test_a_driver_that_raises_is_not_called_without_a_pause():
    here = joined(HOME)
    Wlan.failing = {"active": OSError("Wifi Internal Error")}
    run(here, 600)
    assert 60 <= len(Wlan.switched) <= 150


def test_a_radio_that_hangs_is_switched_off_and_on():
    for network, off in ((Esp32, [True, False]), (Rp2, [True, False, "deinit"])):
        here = joined(HOME, network)
        Wlan.current = network.STAT_CONNECTING
        run(here, 130)
        assert Wlan.switched == off + [True], Wlan.switched
        run(here, 600)
        assert Wlan.switched[: 2 * len(off)] == off + off
        Wlan.joined = True
        assert run(here, 1)


def test_a_radio_that_only_seems_to_be_connected_is_switched_off_and_on_after_ten_minutes():
    here = joined(HOME, Rp2)
    here.poll()
    Wlan.joined = True
    assert run(here, 5)
    for days in (0, 6, 12):
        Clock.now += days * 86400000
        assert run(here, 2) and Wlan.switched == [True]
        assert run(here, 590, False) and Wlan.switched == [True]
        assert run(here, 5) and run(here, 590, False)  # the broker was reached meanwhile
    run(here, 20, False)
    assert Wlan.switched == [True, False, "deinit", True] and len(Wlan.tries) == 2
    Wlan.joined = True
    assert run(here, 1)


def test_a_radio_that_cannot_be_switched_on_loses_its_power_for_a_moment():
    here = joined(HOME, Rp2)
    Wlan.failing = {"active": OSError(5)}
    run(here, 60)
    assert "deinit" in Wlan.switched


def test_the_radio_may_fail_when_it_is_switched_off():
    here = joined(HOME, Rp2)
    assert not here.poll()
    Wlan.failing = {
        name: OSError("Wifi Internal Error") for name in ("disconnect", "active", "deinit", "connect")
    }
    assert not run(here, 600)
    here.stop()
    Wlan.failing = {}
    run(here, 30)
    assert Wlan.tries


def test_while_it_fails_the_state_stays_the_same_size():
    here = joined(HOME)
    for i in range(40):
        Wlan.failing = {"connect": OSError("error %d" % i)}
        run(here, 10)
    assert len(here.reported) <= 8


def test_a_loss_after_any_up_time_is_retried_after_20_s():
    for days in (0, 1, 5, 6, 7, 12, 13, 30):
        here = joined(HOME)
        here.poll()
        Wlan.joined = True
        assert run(here, 5)
        Clock.now += days * 86400000
        Wlan.joined = False
        run(here, 15)
        assert len(Wlan.tries) == 1
        run(here, 7)
        assert len(Wlan.tries) == 2


def test_an_exception_after_any_up_time_is_retried():
    for days in (0, 1, 5, 6, 7, 12, 13, 30):
        here = joined(HOME)
        here.poll()
        Wlan.joined = True
        assert run(here, 5)
        Clock.now += days * 86400000
        Wlan.failing = {"isconnected": OSError("Wifi Internal Error")}
        run(here, 1)
        Wlan.failing = {}
        Wlan.joined = False
        run(here, 6)
        assert len(Wlan.tries) == 2


# ---- causes and settings


def test_each_cause_has_its_own_line():
    for network, status, words in (
        (Esp32, 202, "home refuses the password. Check wifi.password"),
        (Esp32, 204, "home refuses the password. Check wifi.password"),
        (Esp32, 15, "home refuses the password. Check wifi.password"),
        (Esp32, 201, "home was not found. Check wifi.ssid and the reception"),
        (Esp32, 212, "home was not found. Check wifi.ssid and the reception"),
        (Esp32, 210, "home uses another kind of security"),
        (Esp32, 211, "home uses another kind of security"),
        (Esp32, 200, "the access point of home does not answer"),
        (Esp32, 203, "cannot join home (status 203)"),
        (Esp32, 2, "cannot join home (status 2)"),
        (Esp32, 1001, "joined home, but got no address. Check the DHCP server"),
        (Rp2, -3, "home refuses the password. Check wifi.password"),
        (Rp2, -2, "home was not found. Check wifi.ssid and the reception"),
        (Rp2, -1, "cannot join home (status -1)"),
        (Rp2, 1, "cannot join home (status 1)"),
        (Rp2, 2, "joined home, but got no address. Check the DHCP server"),
    ):
        here = joined(HOME, network)
        Wlan.current = status
        lines = printed_by(run, here, 100)
        assert len(lines) == 1 and lines[0].startswith("Wi-Fi: " + words), (status, lines)


def test_an_esp32_that_is_still_connecting_has_joined_only_if_the_signal_can_be_measured():
    here = joined(HOME, Esp32)
    Wlan.current = 1001
    Wlan.failing = {"rssi": OSError("Wifi Not Connected")}
    lines = printed_by(run, here, 100)
    assert len(lines) == 1 and lines[0].startswith("Wi-Fi: cannot join home (status 1001)")


def test_a_cause_is_printed_once_and_again_after_a_connection():
    here = joined(HOME, Rp2)
    Wlan.current = -2

    def change():
        run(here, 50)
        Wlan.current = -3
        run(here, 40)
        Wlan.current = -2
        run(here, 20)

    assert [line[7:26] for line in printed_by(change)] == ["home was not found.", "home refuses the pa"]

    def come_back():
        Wlan.joined = True
        run(here, 5)
        Wlan.joined = False
        run(here, 30)

    lines = printed_by(come_back)
    assert lines[0].startswith("Wi-Fi: connected") and lines[1] == "Wi-Fi: connection lost"
    assert len(lines) == 3 and lines[2].startswith("Wi-Fi: home was not found")


def test_an_exception_is_printed_once():
    here = joined(HOME)
    Wlan.failing = {"connect": OSError("Wifi Internal Error")}
    lines = printed_by(run, here, 20)
    assert lines == ["Wi-Fi: the radio fails with OSError: Wifi Internal Error. The device tries again"]


def test_the_code_of_the_texts_is_unloaded():
    here = joined(HOME, Rp2)
    Wlan.current = -2
    run(here, 100)
    assert "umqtt5.optional.wifi_radio" not in sys.modules


def test_power_save_is_set_before_joining_whether_true_or_false():
    for network in (Esp32, Rp2):
        for setting, name in ((None, "PM_NONE"), (False, "PM_NONE"), (True, "PM_POWERSAVE")):
            config = {"ssid": "home", "password": "", "power_save": setting}
            here = joined(config if setting is not None else HOME, network)
            here.poll()
            assert Wlan.settings["pm"] == getattr(network.WLAN, name)
            here.stop()  # for a light sleep, which sets the radio back to its default
            Wlan.settings.clear()
            Wlan.tries.clear()
            here.poll()
            assert Wlan.settings["pm"] == getattr(network.WLAN, name)


def test_a_port_without_these_settings_joins():
    here = joined(HOME, Rp2)
    Wlan.unknown = ("pm", "reconnects")
    here.poll()
    assert Wlan.tries and not Wlan.settings


# ---- options of the library


def home(**options):
    """Return the arguments of `Wifi` for the network "home" with these options."""
    options.update(HOME)
    return options


def test_hostname_country_and_address_are_set_before_joining():
    address = ("192.168.1.50", "255.255.255.0", "192.168.1.1", "192.168.1.1")
    for network in (Esp32, Rp2):
        Network.names.clear()
        here = joined(home(hostname="greenhouse", country="DE", address=address), network)
        assert not here.poll()
        assert Network.names == {"hostname": "greenhouse", "country": "DE"}
        assert Wlan.static == address and len(Wlan.tries) == 1


def test_an_address_that_the_driver_refuses_is_retried():
    address = ("192.168.1.50", "255.255.255.0", "192.168.1.1", "192.168.1.1")
    here = joined(home(address=address), Esp32)
    Wlan.failing = {"ifconfig": OSError("Wifi Invalid Argument")}
    run(here, 20)
    assert not Wlan.tries and "Wifi Invalid Argument" in here.status
    Wlan.failing = {}
    run(here, 6)
    assert Wlan.tries and Wlan.static == address


def test_several_networks_are_tried_in_turn_for_10_s_each():
    here = joined({"ssid": [("home", "a secret"), ("office", "another one"), ("cafe", "")]}, Rp2)
    Wlan.current = -2
    run(here, 35)
    assert [ssid for ssid, _ in Wlan.tries] == ["home", "office", "cafe", "home"]
    assert here.status.startswith("cafe was not found")
    Wlan.joined = True
    assert run(here, 1) and here.status == "connected, address 10.0.0.2"
    Wlan.joined = False  # after a loss, the driver has time to rejoin, then all are tried again
    run(here, 50)
    assert [ssid for ssid, _ in Wlan.tries][4:] == ["office", "cafe", "home"]


def test_the_status_of_each_of_several_networks_is_reported_once():
    here = joined({"ssid": [("home", "a secret"), ("office", "another one")]}, Rp2)
    Wlan.current = -2
    lines = [line for line in printed_by(run, here, 55) if "was not found" in line]
    assert [line.split()[1] for line in lines] == ["home", "office"]


def test_the_status_is_in_words():
    here = joined(HOME, Rp2)
    heard = []
    here.on_status = heard.append
    assert here.status == "off"
    here.poll()
    assert here.status == "joining home" and heard == []
    Wlan.current = -3
    run(here, 30)
    assert here.status == "home refuses the password. Check wifi.password, capital letters too"
    Wlan.joined = True
    run(here, 1)
    Wlan.joined = False
    run(here, 1)
    assert heard[1:] == ["Wi-Fi: connected, address 10.0.0.2", "Wi-Fi: connection lost"]
    here.stop()
    assert here.status == "off"


def test_a_callback_that_raises_is_no_failure_of_the_radio():
    here = joined(HOME)

    def fail(status):
        raise ValueError(status)

    here.on_status = fail
    here.poll()
    Wlan.joined = True
    lines = printed_by(run, here, 1)
    assert here.is_connected and len(lines) == 1


def test_wait_returns_when_the_network_is_connected_or_after_the_timeout():
    here = joined(HOME)
    real_sleep = wifi.sleep_ms
    joins_at = 3000

    def sleep(ms):
        Clock.now += ms
        Wlan.joined = Clock.now - began_at >= joins_at

    wifi.sleep_ms = sleep
    try:
        began_at = Clock.now
        assert not here.wait(1000) and 1000 <= Clock.now - began_at <= 1100
        assert here.wait() and 3000 <= Clock.now - began_at <= 3100
    finally:
        wifi.sleep_ms = real_sleep


def test_wrong_arguments_are_refused():
    for arguments, word in (
        (("",), "ssid"),
        (("x" * 33,), "ssid"),
        (([],), "ssid"),
        (("home", "short"), "password of home"),
        (("home", "x" * 65), "password of home"),
    ):
        assert word in refusal(*arguments)
    for options, word in (
        ({"country": "Germany"}, "country"),
        ({"hostname": "x" * 33}, "hostname"),
        ({"address": "192.168.1.50"}, "address"),
        ({"channel": 3}, "channel"),
    ):
        assert word in refusal("home", "a secret", **options)


def refusal(*arguments, **options):
    sys.modules["network"] = Network
    try:
        wifi.Wifi(*arguments, **options)
    except (TypeError, ValueError) as error:
        return str(error)
    raise AssertionError(arguments)
