"""Simulated `network`: a Wi-Fi station.

Checked against extmod/modnetwork.c, extmod/network_cyw43.c and src/cyw43_ctrl.c of cyw43-driver for the RP2,
and ports/esp32/network_wlan.c, network_common.c and modnetwork_globals.h of MicroPython 1.29.

The file `wlan` has the access point as JSON: `ssid` and `password` (if absent, any is accepted), `up`
(whether it is in range), `delay` (ms until a station is connected), `rssi` (dBm), `dhcp` (false: it assigns
no address), `hangs` (true: the radio stays in the state "connecting" until it is switched off), `reason`
(ESP32: why a wrong password failed, 202 if absent; 15 and 204 are as usual), `raises` (texts of the OSError
that methods raise, by name, or a number for the RuntimeError of an unknown error).
"""

from time import ticks_diff, ticks_ms

import machine
import simulated_io
from simulated_io import RP2

STA_IF = 0
AP_IF = 1
# RP2: CYW43_LINK_... of cyw43-driver; 2, a link without address, has no name
STAT_IDLE, STAT_CONNECTING, STAT_GOT_IP = (0, 1, 3) if RP2 else (1000, 1001, 1010)
STAT_NO_AP_FOUND, STAT_WRONG_PASSWORD = (-2, -3) if RP2 else (201, 202)
STAT_CONNECT_FAIL = -1 if RP2 else 203
_LINK_NOIP = 2
if not RP2:
    STAT_BEACON_TIMEOUT, STAT_ASSOC_FAIL, STAT_HANDSHAKE_TIMEOUT = 200, 203, 204
    STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY = 210
    STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD = 211
    STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD = 212

_hostname = ["PicoW" if RP2 else "mpy-" + simulated_io.CHIP]
_country = ["XX"]

if RP2:
    _SETTINGS = "antenna channel ssid essid monitor security key password pm trace txpower hostname".split()
    _READABLE = "antenna channel ssid essid security mac pm txpower hostname".split()
else:
    _SETTINGS = "mac channel bandwidth hostname dhcp_hostname reconnects txpower protocol pm".split()
    _READABLE = _SETTINGS + ["ssid", "essid", "ifname", "max_clients"]
    _ACCESS_POINT = "ssid essid hidden security authmode key password max_clients".split()


def hostname(name=None):
    """extmod/modnetwork.c mod_network_hostname: at most 32 characters."""
    if name is None:
        return _hostname[0]
    if len(name) > 32:
        raise ValueError()
    _hostname[0] = name


def country(code=None):
    """extmod/modnetwork.c network_country: two characters."""
    if code is None:
        return _country[0]
    if len(code) != 2:
        raise ValueError()
    _country[0] = code


