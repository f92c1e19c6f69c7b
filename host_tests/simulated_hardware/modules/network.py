"""Simulated `network`: a Wi-Fi station, as MicroPython documents it.

The file `wlan` has the access point as JSON: `ssid` and `password` (if absent, any is accepted), `up`
(whether it is in range), `delay` (ms until a station is connected), `rssi` (dBm).
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
if not RP2:
    STAT_BEACON_TIMEOUT, STAT_ASSOC_FAIL, STAT_HANDSHAKE_TIMEOUT = 200, 203, 204

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


class WLAN:
    IF_STA, IF_AP = STA_IF, AP_IF
    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = (16, 10555714, 17) if RP2 else (0, 1, 2)

    _active = False
    _wanted = None  # (ssid, password) to connect to
    _since = 0
    _joined = False
    _config: dict = {}

    def __init__(self, interface_id=STA_IF):
        if interface_id != STA_IF:
            raise ValueError("only the station is simulated")

    # the state is in the class, because all objects share one radio

    def active(self, on=None):
        if on is None:
            return WLAN._active
        WLAN._active = bool(on)
        if not on:
            WLAN._wanted, WLAN._joined = None, False

    def connect(self, ssid=None, key=None, **more):
        if not WLAN._active:
            raise OSError("Wifi Not Started")
        WLAN._wanted = (ssid, key or "")
        WLAN._since = ticks_ms()
        WLAN._joined = False

    def disconnect(self):
        WLAN._wanted, WLAN._joined = None, False

    def _update(self):
        """Update the connection from the file, and return the status."""
        machine._interrupts()
        access_point = simulated_io.read_json("wlan") or {}
        if WLAN._wanted is None:
            return STAT_IDLE
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
        WLAN._joined = True
        return STAT_GOT_IP

    def isconnected(self):
        return self._update() == STAT_GOT_IP

    def status(self, param=None):
        found = self._update()
        if param is None:
            return found
        if param != "rssi":
            raise ValueError("unknown status param")
        if found != STAT_GOT_IP:
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
