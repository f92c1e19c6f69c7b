"""Payloads larger than the buffers, in pieces, both ways. Loaded where it is imported.

from umqtt5 import stream

with open("picture.jpg", "rb") as file:
    stream.send(client, "camera/picture", file, size, qos=1)
    while stream.sending(client):
        client.poll(1000)

stream.receive(client, "update/#", begin, qos=1, maximum=100000)

Who needs one half only imports that, `umqtt5.outgoing` or `umqtt5.incoming`, and saves the other's heap.
"""

from . import incoming, outgoing

send = outgoing.send
sending = outgoing.sending
receive = incoming.receive
