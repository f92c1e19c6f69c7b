"""Simulated `network`: a Wi-Fi station, as MicroPython documents it.

The file `wlan` has the access point as JSON: `ssid` and `password` (if absent, any is accepted), `up`
(whether it is in range), `delay` (ms until a station is connected), `rssi` (dBm), `dhcp` (false: it assigns
no address), `hangs` (true: the radio stays in the state "connecting" until it is switched off), `raises`
(texts of the OSError that methods raise, by name, or a number for the RuntimeError of an unknown error).

The numbers are those of ports/esp32/modnetwork_globals.h, and of extmod/modnetwork.c with
lib/cyw43-driver/src/cyw43.h. The states are those of ports/esp32/network_wlan.c and of
lib/cyw43-driver/src/cyw43_lwip.c (cyw43_tcpip_link_status). The exceptions are those of
ports/esp32/network_common.c.
"""

from time import ticks_diff, ticks_ms

import machine
import simulated_io
from simulated_io import RP2

STA_IF = 0
AP_IF = 1
STAT_IDLE, STAT_CONNECTING, STAT_GOT_IP = (0, 1, 3) if RP2 else (1000, 1001, 1010)
STAT_NO_AP_FOUND, STAT_WRONG_PASSWORD = (-2, -3) if RP2 else (201, 202)
STAT_CONNECT_FAIL = -1 if RP2 else 203
_STAT_NO_ADDRESS = 2 if RP2 else STAT_CONNECTING  # CYW43_LINK_NOIP has no constant in Python
if not RP2:
    STAT_BEACON_TIMEOUT, STAT_ASSOC_FAIL, STAT_HANDSHAKE_TIMEOUT = 200, 203, 204
    STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY = 210
    STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD, STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD = 211, 212

_hostname = ["mpy-" + simulated_io.CHIP]
_country = ["XX"]


def hostname(name=None):
    if name is None:
        return _hostname[0]
    if len(name) > 32:
        raise ValueError("name too long")
    _hostname[0] = name


def country(code=None):
    if code is None:
        return _country[0]
    _country[0] = code


def ipconfig(param):
    if param != "dns":
        raise ValueError("unexpected key")
    return WLAN().ifconfig()[3]


_PARAMETERS = (
    "antenna",
    "channel",
    "ssid",
    "essid",
    "security",
    "key",
    "password",
    "pm",
    "txpower",
    "hostname",
)
if not RP2:
    _PARAMETERS += ("mac", "hidden", "bandwidth", "max_clients", "reconnects", "protocol")


class WLAN:
    IF_STA, IF_AP = STA_IF, AP_IF
    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = (16, 10555714, 17) if RP2 else (0, 1, 2)

    _active = False
    _wanted = None  # (ssid, password) to connect to
    _since = 0
    _joined = False
    _is_hanging = False
    _config: dict = {}

    def __init__(self, interface_id=STA_IF):
        if interface_id != STA_IF:
            raise ValueError("only the station is simulated")

    # the state is in the class, because all objects share one radio

    def active(self, on=None):
        if on is None:
            return WLAN._active
        self._raise("active")
        if on and not WLAN._active:
            # cyw43_wifi_set_up in lib/cyw43-driver/src/cyw43_ctrl.c; the default of esp_wifi_set_ps
            WLAN._config["pm"] = WLAN.PM_PERFORMANCE
        WLAN._active = bool(on)
        if not on:
            WLAN._wanted, WLAN._joined = None, False
            WLAN._is_hanging = False

    if RP2:

        def deinit(self):
            self._raise("deinit")
            WLAN._active = WLAN._joined = WLAN._is_hanging = False
            WLAN._wanted = None

    def _raise(self, name):
        error = (simulated_io.read_json("wlan") or {}).get("raises", {}).get(name)
        if isinstance(error, int):
            raise RuntimeError("Wifi Unknown Error 0x%04x" % error)
        if error:
            raise OSError(error)

    def connect(self, ssid=None, key=None, **more):
        self._raise("connect")
        if not WLAN._active:
            raise OSError(1) if RP2 else OSError("Wifi Not Started")
        WLAN._wanted = (ssid, key or "")
        WLAN._since = ticks_ms()
        WLAN._joined = False

    def disconnect(self):
        self._raise("disconnect")
        WLAN._wanted, WLAN._joined = None, False

    def _update(self):
        """Update the connection from the file, and return the status."""
        machine._interrupts()
        access_point = simulated_io.read_json("wlan") or {}
        if WLAN._wanted is None:
            return STAT_IDLE
        WLAN._is_hanging = WLAN._is_hanging or access_point.get("hangs", False)
        if WLAN._is_hanging:
            return STAT_CONNECTING
        ssid, password = WLAN._wanted
        if not access_point.get("up", True) or ssid != access_point.get("ssid", ssid):
            if WLAN._joined:  # the radio tries to reconnect by itself
                WLAN._joined, WLAN._since = False, ticks_ms()
            return STAT_NO_AP_FOUND
        if password != access_point.get("password", password):
            WLAN._joined = False
            return STAT_WRONG_PASSWORD
        if ticks_diff(ticks_ms(), WLAN._since) < access_point.get("delay", 100):
            return STAT_CONNECTING
        if not access_point.get("dhcp", True):
            return _STAT_NO_ADDRESS
        WLAN._joined = True
        return STAT_GOT_IP

    def isconnected(self):
        self._raise("isconnected")
        return self._update() == STAT_GOT_IP

    def status(self, param=None):
        self._raise("status")
        found = self._update()
        if param is None:
            return found
        if param != "rssi":
            raise ValueError("unknown status param")
        if found != STAT_GOT_IP and (simulated_io.read_json("wlan") or {}).get("dhcp", True):
            if RP2:
                return 0
            raise OSError("Wifi Not Connected")
        return (simulated_io.read_json("wlan") or {}).get("rssi", -60)

    def ifconfig(self, addresses=None):
        if addresses is not None:
            return None
        if self.isconnected():
            return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")
        return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")

    def config(self, *param, **settings):
        if settings:
            if param:
                raise TypeError("either pos or kw args are allowed")
            self._raise("config")
            for name in settings:
                if name not in _PARAMETERS:
                    raise ValueError("unknown config param")
            WLAN._config.update(settings)
            return None
        (name,) = param
        if name == "mac":
            return machine.unique_id()[:6]
        if name in ("ssid", "essid"):
            return WLAN._wanted[0] if WLAN._wanted else ""
        if name in WLAN._config:
            return WLAN._config[name]
        raise ValueError("unknown config param")

    def scan(self):
        access_point = simulated_io.read_json("wlan") or {}
        if not access_point.get("up", True) or "ssid" not in access_point:
            return []
        return [(access_point["ssid"].encode(), b"\0" * 6, 1, access_point.get("rssi", -60), 3, False)]
