"""Property rules (2.2.2): which properties a user may add to a packet."""

from ..core.packet import Packet

# sets of properties, as bits of `Packet.property_bits`
CONNECT = 0x402800  # Request Problem Information, Request Response Information, User Property
MESSAGE = 0x40001F  # all properties of a message that a client may send
REQUEST = 0x400007  # all properties of a message except Response Topic and Correlation Data
WILL = 0x40101F  # MESSAGE and Will Delay Interval
DISCONNECT = 0x410040  # Session Expiry Interval, Reason String, User Property
USER = 0x400000  # User Property, the only one that SUBSCRIBE and UNSUBSCRIBE may have besides the identifier
_PROBLEM = 0x410000  # Reason String, User Property


def check_properties(block, allowed):
    """Check encoded properties (bytes), and return a Packet from which they can be read.

    Raises ValueError if a property is malformed or not in `allowed`, TypeError if `block` is not bytes.
    """
    if not isinstance(block, (bytes, bytearray, memoryview)):
        raise TypeError("properties must be bytes, see umqtt5.properties.pack")
    packet = Packet(bytes(block))
    packet.properties_end = len(block)
    reason = packet._check_properties(allowed)
    if reason:
        raise ValueError("properties: malformed or not allowed here, reason 0x%02X" % reason)
    return packet


def attach(session, block):
    """Add properties to the CONNECT of a session."""
    packet = check_properties(block, CONNECT)
    session.properties = bytes(block)
    if not packet.int_property(0x17, 1):
        # at 0 only CONNACK, PUBLISH and DISCONNECT may have Reason String and User Property [MQTT-3.1.2-29]
        packet = session.packet
        packet.allowed_properties = [
            packet.allowed_properties[i] if i in (2, 3, 14) else packet.allowed_properties[i] & ~_PROBLEM
            for i in range(16)
        ]
