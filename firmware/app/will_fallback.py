"""Lowers the will if the broker refuses the connection because of it; the module is unloaded afterwards.

The limits of a broker are in its CONNACK, so the first CONNECT may contain a will that it does not accept.
"""

from micropython import const

_PACKET_TOO_LARGE = const(0x95)
_RETAIN_NOT_SUPPORTED = const(0x9A)
_QOS_NOT_SUPPORTED = const(0x9B)
_RETAIN_FLAG = const(0x20)  # flags of CONNECT (3.1.2.3)
_QOS_FLAGS = const(0x18)


def lower_will(client, name, reason):
    """Change the will, and connect again at once, if the reason code of a refusal may be due to the will.

    The will loses RETAIN or its QoS. If CONNECT is too large, there is no will any more. If that was done
    before, the refusal has another cause, and nothing changes. `name` is the name of the device.
    """
    session = client.session
    if not session.will:
        return
    flags, fields = session.will
    if reason == _PACKET_TOO_LARGE:
        session.will = None
        change = "sent"
    elif reason == _RETAIN_NOT_SUPPORTED and flags & _RETAIN_FLAG:
        session.will = flags & ~_RETAIN_FLAG, fields
        change = "retained"
    elif reason == _QOS_NOT_SUPPORTED and flags & _QOS_FLAGS:
        session.will = flags & ~_QOS_FLAGS, fields
        change = "sent at QoS 1"
    else:
        return
    print("%s: connecting again: the message that reports the device as offline is not %s" % (name, change))
    client._reconnect_delay = 0
