"""Wi-Fi connection: joins the network and rejoins it after a loss, without blocking."""

from time import ticks_diff, ticks_ms

from micropython import const

_RETRY = const(20000)  # ms after which an attempt to join has failed


class Wifi:
    """The Wi-Fi station of the board. `wifi` is the `wifi` object of the config, None without Wi-Fi."""

    def __init__(self, wifi):
        self._config = wifi
        self._wlan = None
        self._since = ticks_ms()
        self._was_up = wifi is None

    def connect(self):
        """Return True if the network is up; otherwise start to join it, at most once every 20 s."""
        if self._config is None:
            return True
        if self._wlan is None:
            import network

            self._wlan = network.WLAN(network.STA_IF)
            self._wlan.active(True)
            if self._config.get("power_save"):
                self._wlan.config(pm=network.WLAN.PM_POWERSAVE)
            self._join()
        up = self._wlan.isconnected()
        if up and not self._was_up:
            print("Wi-Fi: connected, address %s" % self._wlan.ifconfig()[0])
        elif self._was_up and not up:
            print("Wi-Fi: connection lost")
            self._since = ticks_ms()  # the driver has 20 s to reconnect by itself
        elif not up and ticks_diff(ticks_ms(), self._since) > _RETRY:
            print("Wi-Fi: cannot join %s, trying again" % self._config["ssid"])
            self._wlan.disconnect()
            self._join()
        self._was_up = up
        return up

    def stop(self):
        """Switch the radio off; the next `connect` switches it on and joins the network again."""
        if self._wlan is not None:
            self._wlan.disconnect()
            self._wlan.active(False)
            self._wlan = None
            self._was_up = False

    def _join(self):
        self._since = ticks_ms()
        self._wlan.connect(self._config["ssid"], self._config["password"])
