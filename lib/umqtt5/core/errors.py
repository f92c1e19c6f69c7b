"""MQTTError with its reason code, permanent or not; CatchErrors, a `with` block that allocates nothing."""

# reason codes of permanent refusals, which retrying cannot fix: malformed packet, wrong password, not
# authorized, banned ...
_PERMANENT = b"\x81\x82\x84\x85\x86\x87\x8a\x8c\x9d"


class MQTTError(Exception):
    """Error with an MQTT reason code: a protocol error, a refusal, or a packet above a limit of the broker.

    `code` is the reason code (section 2.4). `detail` is the broker's reason string or a text of this library,
    `""` if there is none. If `publish` or a similar method raises it, nothing was sent and the connection
    stays open. If `on_state` gets it, the error has ended the connection.

    Other errors are Python's own: `ValueError` and `TypeError` for wrong arguments, `OSError` for the
    network. A full buffer of the client (outbox, `tx`) is not an error: `publish` returns a false value.
    """

    from_broker = False  # whether the error is from the broker's CONNACK or DISCONNECT
    server_reference = None  # the broker's Server Reference (str), or None: see `server_reference`

    def __init__(self, code, detail=""):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    @property
    def is_permanent(self):
        """True if the broker has refused the connection for a reason that a retry cannot change."""
        return self.from_broker and self.code in _PERMANENT

    def __str__(self):
        from ..reason_codes import reason_name

        text = reason_name(self.code)
        return text + ": " + self.detail if self.detail else text


class CatchErrors:
    """Context manager that passes an exception of type `kind` to `handler` and continues after the block.

    With `except ... as error` the frame of the function would be allocated on the heap, at each call.
    """

    def __init__(self, kind, handler):
        self._kind = kind
        self._handler = handler

    def __enter__(self):
        pass

    def __exit__(self, kind, error, _):
        if isinstance(error, self._kind):
            self._handler(error)
            return True
        return False
