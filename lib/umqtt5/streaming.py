"""Streaming: send and receive payloads that are larger than the buffers, piece by piece.

from umqtt5 import streaming

with open("picture.jpg", "rb") as file:
    streaming.send(client, "camera/picture", file, size, qos=1)
    while streaming.is_sending(client):
        client.poll(1000)

streaming.receive(client, "update/#", begin, qos=1, max_size=100000)

To save heap, import only `umqtt5.streaming_send` or `umqtt5.streaming_receive`.
"""

from . import streaming_receive, streaming_send

send = streaming_send.send
is_sending = streaming_send.is_sending
receive = streaming_receive.receive
