"""DISCONNECT with a reason and properties (3.14); loaded where `disconnect` is given some."""

from ..core.encode import prefix_varint_length
from ..core.errors import MQTTError
from ..core.states import CONNECTED, MAXIMUM_PACKET_SIZE
from .property_rules import DISCONNECT, check_properties

_REASONS = b"\x00\x04\x80\x81\x82\x83\x90\x93\x94\x95\x96\x97\x98\x99"  # that a client may send


def send_disconnect(client, reason, properties):
    """Put it out as the last packet. Without a connection it only checks.

    Raises ValueError for a reason that is not a client's, for properties that may not be here,
    for a session expiry after a connection that had none [MQTT-3.1.2-23], for more than fits
    into `tx`; MQTTError where it
    is larger than the broker's Maximum Packet Size [MQTT-3.14.2-3]. Where `tx` has no room for
    now, because the broker reads nothing, the properties are left out.
    """
    session = client.session
    if reason not in _REASONS:
        raise ValueError("a client's reasons: " + ", ".join(["0x%02X" % code for code in _REASONS]))
    if check_properties(properties, DISCONNECT).int_property(0x11, 0) and not session.session_expiry:
        raise ValueError("session_expiry was 0 at CONNECT, and has to stay so")
    packet = prefix_varint_length(
        bytes((reason,)) + (prefix_varint_length(properties) if properties else b""), b"\xe0"
    )
    if len(packet) > len(session.tx):
        raise ValueError("tx: %d bytes needed" % len(packet))
    if session.state != CONNECTED:
        return
    if len(packet) > session.broker_limits[MAXIMUM_PACKET_SIZE]:
        raise MQTTError(0x95, "DISCONNECT of %d bytes" % len(packet))
    session.close(0 if session.put(packet, 0) else reason, b"")
