"""The error that carries an MQTT reason code, and a way to catch that costs no heap."""

# reason codes that can't mend by themselves: a wrong password, not authorized, banned, malformed
_PERMANENT = b"\x81\x82\x84\x85\x86\x87\x8a\x8c\x9d"


class MQTTError(Exception):
    """The peer broke the protocol or refused, or a limit of the broker forbids a packet.

    `code` is the reason code of the standard (section 2.4), `detail` the broker's reason
    string or our own words, `""` when there are none. Raised out of `publish` and the like
    it means that nothing was sent and that the link lives on; handed to `on_state` it is
    why the link ended.

    The other kinds of error are Python's own: `ValueError` and `TypeError` for a mistake
    in the arguments, `OSError` for the network. A limit of our own that is full (outbox,
    transmit buffer) is no error: `publish` returns a false value.
    """

    from_broker = False  # in its CONNACK or DISCONNECT
    server_reference = None  # where the broker sends us (Server Reference), see `follow`

    def __init__(self, code, detail=""):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    @property
    def is_permanent(self):
        return self.from_broker and self.code in _PERMANENT

    def __str__(self):
        from ..reason_codes import reason_name

        text = reason_name(self.code)
        return text + ": " + self.detail if self.detail else text


class CatchErrors:
    """`with catch_errors:` hands an error of `kind` to `handler` and goes on behind the block.

    `except ... as error` takes a frame from the heap each time, error or not.
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
