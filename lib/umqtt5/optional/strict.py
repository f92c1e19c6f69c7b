"""Strict mode, `Client(strict=True)`: check received messages: payload format (UTF-8) and Receive Maximum.

- A message whose Payload Format Indicator is 1 but whose payload is not UTF-8 (3.3.2.3.2) is not delivered.
  At QoS 1 and 2 it is acknowledged with 0x99, Payload format invalid. `on_error` gets an MQTTError.
- If there are more unacknowledged QoS 1 and 2 messages than Receive Maximum allows, the connection ends with
  0x93. Without `strict`, any number of QoS 1 messages is accepted, because some brokers do not count them.
"""

from ..core.errors import MQTTError
from ..core.wire import is_valid_utf8


def is_valid_text(buf, at, end):
    """Return True if buf[at:end] is UTF-8. Unlike MQTT strings, a payload may contain U+0000."""
    while at < end:
        start = at
        while at < end and buf[at]:
            at += 1
        if not is_valid_utf8(buf, start, at):
            return False
        at += 1
    return True


class Strict:
    """Checks each message of a session before it is delivered; allocates nothing."""

    def __init__(self, session):
        self._session = session
        self._unwritten = 0  # number of PUBACKs that are certainly not written yet
        self._written = 0  # `session.bytes_sent` at the last check

    def check(self, packet):
        """Return 0, or the reason code: 0x99 if the payload is not UTF-8, 0x93 above Receive Maximum."""
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
        """Return True if more messages than Receive Maximum are certainly unacknowledged.

        When the session has written any bytes, all earlier PUBACKs may be among these bytes, so those PUBACKs
        no longer count.
        """
        session = self._session
        if self._written != session.bytes_sent:
            self._written = session.bytes_sent
            self._unwritten = 0
        unacked = self._unwritten
        for packet_id in session.received_ids:
            if packet_id:
                unacked += 1
        if qos == 1:
            self._unwritten += 1
        return unacked >= session.receive_maximum


def attach(session, strict):
    """Make a session strict."""
    session.strict = Strict(session)
