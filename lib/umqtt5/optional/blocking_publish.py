"""Blocking publish, `publish(..., wait=True)`: wait until the broker has acknowledged the message."""

from errno import ECONNRESET, ETIMEDOUT

from micropython import const

from ..core.errors import MQTTError

_MASK = const(0x3FFFFFFF)


class _AckListener:
    """Replaces `on_ack`: records one acknowledgement, and calls the user's `on_ack` for each of them."""

    def __init__(self, client):
        self._client = client
        self._user_on_ack = client.on_ack
        self.packet_id = 0
        self.reason = -1
        self.reason_string = ""
        client.on_ack = self._on_ack

    def _on_ack(self, packet):
        if packet.packet_id == self.packet_id:
            self.reason = packet.reason
            self.reason_string = packet.property(0x1F) or ""
        if self._user_on_ack:
            self._user_on_ack(packet)

    def detach(self):
        self._client.on_ack = self._user_on_ack


def publish_and_wait(client, topic, payload, qos, retain, properties, timeout):
    """Publish, and wait up to `timeout` ms; True stands for `client.timeout`.

    Returns True when the message is written (QoS 0) or the broker has acknowledged it (QoS 1 and 2). While
    the call waits, handlers are called and the client reconnects. As long as the message is not accepted,
    because there is no connection or no room, each poll tries to publish it again.

    Raises MQTTError if the broker refuses the message, OSError(ECONNRESET) if the connection was lost while a
    QoS 0 message was being written, OSError(ETIMEDOUT) after `timeout` ms. After a timeout an accepted
    message of QoS 1 or 2 stays in the outbox and is still sent. Raises ValueError if a handler makes the
    call, because a handler can't wait.
    """
    if client._is_polling:
        raise ValueError("a handler can't wait")
    if client.session.is_busy:
        raise RuntimeError("the client is busy: a scheduled function can't wait")
    if timeout is True:
        timeout = client.timeout
    session = client.session
    start = client._ticks_ms()
    ack = _AckListener(client)
    try:
        left = timeout
        while left > 0:
            if not ack.packet_id:
                ack.packet_id = client.publish(topic, payload, qos, retain, properties)
                connects = client.connection_count
            idle = client._poll_once()
            if not ack.packet_id:
                pass
            elif not qos:
                if not client.is_connected or client.connection_count != connects:
                    raise OSError(ECONNRESET, "connection lost")
                if not session.has_output():
                    return True
            elif ack.reason >= 0x80:
                raise MQTTError(ack.reason, ack.reason_string)
            elif ack.reason >= 0:
                return True
            left = timeout - ((client._ticks_ms() - start) & _MASK)
            client._wait(max(0, min(idle, left)))
    finally:
        ack.detach()
    raise OSError(ETIMEDOUT, "not acknowledged" if ack.packet_id else "no connection or no room")
