"""LinkError: an OSError that has ended a connection, with words and the address of the broker.

The client loads this module when a connection, or a try to connect, ends with an error, and when an error is
printed.
"""

import sys

from micropython import const

from ..core.errors import MQTTError, describe, describe_with_name

_ADD_ADDRESS = const(0)
_END_SESSION = const(1)


def call(function, subject, detail):
    """Call the function with this number, as `errors.explain` does; returns its result."""
    if function == _ADD_ADDRESS:
        return _add_address(subject, detail)
    if function == _END_SESSION:
        from .protocol_error import end_session

        return end_session(subject, detail)
    from .error_texts import error_text

    return error_text(subject, detail)


class LinkError(OSError):
    """An OSError that has ended a connection; its text contains words and the address of the broker.

    `errno` and `args` are those of the original error. `phase` is the progress of the connection: 0 name
    lookup, 1 opening the stream, 2 CONNECT is sent, 3 connected. `is_permanent` is true if the original error
    was a PermanentError. The text is built when it is printed.
    """

    host: object
    port: object
    phase: int
    is_permanent: bool

    __str__ = describe
    __repr__ = describe_with_name


def _add_address(client, phase):
    """Add the broker's address to `client.error`, the error that has ended a connection.

    A plain OSError becomes a LinkError. On CPython, where an OSError has one of many classes, it keeps its
    class and gets the text. An error of a user's class is left unchanged.
    """
    error = client.error
    if error is None:
        return
    if _add_text and isinstance(error, OSError):
        _add_text(error, client.host, client.port, phase)
        return
    module = sys.modules.get("umqtt5.optional.permanent_error")
    is_permanent = module and type(error) is module.PermanentError
    if is_permanent or type(error) is OSError:
        error = LinkError(*error.args)
        error.is_permanent = is_permanent or False
    if isinstance(error, (MQTTError, LinkError)):
        error.host = client.host
        error.port = client.port
        error.phase = phase
        client.error = error


_add_text = None
if sys.implementation.name == "cpython":
    from ..cpython.link_error import add_text as _add_text
