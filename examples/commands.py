"""Executes commands: ON and OFF at lamp/set, a number at fan/set. Publishes the state. Needs a broker."""

import settings
from umqtt5 import Client, Message
from umqtt5.wifi import Wifi

wifi = Wifi(settings.WIFI_SSID, settings.WIFI_PASSWORD)
wifi.on_status = print
wifi.wait()

client = Client(settings.BROKER, settings.PORT, client_id=settings.CLIENT_ID)


@client.on("lamp/set", qos=1)
def switch_lamp(message: Message) -> None:
    on = message.equals(b"ON")  # compares without a copy of the payload
    if not on and not message.equals(b"OFF"):
        print("lamp: ON or OFF, not", message.payload)
        return
    # for a lamp at GPIO 2: machine.Pin(2, machine.Pin.OUT).value(on)
    client.publish("lamp", b"ON" if on else b"OFF", qos=1, retain=True)


@client.on("fan/set", qos=1)
def set_fan(message: Message) -> None:
    try:
        percent = int(message.payload)
    except ValueError:
        print("fan: a number from 0 to 100, not", message.payload)
        return
    percent = max(0, min(100, percent))
    client.publish("fan", str(percent), qos=1, retain=True)


client.connect()
print("waiting for commands")
while True:
    wifi.poll(client.is_connected)
    client.poll(1000)
