"""Wi-Fi with several networks, host name, country and a fixed address; the status in words. Needs a board.

On a computer it reports that the network is connected.
"""

from time import sleep

import settings
from umqtt5.wifi import Wifi

wifi = Wifi(
    [(settings.WIFI_SSID, settings.WIFI_PASSWORD), ("another network", "its password")],  # tried in turn
    hostname="greenhouse-1",
    country="DE",
    # address=("192.168.1.50", "255.255.255.0", "192.168.1.1", "192.168.1.1"),  # otherwise DHCP
    power_save=False,  # True: the radio sleeps between beacons, messages arrive later
)
wifi.on_status = print  # connected, lost, or the cause of a failure and what to do

# `wait` returns False after this time, `status` is the reason
if not wifi.wait(30000):
    print("not connected yet:", wifi.status)

while True:
    was_connected = wifi.is_connected
    if wifi.poll() and not was_connected:  # never blocks
        print("back after a loss")
    print(wifi.status)
    sleep(1)
