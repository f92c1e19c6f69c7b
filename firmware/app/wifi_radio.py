"""The Wi-Fi radio: switching it on and off, and the causes of failures with what to do.

Loaded for a moment when it is needed. The functions take a `node.wifi.Wifi`.
"""

from micropython import const

# The ESP32's driver retries this often by itself; then its status is the cause of the failure. Without a
# limit the status would be "connecting" for ever, also with a wrong password.
_DRIVER_RETRIES = const(3)
_MAX_REPORTED = const(8)  # maximum number of causes that are printed before the next connection

# Numbers for which MicroPython has no constant. CYW43_LINK_NOIP of the RP2's driver (cyw43.h), and
# WIFI_REASON_4WAY_HANDSHAKE_TIMEOUT of the ESP32, which a wrong password causes as well (esp_wifi_types.h).
_RP2_NO_ADDRESS = 2
_ESP32_KEY_TIMEOUT = 15
_ESP32_GOT_IP = 1010

_ADVICE = (
    (
        ("STAT_WRONG_PASSWORD", "STAT_HANDSHAKE_TIMEOUT"),
        "%s refuses the password. Check wifi.password, capital letters too",
    ),
    (
        ("STAT_NO_AP_FOUND", "STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD"),
        "%s was not found. Check wifi.ssid and the reception. Boards use 2.4 GHz only",
    ),
    (
        ("STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD", "STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY"),
        "%s uses another kind of security. Set the access point to WPA2, or check wifi.password",
    ),
    (
        ("STAT_BEACON_TIMEOUT",),
        "the access point of %s does not answer any more. Check the access point and the reception",
    ),
)


def switch_on(wifi):
    """Switch the radio on, and return the `network.WLAN`."""
    import network

    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    _configure(wifi, wlan, "reconnects", _DRIVER_RETRIES)
    # without a setting, the radio of the ESP32 and of the RP2 sleeps between beacons
    for name in ("PM_POWERSAVE",) if wifi.config.get("power_save") else ("PM_NONE", "PM_PERFORMANCE"):
        if hasattr(network.WLAN, name):
            _configure(wifi, wlan, "pm", getattr(network.WLAN, name))
            break
    return wlan


def _configure(wifi, wlan, name, value):
    """Set a parameter of the driver. It is ignored if the driver does not know it."""
    try:
        wlan.config(**{name: value})
    except ValueError:
        pass  # for example, the RP2's driver has no retries of its own
    except Exception as error:
        report(wifi, error)


def switch_off(wifi):
    """Switch the radio off, even if the driver raises exceptions."""
    wlan = wifi.wlan
    wifi.wlan = None
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
    """Switch the radio off, completely if possible."""
    print("Wi-Fi: %s, the radio is switched off and on" % _reset_cause(wifi))
    switch_off(wifi)
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


def report(wifi, error):
    """Print a cause and what to do, unless it was printed since the last connection.

    `error` is an exception of the driver. If it is None, the cause is the driver's status.
    """
    cause = error
    if error is None:
        try:
            cause = wifi.wlan.status()
        except Exception as status_error:
            cause = status_error
    key = str(cause)
    if key in wifi.reported or len(wifi.reported) >= _MAX_REPORTED:
        return
    wifi.reported.append(key)
    if isinstance(cause, Exception):
        text = "the radio fails with %s: %s. The device tries again" % (type(cause).__name__, cause)
    else:
        import network

        text = _describe(network, wifi.wlan, cause) % wifi.config["ssid"]
    print("Wi-Fi: " + text)


def _describe(network, wlan, status):
    """Return the text for a status, with %s for the name of the network."""
    is_esp32 = getattr(network, "STAT_GOT_IP", None) == _ESP32_GOT_IP
    if is_esp32 and status == _ESP32_KEY_TIMEOUT:
        status = network.STAT_WRONG_PASSWORD
    for names, text in _ADVICE:
        for name in names:
            if getattr(network, name, None) == status:
                return text
    if (is_esp32 and _is_associated(network, wlan, status)) or (not is_esp32 and status == _RP2_NO_ADDRESS):
        return "joined %s, but got no address. Check the DHCP server, usually the router"
    return (
        "cannot join %s (status {}), trying again. Check wifi.ssid, wifi.password and the reception".format(
            status
        )
    )


def _is_associated(network, wlan, status):
    """Return True if an ESP32 has joined the network but has no address: then the signal can be measured."""
    if status != network.STAT_CONNECTING:
        return False
    try:
        wlan.status("rssi")
        return True
    except OSError:
        return False
