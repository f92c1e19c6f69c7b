"""Program of a device with a journal that a test kills: publishes, executes commands and prints each event.

Its argument is a JSON object: port, name, first (number of its first message), every (`sync_every` of the
journal) and publishes (whether it publishes). Its files are in the working directory. It prints:

    open RESTORED TORN DAMAGED    the journal was opened: restored messages, torn bytes, damaged bytes
    up / down                     the client has connected / lost the connection
    accepted QOS NUMBER           `publish` has accepted the message
    acknowledged NUMBER           the broker has acknowledged the message
    stored ID ...                 packet identifiers of received messages for which no PUBREL has arrived
    handled NUMBER ID             the handler has received the message with this packet identifier
    in_journal NUMBER             the journal has recorded that the message was handled
    released NUMBER               the broker has sent PUBREL for the message
    uncertain NUMBER              an earlier boot began to execute the command and did not finish
"""

import json
import sys

from app.node import CommandDedup, grow_name_table
from umqtt5 import Client
from umqtt5.journal import Journal


class Device:
    """The client, its journal and its command handler."""

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
        client.on_ack = self.on_ack
        self.journal = Journal(client, "outbox", 4096, arguments["every"], 20)
        print("open", self.journal.restored_count, self.journal.torn_bytes, self.journal.damaged_bytes)
        print("stored", *(i for i in client.session.received_ids if i))
        self.dedup = CommandDedup(64, "dedup")
        self.topics = [client.topic("%s/up/%d" % (name, qos)) for qos in range(3)]
        self.published: dict = self.restored_numbers()  # message number by packet identifier
        self.unreleased: dict = {}  # number by packet identifier of handled messages without PUBREL
        self.handled: list = []  # numbers of handled messages that the journal may not have recorded yet
        client.subscribe(name + "/down", self.on_message, 2)
        client.connect(wait=False)

    def restored_numbers(self):
        """Return the numbers of the messages of earlier boots, by packet identifier."""
        outbox = self.journal.outbox
        numbers = {}
        for slot in range(len(outbox.states)):
            if outbox.states[slot]:
                at = outbox.body_offsets[slot]
                numbers[slot + 1] = int(bytes(outbox.arena[at : at + outbox.body_sizes[slot]]))
        return numbers

    def on_ack(self, answer):
        assert answer.reason < 0x80, answer.reason
        print("acknowledged", self.published[answer.packet_id])

    def on_message(self, message):
        number = int(message.payload)
        print("handled", number, message.packet_id)
        self.handled.append(number)
        self.unreleased[message.packet_id] = number
        self.execute(number)

    def execute(self, number):
        """Execute a command once, as the application does: the number in the message identifies it."""
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
        """Publish, poll, and print what the journal has recorded."""
        for qos in (1, 2) if self.publishes else ():
            packet_id = self.client.publish(self.topics[qos], b"%d" % self.number, qos)
            if packet_id:
                print("accepted", qos, self.number)
                self.published[packet_id] = self.number
                self.number += 1
        self.client.poll(2)
        if not self.journal.unsynced:
            while self.handled:
                print("in_journal", self.handled.pop(0))
        received = list(self.client.session.received_ids)
        for packet_id in list(self.unreleased):
            if packet_id not in received:
                print("released", self.unreleased.pop(packet_id))


if __name__ == "__main__":
    grow_name_table(400)  # now, because later the heap is fragmented
    device = Device(json.loads(sys.argv[1]))
    while True:
        device.step()
