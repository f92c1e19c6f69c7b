"""User name and password from functions, which are called at each connect, for example if a token expires.

client = Client("broker.example", user="device-7", password=fetch_token)
"""

from errno import EINVAL

from ..core.wire import encode_text, reject


def call_credentials(session):
    """Return user name and password as bytes or None.

    If a function raises an exception or returns a wrong type, `on_error` gets the exception, and OSError ends
    this try to connect.
    """
    found = None
    with session.catch_errors:
        found = _call(session.user, _encode_user), _call(session.password, _encode_password)
    if not found:
        raise OSError(EINVAL, "the function for the user name or the password has failed")
    return found


def _call(value, encode):
    if not callable(value):
        return value
    value = value()
    return None if value is None else encode(value)


def _encode_user(value):
    return encode_text(value, "user")


def _encode_password(value):
    if not isinstance(value, (str, bytes)):
        reject("payload", "password", value)
    return value.encode() if isinstance(value, str) else value
