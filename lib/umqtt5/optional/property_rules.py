"""Which properties a user may give to which packet; loaded where some are given."""

from ..core.packet import Packet

CONNECT = 0x402800  # Request Problem and Response Information, User Property; the rest is ours
REQUEST = 0x400007  # all that a message has, but for where the answer goes
WILL = 0x40101F  # all that a message has, and Will Delay
_PROBLEM = 0x410000
DISCONNECT = 0x410040  # Session Expiry, Reason String, User Property


def check_properties(block, legal):
    """Raise ValueError where a block of `properties.pack` has what may not be there.

    Returns it as a Packet, to look at.
    """
    if not isinstance(block, (bytes, bytearray)):
        raise TypeError("properties are bytes, see umqtt5.properties.pack")
    packet = Packet(block)
    packet.properties_end = len(block)
    reason = packet._check_properties(legal)
    if reason:
        raise ValueError("properties that may not be here, reason 0x%02X" % reason)
    return packet


def attach(session, block):
    """The properties that CONNECT has beside our limits."""
    packet = check_properties(block, CONNECT)
    session.properties = bytes(block)
    if not packet.int_property(0x17, 1):
        # reason string and user property then stand nowhere else [MQTT-3.1.2-29]
        packet = session.packet
        packet.allowed_properties = [
            packet.allowed_properties[i] if i in (2, 3, 14) else packet.allowed_properties[i] & ~_PROBLEM
            for i in range(16)
        ]
