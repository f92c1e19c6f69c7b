"""The text of network errors on CPython, where an OSError keeps its class: see `core.errors.LinkError`."""

from ..core.errors import LinkError, MQTTError
from ..optional.error_texts import describe_os_error

_OWN = (MQTTError, LinkError)  # classes whose text is built when they are printed


def add_address(error, host, port, phase):
    """Add the broker's address to an error; an error of Python's own also gets the text of a LinkError.

    The error of a user's class is returned unchanged.
    """
    if isinstance(error, _OWN):
        error.host, error.port, error.phase = host, port, phase
    elif isinstance(error, OSError) and type(error).__module__ in ("builtins", "socket", "ssl"):
        text = describe_os_error(error, host, port, phase)
        if error.errno is None:
            error.args = (text,)
        else:
            error.args = (error.errno, text)
            error.strerror = text
    return error
