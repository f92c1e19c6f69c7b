"""Wi-Fi connection: joins the network and rejoins it after a loss, without blocking.

Each function of the driver may raise an exception, and the radio may hang. Both count as a failed attempt,
which is retried after a pause. After several failures in a row, the radio is switched off and on. If that
does not help, the board is reset after `reset_after`. A radio may also seem to be connected although it has
stopped working. Therefore it is switched off and on as well if the broker cannot be reached for ten minutes.
"""

from time import ticks_diff, ticks_ms

from micropython import const

from .modules import release_modules

_RETRY = const(20000)  # ms after which an attempt to join has failed
_PAUSE = const(5000)  # ms from an exception of the driver to the next attempt
_RADIO_RESET = const(6)  # number of failures in a row after which the radio is switched off and on
# The ESP32's driver retries this often by itself; then its status is the cause of the failure. Without a
# limit the status would be "connecting" for ever, also with a wrong password.
_DRIVER_RETRIES = const(3)
_MAX_OFFLINE = const(600000)  # ms without a broker after which the radio is switched off and on, too
_MAX_REPORTED = const(8)  # maximum number of causes that are printed before the next connection


class Wifi:
    """The Wi-Fi station of the board. `wifi` is the `wifi` object of the config, None without Wi-Fi."""

    def __init__(self, wifi):
        self._config = wifi
        self._wlan = None
        self._since = ticks_ms()
        self._wait = 0  # ms from `_since` to the next attempt, or to the end of this attempt
        self._is_on = False  # whether the radio is on
        self._is_joining = False  # whether an attempt is in progress
        self._failures = 0  # number of failed attempts in a row
        self._reported = []  # causes that were printed since the last connection
        self._was_up = wifi is None

    def connect(self, is_online=True):
        """Return True if the network is up; otherwise start to join it, at most once every 20 s.

        `is_online` is True if there is a connection to the broker.
        """
        if self._config is None:
            return True
        now = ticks_ms()
        try:
            up = self._wlan is not None and self._wlan.isconnected()
            if up != self._was_up:
                self._on_change(now, up)
            elif up:
                if is_online:
                    self._since = now
                elif ticks_diff(now, self._since) >= _MAX_OFFLINE:
                    print(
                        "Wi-Fi: the broker has not answered for 10 minutes, the radio is switched off and on"
                    )
                    self._reset_radio()
            elif ticks_diff(now, self._since) >= self._wait:
                self._since = now
                self._wait = 0
                self._retry()
            return up
        except Exception as error:  # drivers raise OSError, RuntimeError and ValueError
            if self._was_up or ticks_diff(now, self._since) >= self._wait:
                self._on_error(now, error)
            return False

    def _on_change(self, now, up):
        self._was_up = up
        self._since = now
        self._wait = _RETRY  # after a loss, the driver has this time to reconnect by itself
        self._is_joining = True
        if up:
            self._failures = 0
            self._reported.clear()
            try:
                address = self._wlan.ifconfig()[0]
            except Exception as error:
                address = "unknown (%s)" % error
            print("Wi-Fi: connected, address %s" % address)
        else:
            print("Wi-Fi: connection lost")

    def _retry(self):
        """End an attempt that has failed, and start the next one."""
        if self._is_joining:
            self._is_joining = False
            self._failures += 1
            try:
                cause = self._wlan.status()
            except Exception as error:
                cause = error
            self._report(cause)
            if self._reset_if_due():
                return
            self._wlan.disconnect()
        if not self._is_on:
            self._switch_on()
        self._wlan.connect(self._config["ssid"], self._config["password"])
        self._is_joining = True
        self._wait = _RETRY

    def _switch_on(self):
        import network

        self._wlan = network.WLAN(network.STA_IF)
        self._wlan.active(True)
        self._is_on = True
        self._configure("reconnects", _DRIVER_RETRIES)
        # without a setting, the radio of the ESP32 and of the RP2 sleeps between beacons
        for name in ("PM_POWERSAVE",) if self._config.get("power_save") else ("PM_NONE", "PM_PERFORMANCE"):
            if hasattr(network.WLAN, name):
                self._configure("pm", getattr(network.WLAN, name))
                return

    def _configure(self, name, value):
        """Set a parameter of the driver. It is ignored if the driver does not know it."""
        try:
            self._wlan.config(**{name: value})
        except ValueError:
            pass  # for example, the RP2's driver has no retries of its own
        except Exception as error:
            self._report(error)

    def _on_error(self, now, error):
        """Count an exception of the driver as a failed attempt."""
        self._was_up = self._is_joining = False
        self._since = now
        self._wait = _PAUSE
        self._failures += 1
        self._report(error)
        self._reset_if_due()

    def _report(self, cause):
        """Print a cause (a status of the driver, or an exception) and what to do, unless it was printed."""
        key = str(cause)
        if key in self._reported or len(self._reported) >= _MAX_REPORTED:
            return
        self._reported.append(key)
        try:
            from ..wifi_errors import report

            report(self._wlan, cause, self._config["ssid"])
        except Exception as error:  # not enough memory, or the radio fails again
            print("Wi-Fi: cannot join, trying again (%s, %s)" % (key, error))
        release_modules("app.wifi_errors")

    def _reset_if_due(self):
        """Reset the radio after several failures in a row; returns True then."""
        if self._failures % _RADIO_RESET:
            return False
        print("Wi-Fi: %d attempts have failed, the radio is switched off and on" % self._failures)
        self._reset_radio()
        return True

    def _reset_radio(self):
        """Switch the radio off, completely if possible; it is switched on after a pause."""
        wlan = self._wlan
        self.stop()
        self._wait = _PAUSE
        if hasattr(wlan, "deinit"):  # the RP2 cuts the power of its radio
            try:
                wlan.deinit()
            except Exception as error:
                self._report(error)

    def stop(self):
        """Switch the radio off; the next `connect` switches it on and joins the network again."""
        wlan = self._wlan
        self._wlan = None
        self._was_up = self._config is None
        self._is_on = self._is_joining = False
        self._since = ticks_ms()
        self._wait = 0
        if wlan is None:
            return
        try:
            wlan.disconnect()
        except Exception:
            pass  # the radio is switched off anyway
        try:
            wlan.active(False)
        except Exception as error:
            self._report(error)
