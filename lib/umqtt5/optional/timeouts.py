"""A bound for each wait by itself; loaded where `Client(timeout=)` is a dict.

`{"connect": 20000, "ping": 3000}`, in ms; what is not named has the 10 s of the default.

- `connect`: until the transport is open, WebSocket included.
- `connack`: until the broker has answered CONNECT, each step of an authentication by itself. On
  MicroPython the handshake of TLS counts to this one, as it is done with the first bytes.
- `answer`: until a PUBACK, PUBREC, PUBCOMP, SUBACK or UNSUBACK comes, whichever is the next.
- `write`: until the stream takes a byte.
- `ping`: until PINGRESP; at most five eighths of the Keep Alive, whatever this says.
"""

_NAMES = ("write", "connack", "answer", "ping")  # in the order of `Session.timeouts`
_DEFAULT = 10000


def attach(session, timeouts):
    """Take them over; returns that of `connect`. Raises ValueError."""
    for name in timeouts:
        if name != "connect" and name not in _NAMES:
            raise ValueError("timeout: %s, expected connect, %s" % (name, ", ".join(_NAMES)))
        if timeouts[name] <= 0:
            raise ValueError("timeout: %s, expected ms" % name)
    session.timeouts = [timeouts.get(name, _DEFAULT) for name in _NAMES]
    return timeouts.get("connect", _DEFAULT)
