"""Home Assistant: a switch with discovery, availability by a last will, and its retained state."""

import json
from binascii import hexlify

from lab import reached
from machine import Pin, unique_id
from umqtt.robust import MQTTClient

from settings import PORT, SERVER

ID = hexlify(unique_id()).decode()
BASE = "home/switch_" + ID
relay = Pin(5, Pin.OUT)


class Switch(MQTTClient):
    DELAY = 0.05
    TIMEOUT = 0.1  # s, for a loop of the program
    keepalive = 30

    def __init__(self):
        super().__init__("switch_" + ID, SERVER, port=PORT, keepalive=30)
        self.state = "OFF"
        self.commands = 0
        self.set_callback(self.on_command)
        self.set_last_will(BASE + "/available", "offline", retain=True, qos=1)

    def start(self):
        self.connect()
        self.publish(
            "homeassistant/switch/" + ID + "/config",
            json.dumps({"name": "Relay", "cmd_t": BASE + "/set"}),
            retain=True,
        )
        self.publish(BASE + "/available", "online", True, 1)
        self.subscribe(BASE + "/set", 1)
        self.report()

    def report(self):
        self.publish(BASE + "/state", self.state, True)

    def on_command(self, topic, msg):
        self.commands += 1
        self.state = msg.decode()
        relay.value(1 if self.state == "ON" else 0)
        self.report()


switch = Switch()
switch.start()
reached("online")
while switch.commands < 4:
    switch.wait_msg()
switch.ping()
print("ping:", switch.wait_msg())
reached("power cut")
