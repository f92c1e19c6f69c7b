"""Errors with a text for people: MQTTError, LinkError; CatchErrors, a `with` block that allocates nothing.

The texts are in `optional.error_texts`, which is loaded when an error is printed.
"""

# reason codes of permanent refusals, which retrying cannot fix: docs/errors.md lists all codes of CONNACK
_PERMANENT = b"\x81\x82\x84\x85\x86\x87\x8a\x8c\x90\x95\x99\x9a\x9b\x9d"


def _describe(error, has_name=False):
    """Return the text of an error, with the name of its class if `has_name` is true."""
    try:
        from ..optional.error_texts import describe

        return describe(error, has_name)
    except Exception:
        # There is no memory to load or build the text. MicroPython prints any object that is returned here,
        # and returning this one allocates nothing.
        return error.args


def _describe_with_name(error):
    """Return the text of an error for a traceback. MicroPython prints only this text, no class name."""
    return _describe(error, True)


class MQTTError(Exception):
    """Error with an MQTT reason code: a protocol error, a refusal, or a packet above a limit of the broker.

    `code` is the reason code (section 2.4). `detail` is the broker's reason string or a text of this library,
    `""` if there is none. If `publish` or a similar method raises it, nothing was sent and the connection
    stays open. If `on_state` gets it, the error has ended the connection.

    Other errors are Python's own: `ValueError` and `TypeError` for wrong arguments, `OSError` for the
    network. A full buffer of the client (outbox, `tx`) is not an error: `publish` returns a false value.
    """

    from_broker = False  # whether the error is from the broker's CONNACK or DISCONNECT
    is_refusal = False  # whether it is from the CONNACK
    host = port = None  # address of the broker if the error has ended a connection
    server_reference = None  # the broker's Server Reference (str), or None: see `server_reference`

    def __init__(self, code, detail=""):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    @property
    def is_permanent(self):
        """True if the broker has refused the connection for a reason that a retry cannot change."""
        return self.is_refusal and self.code in _PERMANENT

    __str__ = _describe
    __repr__ = _describe_with_name


class LinkError(OSError):
    """An OSError that has ended a connection; its text contains words and the address of the broker.

    `errno` and `args` are those of the original error. `phase` is the progress of the connection: 0 name
    lookup, 1 opening the stream, 2 CONNECT is sent, 3 connected.
    """

    is_permanent = False
    host = port = None
    phase = 0

    __str__ = _describe
    __repr__ = _describe_with_name


def add_address(error, host, port, phase):
    """Return `error` with the broker's address; a plain OSError becomes a LinkError.

    The error of a user's class is returned unchanged, and so is any error if there is no memory.
    """
    try:
        if type(error) is OSError:
            error = LinkError(*error.args)
        if isinstance(error, (MQTTError, LinkError)):
            error.host = host
            error.port = port
            error.phase = phase
    except MemoryError:
        pass
    return error


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
