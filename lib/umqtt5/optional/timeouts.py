"""Separate timeouts for connect, CONNACK, acknowledgements, writing and PINGRESP: `Client(timeout={...})`.

For example `{"connect": 20000, "ping": 3000}`, in ms. A timeout that is missing in the dict is 10 s.

- `connect`: until the transport is open, including the WebSocket handshake.
- `connack`: until CONNACK; with enhanced authentication until the next packet of the exchange. On MicroPython
  this time includes the TLS handshake, which takes place in the first reads and writes. With a WebSocket over
  TLS, the handshake is part of `connect` instead.
- `ack`: until the PUBACK, PUBREC or PUBCOMP of the oldest message, until SUBACK or UNSUBACK, and until the
  broker's AUTH in a re-authentication. Each of these three waits has its own time.
- `write`: until the stream accepts a byte.
- `ping`: until PINGRESP; limited to about 55 % of the Keep Alive.
"""

from ..core.wire import check_int

_NAMES = ("write", "connack", "ack", "ping")  # in the order of `Session.timeouts`
_DEFAULT = 10000
_MAX_TIMEOUT = 0x1FFFFFFF  # half of the range of the ticks


def attach(session, timeouts):
    """Set the timeouts of a session; returns the timeout `connect`. Raises ValueError."""
    for name in timeouts:
        if name != "connect" and name not in _NAMES:
            raise ValueError("timeout: %s is not one of connect, %s" % (name, ", ".join(_NAMES)))
        check_int("timeout: " + name, timeouts[name] or -1, _MAX_TIMEOUT)
    session.timeouts = [timeouts.get(name, _DEFAULT) for name in _NAMES + ("ack", "ack")]
    return timeouts.get("connect", _DEFAULT)
