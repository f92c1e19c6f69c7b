"""An error of the network that can't mend by itself; loaded by the transports that know such ones."""


class LastingError(OSError):
    """A wrong certificate, a path that the broker refuses: something has to be changed first.

    A client reads `lasting` of any error that ends a connection, and then leaves the broker
    alone for ten minutes and more.
    """

    lasting = True
