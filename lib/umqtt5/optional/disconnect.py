"""DISCONNECT reason code and properties (section 3.14), for `disconnect(reason, properties)`."""

from ..core.encode import prefix_varint_length
from ..core.errors import MQTTError
from ..core.states import CONNECTED, MAXIMUM_PACKET_SIZE
from ..core.wire import reject
from .property_rules import DISCONNECT, check_properties

_REASONS = b"\x00\x04\x80\x81\x82\x83\x90\x93\x94\x95\x96\x97\x98\x99"  # reason codes that a client may send


def send_disconnect(client, reason, properties):
    """Send DISCONNECT as the last packet; see `encode_disconnect` for the exceptions."""
    client.session.close(reason, encode_disconnect(client, reason, properties))


def encode_disconnect(client, reason, properties):
    """Return a DISCONNECT as bytes; b"" without a connection.

    Raises ValueError if a client must not send the reason code or one of the properties, if the properties
    set a session expiry although it was 0 at CONNECT [MQTT-3.1.2-23], or if the packet is larger than `tx`.
    Raises MQTTError if the packet exceeds the broker's Maximum Packet Size [MQTT-3.14.2-3]. If `tx` has no
    room at the moment, because the broker reads nothing, the properties are omitted.
    """
    session = client.session
    if reason not in _REASONS:
        raise ValueError("reason must be one of " + ", ".join(["0x%02X" % code for code in _REASONS]))
    if check_properties(properties, DISCONNECT).int_property(0x11, 0) and not session.session_expiry:
        raise ValueError("session_expiry must be 0, because it was 0 at CONNECT")
    body = bytes((reason,))
    if properties:
        body += prefix_varint_length(properties)
    packet = prefix_varint_length(body, b"\xe0")
    if len(packet) > len(session.tx):
        reject("size", "tx", len(packet), session.tx, 0)
    if session.state != CONNECTED:
        return b""
    if len(packet) > session.broker_limits[MAXIMUM_PACKET_SIZE]:
        raise MQTTError(0x95, "DISCONNECT of %d bytes" % len(packet))
    return packet
