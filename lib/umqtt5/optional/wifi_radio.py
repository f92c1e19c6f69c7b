"""The Wi-Fi radio: switching it on and off, and the causes of failures with what to do.

Loaded for a moment when it is needed. The functions take a `umqtt5.wifi.Wifi`.
"""

import sys

from micropython import const

# The ESP32's driver retries this often by itself; then its status is the cause of the failure. Without a
# limit the status would be "connecting" for ever, also with a wrong password.
_DRIVER_RETRIES = const(3)
_PAUSE = const(5000)  # ms from switching the radio off to switching it on
_MAX_REPORTED = const(8)  # maximum number of causes that are printed before the next connection

# Numbers for which MicroPython has no constant. CYW43_LINK_NOIP of the RP2's driver (cyw43.h), and
# WIFI_REASON_4WAY_HANDSHAKE_TIMEOUT of the ESP32, which a wrong password causes as well (esp_wifi_types.h).
_RP2_NO_ADDRESS = 2
_ESP32_KEY_TIMEOUT = 15
_ESP32_GOT_IP = 1010

_ADVICE = (
    (
        ("STAT_WRONG_PASSWORD", "STAT_HANDSHAKE_TIMEOUT"),
        "{0} refuses the password. Check {1}password, capital letters too",
    ),
    (
        ("STAT_NO_AP_FOUND", "STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD"),
        "{0} was not found. Check {1}ssid and the reception. Boards use 2.4 GHz only",
    ),
    (
        ("STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD", "STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY"),
        "{0} uses another kind of security. Set the access point to WPA2, or check {1}password",
    ),
    (
        ("STAT_BEACON_TIMEOUT",),
        "the access point of {0} does not answer any more. Check the access point and the reception",
    ),
)


def check(wifi, ssid, password, options):
    """Check the arguments of `Wifi` and store them, if this computer has a radio.

    Raises ValueError or TypeError.
    """
    networks = [(ssid, password)] if isinstance(ssid, str) else list(ssid)
    if not networks:
        raise ValueError("ssid: expected a name, or a list of pairs (ssid, password)")
    for name, secret in networks:
        if not 1 <= len(name.encode()) <= 32:
            raise ValueError("ssid: expected 1 to 32 bytes, not " + repr(name))
        if len(secret) and not 8 <= len(secret.encode()) <= 64:
            raise ValueError("password of %s: expected 8 to 63 characters, or none" % name)
    for name in options:
        if name not in ("hostname", "country", "address", "power_save"):
            raise TypeError("Wifi: there is no argument " + name)
    if options.get("country") and len(options["country"]) != 2:
        raise ValueError("country: expected two letters, such as DE, not " + repr(options["country"]))
    if len(options.get("hostname") or "") > 32:
        raise ValueError("hostname: expected up to 32 characters, not " + repr(options["hostname"]))
    address = options.get("address")
    if address and (isinstance(address, str) or len(address) != 4):
        raise ValueError("address: expected (address, netmask, gateway, DNS server), not " + repr(address))
    try:
        import network  # noqa: F401
    except ImportError:
        wifi.is_connected = True
        wifi.status = "connected by the computer"
        return
    wifi.networks = networks
    if any(options.values()):
        wifi.options = options


def switch_on(wifi):
    """Switch the radio on, and return the `network.WLAN`."""
    import network

    options = wifi.options or {}
    wifi.status = "joining " + _get_ssid(wifi)
    for name in ("hostname", "country"):  # both have to be set before the radio is switched on
        if options.get(name):
            getattr(network, name)(options[name])
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    if options.get("address"):
        wlan.ifconfig(options["address"])
    _configure(wifi, wlan, "reconnects", _DRIVER_RETRIES)
    # without a setting, the radio of the ESP32 and of the RP2 sleeps between beacons
    for name in ("PM_POWERSAVE",) if options.get("power_save") else ("PM_NONE", "PM_PERFORMANCE"):
        if hasattr(network.WLAN, name):
            _configure(wifi, wlan, "pm", getattr(network.WLAN, name))
            break
    return wlan


def _get_ssid(wifi):
    return wifi.networks[wifi._index][0]


