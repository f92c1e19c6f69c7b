"""Writes a payload of up to 1 MB to a file on flash, in pieces. Needs a broker.

The receive buffer has 512 bytes. Send a file: mosquitto_pub -V 5 -q 1 -t camera/picture -f picture.jpg
"""

import os

import settings
from umqtt5 import Client, streaming_receive
from umqtt5.wifi import Wifi

TYPE_CHECKING = False  # type checkers take it for True
if TYPE_CHECKING:
    from typing import BinaryIO

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()

client = Client(settings.BROKER, settings.PORT, client_id=settings.CLIENT_ID, rx=512)
files: "list[BinaryIO]" = []


def take(piece: "memoryview | bytes | None") -> None:
    """Write a piece of the payload. It is empty at the end, and None if the connection was lost."""
    if piece:  # a view of the receive buffer
        if not files:
            files.append(open("picture.new", "wb"))
        files[0].write(piece)
    elif files:
        files.pop().close()
        if piece is None:
            print("connection lost, the broker sends it again")
        else:  # complete: it is acknowledged when this function returns
            os.rename("picture.new", "picture.jpg")
            print("received", os.stat("picture.jpg")[6], "bytes")


streaming_receive.receive(client, "camera/picture", lambda message, size: take, qos=1, max_size=1 << 20)
client.connect()
print("waiting")
while True:
    wifi.poll(client.is_connected)
    client.poll(1000)