def ipconfig(param):
    """extmod/network_lwip.c mod_network_ipconfig: only the DNS server."""
    if param != "dns":
        raise ValueError("unexpected key")
    return WLAN().ifconfig()[3]


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
        """network_cyw43_make_new, network_wlan_make_new; the access point is not simulated."""
        if interface_id != STA_IF:
            raise ValueError("invalid WLAN interface identifier")

    # the state is in the class, because all objects share one radio

    def active(self, *on):
        """network_cyw43_active returns None if it sets the state, network_wlan_active the new state."""
        if on:
            self._fail("active")
            if on[0] and not WLAN._active:
                # cyw43_wifi_set_up of cyw43-driver; the default of esp_wifi_set_ps
                WLAN._config["pm"] = WLAN.PM_PERFORMANCE
            WLAN._active = bool(on[0])
            if not WLAN._active:
                WLAN._wanted, WLAN._joined, WLAN._is_hanging = None, False, False
            if RP2:
                return None
        return WLAN._active

    if RP2:

        def connect(self, ssid, key=None, *, auth=-1, security=-1, bssid=None, channel=-1):
            """network_cyw43_connect, cyw43_wifi_join and cyw43_ll_wifi_join of cyw43-driver."""
            self._fail("connect")
            if bssid is not None and len(bssid) != 6:
                raise ValueError()
            if not WLAN._active:
                raise OSError(1)  # EPERM
            if len(ssid) > 32 or len(key or "") > 64:
                raise OSError(22)  # EINVAL
            self._join(ssid, key)

        def deinit(self):
            """network_cyw43_deinit: cuts the power of the radio."""
            self._fail("deinit")
            WLAN._active = WLAN._joined = WLAN._is_hanging = False
            WLAN._wanted = None

    else:

        def connect(self, *ssid_and_key, bssid=None):
            """network_wlan_connect: the first two have no names; the driver joins again by itself.

            esp_wifi_set_config of ESP-IDF fails while a connection is in progress.
            """
            self._fail("connect")
            if not WLAN._active:
                raise OSError("Wifi Not Started")
            if WLAN._wanted is not None and self._update() == STAT_CONNECTING:
                raise OSError("Wifi Internal State Error")
            ssid, key = (ssid_and_key + (None, None))[:2]
            self._join((ssid or "")[:32], (key or "")[:64])

    def _join(self, ssid, key):
        WLAN._wanted = (ssid, key or "")
        WLAN._since = ticks_ms()
        WLAN._joined = False

    def disconnect(self):
        self._fail("disconnect")
        if not RP2 and not WLAN._active:
            raise OSError("Wifi Not Started")
        WLAN._wanted, WLAN._joined = None, False

    def _fail(self, name):
        """Raise an exception of ports/esp32/network_common.c esp_exceptions_helper."""
        error = (simulated_io.read_json("wlan") or {}).get("raises", {}).get(name)
        if isinstance(error, int):
            raise RuntimeError("Wifi Unknown Error 0x%04x" % error)
        if error:
            raise OSError(error)

    def _update(self):
        """Update the connection from the file, and return the status.

        RP2: cyw43_tcpip_link_status, cyw43_cb_process_async_event. ESP32: network_wlan_status; some causes of
        a failure are a status at once, the others after the `reconnects` of the driver.
        """
        machine._interrupts()
        access_point = simulated_io.read_json("wlan") or {}
        if WLAN._wanted is None:
            return STAT_IDLE
        WLAN._is_hanging = WLAN._is_hanging or access_point.get("hangs", False)
        if WLAN._is_hanging:
            return STAT_CONNECTING
        ssid, password = WLAN._wanted
        age = ticks_diff(ticks_ms(), WLAN._since)
        if not access_point.get("up", True) or ssid != access_point.get("ssid", ssid):
            if WLAN._joined:  # the radio tries to reconnect by itself
                WLAN._joined, WLAN._since = False, ticks_ms()
            return STAT_NO_AP_FOUND
        if password != access_point.get("password", password):
            WLAN._joined = False
            reason = access_point.get("reason", STAT_WRONG_PASSWORD)
            if not RP2 and reason != STAT_WRONG_PASSWORD:
                retries = WLAN._config.get("reconnects", -1)
                if retries < 0 or age < retries * access_point.get("delay", 100):
                    return STAT_CONNECTING
            return STAT_WRONG_PASSWORD if RP2 else reason
        if age < access_point.get("delay", 100):
            return STAT_CONNECTING
        if not access_point.get("dhcp", True):
            WLAN._joined = False
            return _LINK_NOIP if RP2 else STAT_CONNECTING
        WLAN._joined = True
        return STAT_GOT_IP

    def isconnected(self):
        self._fail("isconnected")
        return self._update() == STAT_GOT_IP

    def status(self, param=None):
        self._fail("status")
        found = self._update()
        if param is None:
            return found
        if param != "rssi":
            raise ValueError("unknown status param")
        if found != STAT_GOT_IP and (simulated_io.read_json("wlan") or {}).get("dhcp", True):
            if RP2:  # cyw43_wifi_get_rssi fails, and the variable was never set
                return 268455681
            raise OSError("Wifi Not Connected")
        return (simulated_io.read_json("wlan") or {}).get("rssi", -60)

    def ifconfig(self, addresses=None):
        """extmod/network_lwip.c mod_network_nic_ifconfig, ports/esp32/network_common.c esp_ifconfig."""
        if addresses is not None:
            return None
        if self.isconnected():
            return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")
        return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")

    def config(self, *param, **settings):
        """network_cyw43_config, network_wlan_config."""
        self._fail("config")
        if settings:
            if param:
                raise TypeError(
                    "can't specify pos and kw args" if RP2 else "either pos or kw args are allowed"
                )
            for name in settings:
                if not RP2 and name in _ACCESS_POINT:
                    raise OSError("AP required")
                if name not in _SETTINGS:
                    raise ValueError("unknown config param")
                WLAN._config[name] = settings[name]
            return None
        if len(param) != 1:
            raise TypeError("must query one param" if RP2 else "can query only one param")
        (name,) = param
        if name not in _READABLE:
            raise ValueError("unknown config param")
        if name == "mac":
            return machine.unique_id()[:6]
        if name in ("ssid", "essid"):
            return WLAN._wanted[0] if WLAN._wanted else ""
        if name in ("hostname", "dhcp_hostname"):
            return _hostname[0]
        return WLAN._config.get(name, {"pm": WLAN.PM_PERFORMANCE, "reconnects": -1}.get(name, 0))

    def scan(self):
        """network_cyw43_scan, network_wlan_scan: takes seconds on a board."""
        if not WLAN._active:
            raise OSError(1) if RP2 else OSError("STA must be active")
        access_point = simulated_io.read_json("wlan") or {}
        if not access_point.get("up", True) or "ssid" not in access_point:
            return []
        last = 1 if RP2 else False
        return [(access_point["ssid"].encode(), b"\0" * 6, 1, access_point.get("rssi", -60), 3, last)]
