"""Wi-Fi connection: joins the network and rejoins it after a loss, without blocking.

Each function of the driver may raise an exception, and the radio may hang. Both count as a failed attempt,
which is retried after a pause. After several failures in a row, the radio is switched off and on. If that
does not help, the board is reset after `reset_after`. A radio may also seem to be connected although it has
stopped working. Therefore it is switched off and on as well if the broker cannot be reached for ten minutes.

The code for what is rare is in `wifi_radio`.
"""

from time import ticks_diff, ticks_ms

from micropython import const

from .modules import release_modules

_RETRY = const(20000)  # ms after which an attempt to join has failed
_PAUSE = const(5000)  # ms from an exception of the driver to the next attempt
_RADIO_RESET = const(6)  # number of failures in a row after which the radio is switched off and on
_MAX_OFFLINE = const(600000)  # ms without a broker after which the radio is switched off and on, too


class Wifi:
    """The Wi-Fi station of the board. `wifi` is the `wifi` object of the config, None without Wi-Fi."""

    _is_joining = False  # whether an attempt is in progress
    _wait = 0  # ms from `_since` to the next attempt, or to the end of this attempt
    failures = 0  # number of failed attempts in a row

    def __init__(self, wifi):
        self.config = wifi
        self.wlan = None  # `network.WLAN`, None if the radio is off
        self._since = ticks_ms()
        self.reported = []  # causes that were printed since the last connection
        self._was_up = wifi is None

    def connect(self, is_online=True):
        """Return True if the network is up; otherwise start to join it, at most once every 20 s.

        `is_online` is True if there is a connection to the broker.
        """
        if self.config is None:
            return True
        now = ticks_ms()
        try:
            up = self.wlan is not None and self.wlan.isconnected()
            if up != self._was_up:
                self._on_change(now, up)
            elif up and is_online:
                self._since = now
            elif ticks_diff(now, self._since) >= (_MAX_OFFLINE if up else self._wait):
                self._since = now
                self._wait = 0
                self._retry(up)
            return up
        except Exception as error:  # drivers raise OSError, RuntimeError and ValueError
            if self._was_up or ticks_diff(now, self._since) >= self._wait:
                self._was_up = self._is_joining = False
                self._since = now
                self._wait = _PAUSE
                self._count_failure(error)
            return False

    def _on_change(self, now, up):
        self._was_up = up
        self._since = now
        self._wait = _RETRY  # after a loss, the driver has this time to reconnect by itself
        self._is_joining = True
        if up:
            self.failures = 0
            self.reported.clear()
            print("Wi-Fi: connected, address %s" % self._get_address())
        else:
            print("Wi-Fi: connection lost")

    def _get_address(self):
        try:
            return self.wlan.ifconfig()[0]
        except Exception as error:
            return "unknown (%s)" % error

    def _retry(self, up):
        """End an attempt that has failed, and start the next one."""
        if up:
            self._reset()
            return
        if self._is_joining:
            self._is_joining = False
            if self._count_failure(None):
                return
            self.wlan.disconnect()
        if self.wlan is None:
            self.wlan = self._use_radio("switch_on", self)
        self.wlan.connect(self.config["ssid"], self.config["password"])
        self._is_joining = True
        self._wait = _RETRY

    def _count_failure(self, error):
        """Count and report a failure: an exception, or None for an attempt that has taken too long.

        Returns True if the radio was switched off.
        """
        self.failures += 1
        try:
            self._use_radio("report", self, error)
            if not self.failures % _RADIO_RESET:
                self._reset()
                return True
        except Exception as new_error:  # not enough memory
            print("Wi-Fi: cannot join, trying again:", error, new_error)
        return False

    def _reset(self):
        """Switch the radio off; it is switched on after a pause."""
        self._was_up = self._is_joining = False
        self._wait = _PAUSE
        self._use_radio("reset", self)

    def _use_radio(self, name, *arguments):
        """Call a function of `wifi_radio`, and free its code."""
        from .. import wifi_radio

        try:
            return getattr(wifi_radio, name)(*arguments)
        finally:
            release_modules("app.wifi_radio")

    def stop(self):
        """Switch the radio off; the next `connect` switches it on and joins the network again."""
        if self.config is None:
            return
        self._was_up = self._is_joining = False
        self._since = ticks_ms()
        self._wait = 0
        self._use_radio("switch_off", self)
