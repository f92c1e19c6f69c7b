"""Runs in the VM that is killed: publishes with a journal, obeys, and prints what it has promised.

Its argument is a JSON object: port, name, first (the number of its first message), every. Its files are
in the folder where it runs. It prints

    open RESTORED TORN DAMAGED    the journal is there
    up / down                     the link
    accepted QOS NUMBER           `publish` has returned
    ended NUMBER                  the broker has acknowledged the message with this packet identifier
    handled NUMBER                a handler has run
    in_journal NUMBER             and the journal has it: never again
    uncertain NUMBER              a handler runs again for what was begun and never ended
"""

import json
import sys

from app.node import CommandDedup
from umqtt5 import Client
from umqtt5.journal import Journal


class Device:
    def __init__(self, arguments):
        name = arguments["name"]
        self.number = arguments["first"]
        self.publishes = arguments["publishes"]
        self.client = client = Client(
            "127.0.0.1",
            arguments["port"],
            client_id=name,
            keep_alive=10,
            session_expiry=3600,
            rx=512,
            tx=512,
            outbox=512,
            inflight=8,
            aliases=4,
            timeout=2000,
        )
        client.max_reconnect_delay = 20
        client.on_state = lambda client, up, error: print("up" if up else "down")
        client.on_ack = self.acknowledged
        self.journal = Journal(client, "outbox", 4096, arguments["every"], 20)
        print("open", self.journal.restored_count, self.journal.torn_bytes, self.journal.damaged_bytes)
        self.dedup = CommandDedup(16, "dedup")
        self.topics = [client.topic("%s/up/%d" % (name, qos)) for qos in range(3)]
        self.under_way: dict = {}  # number by packet identifier
        self.handled: list = []
        client.subscribe(name + "/down", self.on_message, 2)
        client.connect(wait=False)

    def acknowledged(self, answer):
        assert answer.reason < 0x80, answer.reason
        print("ended", self.under_way.get(answer.packet_id, "?"))

    def on_message(self, message):
        number = int(message.payload)
        print("handled", number)
        self.handled.append(number)
        self.carry_out(number)

    def carry_out(self, number):
        """As the application does it: by the message's own number, whatever MQTT says."""
        key = b"%12d" % number
        known = self.dedup.get(key)
        if known is None:
            self.dedup.start(key)
            with open("executed", "ab") as file:
                file.write(b"%d\n" % number)
            self.dedup.set(key, "done")
        elif not known:
            print("uncertain", number)

    def step(self):
        for qos in (1, 2) if self.publishes else ():
            packet_id = self.client.publish(self.topics[qos], b"%d" % self.number, qos)
            if packet_id:
                print("accepted", qos, self.number)
                self.under_way[packet_id] = self.number
                self.number += 1
        self.client.poll(2)
        if not self.journal.unsynced:
            while self.handled:
                print("in_journal", self.handled.pop(0))


if __name__ == "__main__":
    device = Device(json.loads(sys.argv[1]))
    while True:
        device.step()
