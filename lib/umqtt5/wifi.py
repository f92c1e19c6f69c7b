"""Wi-Fi connection: joins a network and rejoins it after a loss, without blocking.

    from umqtt5.wifi import Wifi

    wifi = Wifi("SSID", "PASSWORD")
    wifi.wait()

After that, call `poll` once in each iteration of the main loop.

Each function of the driver may raise an exception, and the radio may hang. Both count as a failed attempt,
which is retried after a pause. After several failures in a row, the radio is switched off and on. A radio may
also seem to be connected although it has stopped working. Therefore it is switched off and on as well if the
broker cannot be reached for ten minutes.

On a computer, where MicroPython and CPython have no module `network`, `poll` always returns True.

The code for what is rare is in `optional.wifi_radio`.
"""

import sys

from micropython import const

if sys.implementation.name == "cpython":
    from .cpython.compat import sleep_ms, ticks_diff, ticks_ms
else:
    from time import sleep_ms, ticks_diff, ticks_ms

_RETRY = const(20000)  # ms after which an attempt to join has failed
_RETRY_OTHER = const(10000)  # the same if there are several networks
_PAUSE = const(5000)  # ms from an exception of the driver to the next attempt
_RADIO_RESET = const(6)  # number of failures in a row after which the radio is switched off and on
_MAX_OFFLINE = const(600000)  # ms without a broker after which the radio is switched off and on, too
_WAIT_STEP = const(50)  # ms between two polls of `wait`


class Wifi:
    """The Wi-Fi station of the board."""

    networks: list = None  # type: ignore[assignment]  # of (ssid, password), None without a radio
    options = None  # dict of the options that are used
    _index = 0  # of the network in `networks`
    _is_joining = False  # whether an attempt is in progress
    _delay = 0  # ms from `_since` to the next attempt, or to the end of this attempt
    failures = 0  # number of failed attempts in a row
    is_connected = False  # whether the network was up at the last `poll`
    status = "off"  # the state in words, or the cause of the last failure and what to do
    on_status = None  # `on_status(text)`: the status has changed; `text` is "Wi-Fi: " and the status
    prefix = ""  # text before the names of the arguments in `status`
    wlan = None  # `network.WLAN`, None if the radio is off

    def __init__(self, ssid, password="", **options):
        """`ssid` is the name of the network, or a list of pairs (ssid, password), which are tried in turn.

        An open network has no password. Options:

        - hostname: name of the board for the DHCP server, up to 32 characters
        - country: ISO 3166-1 code of two letters, which sets the channels that the radio may use
        - address: (address, netmask, gateway, DNS server), four strings; otherwise DHCP assigns them
        - power_save: True to let the radio sleep between beacons

        Raises ValueError or TypeError. The radio is switched on by the first `poll`.
        """
        self._since = ticks_ms()
        self.reported = []  # causes that were reported since the last connection
        self._use_radio("check", self, ssid, password, options)

    def poll(self, is_online=True):
        """Join the network if it is not connected. Returns True if it is; never blocks.

        Pass `client.is_connected` as `is_online`. Then the radio is switched off and on if the broker cannot
        be reached for ten minutes although the network seems to be connected.
        """
        if self.networks is None:
            return True
        now = ticks_ms()
        try:
            up = self.wlan is not None and self.wlan.isconnected()
            if up != self.is_connected:
                self._on_change(now, up)
            elif up and is_online:
                self._since = now
            elif ticks_diff(now, self._since) >= (_MAX_OFFLINE if up else self._delay):
                self._since = now
                self._delay = 0
                self._retry(up)
            return up
        except Exception as error:  # drivers raise OSError, RuntimeError and ValueError
            if self.is_connected or ticks_diff(now, self._since) >= self._delay:
                self.is_connected = self._is_joining = False
                self._since = now
                self._delay = _PAUSE
                self._count_failure(error)
            return False

    def wait(self, timeout=None):
        """Wait until the network is connected, for up to `timeout` ms; None waits without a limit.

        Returns True if it is connected. Otherwise `status` is the reason.
        """
        began_at = ticks_ms()
        while not self.poll():
            if timeout is not None and ticks_diff(ticks_ms(), began_at) >= timeout:
                return False
            sleep_ms(_WAIT_STEP)
        return True

    def _on_change(self, now, up):
        self.is_connected = up
        self._since = now
        # after a loss, the driver has this time to reconnect by itself
        self._delay = _RETRY
        self._is_joining = True
        if up:
            self.failures = 0
            self.reported.clear()
        self._use_radio("report_change", self)

    def _retry(self, up):
        """End an attempt that has failed, and start the next one."""
        if up:
            self._use_radio("reset", self)
            return
        if self._is_joining:
            self._is_joining = False
            if self._count_failure(None):
                return
            self.wlan.disconnect()  # type: ignore[attr-defined]
        if self.wlan is None:
            self.wlan = self._use_radio("switch_on", self)
        self.wlan.connect(*self.networks[self._index])
        self._is_joining = True
        self._delay = _RETRY if len(self.networks) == 1 else _RETRY_OTHER

    def _count_failure(self, error):
        """Count and report a failure: an exception, or None for an attempt that has taken too long.

        Returns True if the radio was switched off.
        """
        self.failures += 1
        try:
            self._use_radio("report", self, error)
            self._index = (self._index + 1) % len(self.networks)
            if not self.failures % _RADIO_RESET:
                self._use_radio("reset", self)
                return True
        except Exception as new_error:  # not enough memory
            print("Wi-Fi: cannot join, trying again:", error, new_error)
        return False

    def _use_radio(self, name, *arguments):
        """Call a function of `wifi_radio`, and free its code."""
        from .optional import wifi_radio

        try:
            return getattr(wifi_radio, name)(*arguments)
        finally:
            wifi_radio.unload()

    def stop(self):
        """Switch the radio off; the next `poll` switches it on and joins the network again."""
        if self.networks:
            self._use_radio("switch_off", self)
