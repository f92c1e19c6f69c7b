"""The network: joined by radio where the board has one, else taken as it is."""

from time import ticks_diff, ticks_ms

from micropython import const

_RETRY = const(20000)  # ms until a try to join counts as failed


class Net:
    """Keeps the board in its Wi-Fi without ever blocking. `wifi` None: nothing to join."""

    def __init__(self, wifi):
        self._wifi = wifi
        self._wlan = None
        self._since = ticks_ms()
        self._was_up = wifi is None

    def up(self):
        """True where the network is there; begins to join where it is not."""
        if self._wifi is None:
            return True
        if self._wlan is None:
            import network

            self._wlan = network.WLAN(network.STA_IF)
            self._wlan.active(True)
            if self._wifi.get("power_save"):
                self._wlan.config(pm=network.WLAN.PM_POWERSAVE)
            self._join()
        up = self._wlan.isconnected()
        if up and not self._was_up:
            print("Wi-Fi: joined, address %s" % self._wlan.ifconfig()[0])
        elif self._was_up and not up:
            print("Wi-Fi: lost")
            self._since = ticks_ms()  # the radio has its time to come back by itself
        elif not up and ticks_diff(ticks_ms(), self._since) > _RETRY:
            print("Wi-Fi: no answer from %s, trying again" % self._wifi["ssid"])
            self._wlan.disconnect()
            self._join()
        self._was_up = up
        return up

    def off(self):
        """The radio is not needed; `up` has it join again."""
        if self._wlan is not None:
            self._wlan.disconnect()
            self._wlan.active(False)
            self._wlan = None
            self._was_up = False

    def _join(self):
        self._since = ticks_ms()
        self._wlan.connect(self._wifi["ssid"], self._wifi["password"])
