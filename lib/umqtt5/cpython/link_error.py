"""The text of network errors on CPython: see `optional.link_error`."""

from ..optional.error_texts import os_error_text

_MODULES = ("builtins", "socket", "ssl", "umqtt5.optional.permanent_error")


def add_text(error, host, port, phase):
    """Give an OSError of Python or this library the text of a LinkError; a user's class is left unchanged."""
    if type(error).__module__ not in _MODULES:
        return
    text = os_error_text(error, host, port, phase)
    if error.errno is None:
        error.args = (text,)
    else:
        error.args = (error.errno, text)
        error.strerror = text
