"""Constants of a session: its states, what it waits for, and the broker's limits by their position.

In the files for a board the names of these constants are replaced by their values.
"""

from micropython import const

# states of a session
CLOSED = const(0)
CONNECTING = const(1)
CONNECTED = const(2)
CLOSING = const(3)

# states of a client's link
LINK_DOWN = const(0)
LINK_OPENING = const(1)
LINK_UP = const(2)

# kinds of waits that have a timeout: positions in `Session.timeouts` and `Session.wait_started`
WAIT_WRITE = const(0)
WAIT_CONNACK = const(1)
WAIT_ACK = const(2)  # PUBACK, PUBREC, PUBCOMP: of the oldest message
WAIT_PING = const(3)
WAIT_SUBACK = const(4)  # SUBACK, UNSUBACK: of the first subscription that waits
WAIT_AUTH = const(5)

# limits of the broker (3.2.2.3): position in `Session.broker_limits`, the property identifier minus 0x21
RECEIVE_MAXIMUM = const(0)
TOPIC_ALIAS_MAXIMUM = const(1)
MAXIMUM_QOS = const(3)
RETAIN_AVAILABLE = const(4)
MAXIMUM_PACKET_SIZE = const(6)
WILDCARD_AVAILABLE = const(7)
IDENTIFIERS_AVAILABLE = const(8)
SHARED_AVAILABLE = const(9)

# bytes of `tx` that only an acknowledgement (5) and a DISCONNECT (3) may use
TX_RESERVE = const(8)

# ticks and counters are modulo 2**30
TICKS_MASK = const(0x3FFFFFFF)
