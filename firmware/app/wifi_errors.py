"""Causes of a failed Wi-Fi connection: one line for the console, with what to do. Loaded after a failure."""

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


def report(wlan, cause, ssid):
    """Print why the network was not joined. `cause` is a status of the driver or an exception.

    Raises OSError or ImportError if the driver fails.
    """
    if isinstance(cause, Exception):
        text = "the radio fails with %s: %s. The device tries again" % (type(cause).__name__, cause)
    else:
        import network

        text = _describe(network, wlan, cause) % ssid
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
