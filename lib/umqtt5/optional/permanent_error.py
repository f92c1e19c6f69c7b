"""Permanent error of a transport: retrying cannot fix it, for example a wrong certificate."""


class PermanentError(OSError):
    """An OSError that retrying cannot fix: a wrong certificate, a path that the broker refuses.

    The client reads the attribute `is_permanent` of any error that ends a connection. If it is True, the
    next try to connect comes 10 to 18 minutes later.
    """

    is_permanent = True
