"""Permanent error of a transport: retrying cannot fix it, for example a wrong certificate."""


class PermanentError(OSError):
    """An OSError that retrying cannot fix, such as a wrong certificate or a path that the broker refuses.

    If a try to connect fails with an error whose attribute `is_permanent` is True, the client waits 10 to 18
    minutes before the next try.
    """

    is_permanent = True
