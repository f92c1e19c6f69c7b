"""MQTTError with its reason code, permanent or not; CatchErrors, a `with` block that allocates nothing.

The text of an error is in `optional.error_texts`, which is loaded when the error is printed.
"""

from micropython import const

# reason codes of permanent refusals, which retrying cannot fix: docs/errors.md lists all codes of CONNACK
_PERMANENT = b"\x81\x82\x84\x85\x86\x87\x8a\x8c\x90\x95\x99\x9a\x9b\x9d"


_ERROR_TEXT = const(2)  # see `explain`


def explain(function, subject, detail):
    """Call a function by its number in `optional.link_error`; returns None if it cannot be called.

    There may be no memory, no stack, or no flash from which the module can be loaded.
    """
    try:
        from ..optional.link_error import call

        return call(function, subject, detail)
    except Exception:  # not a tuple of the expected errors: it is built on the heap, which may be locked
        pass


def describe(error):
    """Return the text of an error.

    If there is no memory for the text, MicroPython prints `args`: it prints any object that is returned here,
    and `args` allocates nothing.
    """
    return explain(_ERROR_TEXT, error, False) or error.args


def describe_with_name(error):
    """Return the text of an error for a traceback. MicroPython prints only this text, no class name."""
    return explain(_ERROR_TEXT, error, True) or error.args


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
    phase: int  # see `link_error.LinkError`
    server_reference = None  # the broker's Server Reference (str), or None: see `server_reference`

    def __init__(self, code, detail=""):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    @property
    def is_permanent(self):
        """True if the broker has refused the connection for a reason that a retry cannot change."""
        return self.is_refusal and self.code in _PERMANENT

    __str__ = describe
    __repr__ = describe_with_name


class CatchErrors:
    """Context manager that passes an exception of type `kind` to `handler` and continues after the block.

    With `except ... as error` the frame of the function would be allocated on the heap, at each call.
    """

    def __init__(self, kind, handler, session=None):
        self._kind = kind
        self._handler = handler
        self._session = session  # for a block that calls the user's code: see `session.Session.is_busy`

    def __enter__(self):
        if self._session:
            self._session.is_busy = False

    def __exit__(self, kind, error, _):
        is_caught = isinstance(error, self._kind)
        if is_caught:
            self._handler(error)
        if self._session:
            self._session.is_busy = True
            if kind and not is_caught:
                self._session.was_interrupted = True
        return is_caught