def _configure(wifi, wlan, name, value):
    """Set a parameter of the driver. It is ignored if the driver does not know it."""
    try:
        wlan.config(**{name: value})
    except ValueError:
        pass  # for example, the RP2's driver has no retries of its own
    except Exception as error:
        report(wifi, error)


def switch_off(wifi):
    """Switch the radio off, even if the driver raises exceptions. The next `poll` switches it on."""
    wlan = wifi.wlan
    wifi.wlan = None
    wifi.is_connected = wifi._is_joining = False
    wifi._delay = 0
    wifi.status = "off"
    if wlan is None:
        return
    try:
        wlan.disconnect()
    except Exception:
        pass  # the radio is switched off anyway
    try:
        wlan.active(False)
    except Exception as error:
        report(wifi, error)


def reset(wifi):
    """Switch the radio off, completely if possible. It is switched on after a pause."""
    text = "%s, the radio is switched off and on" % _reset_cause(wifi)
    _set_status(wifi, text)
    switch_off(wifi)
    wifi._delay = _PAUSE
    wifi.status = text
    try:
        import network

        wlan = network.WLAN(network.STA_IF)  # also if it could not be switched on
        if hasattr(wlan, "deinit"):  # the RP2 cuts the power of its radio
            wlan.deinit()
    except Exception as error:
        report(wifi, error)


def _reset_cause(wifi):
    if wifi.failures:
        return "%d attempts have failed" % wifi.failures
    return "the broker could not be reached for ten minutes"


def report_change(wifi):
    """Report that the connection was established or lost."""
    text = "connection lost"
    if wifi.is_connected:
        try:
            text = wifi.wlan.ifconfig()[0]
        except Exception as error:
            text = "unknown (%s)" % error
        text = "connected, address " + text
    _set_status(wifi, text)


def report(wifi, error):
    """Report a cause and what to do; call `on_status` if the cause is new since the last connection.

    `error` is an exception of the driver. If it is None, the cause is the driver's status.
    """
    cause = error
    if error is None:
        try:
            cause = wifi.wlan.status()
        except Exception as status_error:
            cause = status_error
    ssid = _get_ssid(wifi)
    if isinstance(cause, Exception):
        text = "the radio fails with %s: %s. The device tries again" % (type(cause).__name__, cause)
    else:
        import network

        text = _describe(network, wifi.wlan, cause).format(ssid, wifi.prefix)
    key = str(cause) if len(wifi.networks) == 1 else "%s %d" % (cause, wifi._index)
    if key in wifi.reported or len(wifi.reported) >= _MAX_REPORTED:
        wifi.status = text
        return
    wifi.reported.append(key)
    _set_status(wifi, text)


def _set_status(wifi, text):
    wifi.status = text
    if wifi.on_status:
        try:
            wifi.on_status("Wi-Fi: " + text)
        except Exception as error:  # it is not a failure of the radio
            print("on_status of Wifi has raised", repr(error))


def _describe(network, wlan, status):
    """Return the text for a status, with {0} for the name of the network and {1} for the prefix of fields."""
    is_esp32 = getattr(network, "STAT_GOT_IP", None) == _ESP32_GOT_IP
    if is_esp32 and status == _ESP32_KEY_TIMEOUT:
        status = network.STAT_WRONG_PASSWORD
    for names, text in _ADVICE:
        for name in names:
            if getattr(network, name, None) == status:
                return text
    if (is_esp32 and _is_associated(network, wlan, status)) or (not is_esp32 and status == _RP2_NO_ADDRESS):
        return "joined {0}, but got no address. Check the DHCP server, usually the router"
    advice = "cannot join {0} (status %s), trying again. Check {1}ssid, {1}password and the reception"
    return advice % status


def _is_associated(network, wlan, status):
    """Return True if an ESP32 has joined the network but has no address: then the signal can be measured."""
    if status != network.STAT_CONNECTING:
        return False
    try:
        wlan.status("rssi")
        return True
    except OSError:
        return False


def unload():
    """Free the code of this module."""
    if sys.modules.pop("umqtt5.optional.wifi_radio", None):
        del sys.modules["umqtt5.optional"].wifi_radio
