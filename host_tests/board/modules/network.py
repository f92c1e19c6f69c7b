"""`network` as far as a board at the end of a cable needs it: a radio that is where its Wi-Fi is."""

STA_IF = 0


class WLAN:
    def __init__(self, interface):
        self._joined = False

    def active(self, on=None):
        return True

    def connect(self, ssid, key=None):
        self._joined = True

    def disconnect(self):
        self._joined = False

    def isconnected(self):
        return self._joined

    def ifconfig(self):
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def status(self, what=None):
        return -60 if what == "rssi" else 1010
