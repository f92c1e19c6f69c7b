"""Replacement for `network`, which the unix port lacks: mqtt_as connects the Wi-Fi before the broker."""

STA_IF = 0


class WLAN:
    def __init__(self, interface):
        pass

    def active(self, is_active=True):
        return is_active

    def connect(self, ssid=None, key=None):
        pass

    def disconnect(self):
        pass

    def isconnected(self):
        return True

    def status(self):
        return 0
