"""Payloads larger than the buffers, in pieces, both ways. Loaded where it is imported.

from umqtt5 import stream

with open("picture.jpg", "rb") as file:
    stream.send(client, "camera/picture", file, size, qos=1)
    while stream.sending(client):
        client.poll(1000)

stream.receive(client, "update/#", begin, qos=1, maximum=100000)

To save heap, import only the half that you need: `umqtt5.streaming_send` or `umqtt5.streaming_receive`.
"""

from . import streaming_receive, streaming_send

send = streaming_send.send
sending = streaming_send.sending
receive = streaming_receive.receive
