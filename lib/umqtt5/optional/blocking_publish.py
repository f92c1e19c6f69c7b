"""`publish(..., wait=True)`: publish, and wait until it has arrived. Loaded where it is used."""

from errno import ECONNRESET, ETIMEDOUT

from micropython import const

from ..core.errors import MQTTError

_MASK = const(0x3FFFFFFF)


class _Answer:
    """Listens for the end of one message; every answer still reaches the user's `on_ack`."""

    def __init__(self, client):
        self._client = client
        self._before = client.on_ack
        self.packet_id = 0
        self.reason = -1
        self.words = ""
        client.on_ack = self.came

    def came(self, answer):
        if answer.packet_id == self.packet_id:
            self.reason = answer.reason
            self.words = answer.property(0x1F) or ""
        if self._before:
            self._before(answer)

    def leave(self):
        self._client.on_ack = self._before


def publish_and_wait(client, topic, payload, timeout):
    """See `Client.publish`, which has put QoS, RETAIN and properties into the session.

    Returns True: at QoS 0 when the message is written, at QoS 1 and 2 when the broker has
    acknowledged it. Meanwhile handlers are called and the link is kept up, and a message for
    which there is no link or no room waits for it.

    Raises MQTTError where the broker refuses it, OSError(ECONNRESET) where a QoS 0 message may have
    gone with its link, OSError(ETIMEDOUT) where `timeout` ms were not
    enough: a message of QoS 1 or 2 that was taken by then stays in the outbox and is still sent.
    """
    if client._is_polling:
        raise ValueError("a handler can't wait")
    session = client.session
    first_byte, properties = session.first_byte, session.message_properties
    start = client._ticks_ms()
    answer = _Answer(client)
    try:
        left = timeout
        while left > 0:
            if not answer.packet_id:
                # a handler may have published in between
                session.first_byte, session.message_properties = first_byte, properties
                answer.packet_id = session.publish(topic, payload)
                client._flush_now()
                connects = client.connection_count
            idle = client._poll_once()
            if not answer.packet_id:
                pass
            elif first_byte & 6 == 0:
                if not client.is_connected or client.connection_count != connects:
                    raise OSError(ECONNRESET, "the link was lost")
                if not session.has_output():
                    return True
            elif answer.reason >= 0x80:
                raise MQTTError(answer.reason, answer.words)
            elif answer.reason >= 0:
                return True
            left = timeout - ((client._ticks_ms() - start) & _MASK)
            client._wait(max(0, min(idle, left)))
    finally:
        answer.leave()
    raise OSError(ETIMEDOUT, "not acknowledged" if answer.packet_id else "no link, or no room")
