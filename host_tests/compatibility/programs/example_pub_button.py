"""Example of umqtt.simple: publish when a button is pressed."""

import binascii
import time

import machine
from machine import Pin
from umqtt.simple import MQTTClient

from settings import PORT, SERVER

button = Pin(0, Pin.IN)
CLIENT_ID = binascii.hexlify(machine.unique_id())
TOPIC = b"led"


def main(server=SERVER):
    client = MQTTClient(CLIENT_ID, server, PORT)
    client.connect()
    print("connected as", CLIENT_ID)
    presses = 0
    while presses < 3:
        while button.value():
            time.sleep_ms(2)
        print("pressed")
        client.publish(TOPIC, b"toggle")
        presses += 1
    client.disconnect()


main()
