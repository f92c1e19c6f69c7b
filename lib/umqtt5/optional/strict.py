"""What a client may insist on, and most do without; loaded by `Client(strict=True)`.

- A message that says it is UTF-8 and is not (3.3.2.3.2) is not delivered: at QoS 1 and 2 it is
  acknowledged with 0x99, Payload format invalid. `on_error` is told.
- More QoS 1 and 2 messages than our Receive Maximum end in a DISCONNECT with 0x93. Without
  `strict` more QoS 1 messages than that are taken: some brokers do not count.
"""

from ..core.errors import MQTTError
from ..core.wire import is_valid_utf8


def is_valid_text(buf, at, end):
    """True where the bytes are UTF-8. A payload may have the U+0000 that a string of MQTT may not."""
    while at < end:
        start = at
        while at < end and buf[at]:
            at += 1
        if not is_valid_utf8(buf, start, at):
            return False
        at += 1
    return True


class Strict:
    """Looks at each message of a session before it is delivered; allocates nothing."""

    def __init__(self, session):
        self._session = session
        self._unwritten = 0  # acknowledgements of QoS 1 that can't have gone out
        self._written = 0  # what the session had written by then

    def check(self, packet):
        """0x99 for a payload that is not what it says, 0x93 for one message too many, else 0."""
        if packet.qos and self._exceeds_receive_maximum(packet.qos):
            return 0x93
        if packet.int_property(0x01, 0) and not is_valid_text(
            packet._buf, packet.payload_start, packet.payload_end
        ):
            with self._session.catch_errors:
                raise MQTTError(0x99, "the payload is not UTF-8")
            return 0x99
        return 0

    def _exceeds_receive_maximum(self, qos):
        """What the broker can't have got an answer to: when anything was written, all may have been."""
        session = self._session
        if self._written != session.bytes_sent:
            self._written = session.bytes_sent
            self._unwritten = 0
        open_ones = self._unwritten
        for packet_id in session.received_ids:
            if packet_id:
                open_ones += 1
        if qos == 1:
            self._unwritten += 1
        return open_ones >= session.receive_maximum


def attach(session, strict):
    """Have a session be strict."""
    session.strict = Strict(session)
