"""Text of a received packet, for `print(message)`. Loaded only when a packet is printed."""

from ..reason_codes import reason_name

_MAX_PAYLOAD = 64  # bytes of the payload that are shown


def describe(packet):
    """Return a description of a message or of an answer."""
    if packet.topic_end:
        payload = bytes(memoryview(packet._buf)[packet.payload_start : packet.payload_end][:_MAX_PAYLOAD])
        text = "<message topic=%r payload=%r" % (packet.topic, payload)
        if len(packet) > _MAX_PAYLOAD:
            text += "... (%d bytes)" % len(packet)
        return text + " qos=%d%s%s>" % (
            packet.qos,
            " retain" if packet.retain else "",
            " dup" if packet.dup else "",
        )
    text = "<answer packet_id=%d %s" % (packet.packet_id, reason_name(packet.reason))
    reason_string = packet.property(0x1F)
    return text + (": %s>" % reason_string if reason_string else ">")
