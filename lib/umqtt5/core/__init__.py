"""Protocol core and client: wire format, packets, session, connection. One file on a board: `core.mpy`."""

from .client import Client
from .errors import MQTTError

__all__ = ("Client", "MQTTError")
